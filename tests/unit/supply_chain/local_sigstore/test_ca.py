from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from supply_chain import certificate as fulcio
from supply_chain.local_sigstore.ca import VALID_FROM, VALID_TO
from supply_chain.local_sigstore.instance import FOLDER
from supply_chain.local_sigstore.log import AppendOnlyLog
from supply_chain.local_sigstore.oidc import ISSUER
from tests.simulators.sigstore_client import IDENTITY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sigstore.models import Bundle

    from supply_chain.local_sigstore import LocalSigstore
    from tests.simulators.sigstore_client import Client

PATH = "/api/v2/signingCert"


@pytest.fixture
def authorization(instance: LocalSigstore) -> str:
    return f"Bearer {instance.identity_token(IDENTITY)}"


def csr(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> dict[str, Any]:
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    pem = request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return {"certificateSigningRequest": base64.b64encode(pem).decode()}


def key_request(key: ec.EllipticCurvePrivateKey, proven: str = IDENTITY) -> dict[str, Any]:
    pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    proof = key.sign(proven.encode(), ec.ECDSA(hashes.SHA256()))
    return {
        "publicKeyRequest": {
            "publicKey": {"content": pem.decode(), "algorithm": "ECDSA"},
            "proofOfPossession": base64.b64encode(proof).decode(),
        }
    }


def test_a_leaf_has_the_fulcio_profile(dsse_bundle: Bundle) -> None:
    leaf = dsse_bundle.signing_certificate
    extensions = leaf.extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName)
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    extended = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert not list(leaf.subject)
    assert names.critical
    assert [name.value for name in names.value] == [IDENTITY]
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign
    assert list(extended) == [ExtendedKeyUsageOID.CODE_SIGNING]
    assert (
        extensions.get_extension_for_oid(fulcio.ISSUER_V1).value.public_bytes() == ISSUER.encode()
    )
    assert extensions.get_extension_for_oid(fulcio.ISSUER).value.public_bytes() == (
        bytes([0x0C, len(ISSUER)]) + ISSUER.encode()
    )
    with pytest.raises(x509.ExtensionNotFound):
        extensions.get_extension_for_class(x509.BasicConstraints)


def test_a_leaf_lives_ten_minutes_around_now(dsse_bundle: Bundle) -> None:
    leaf = dsse_bundle.signing_certificate
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == timedelta(minutes=10)
    assert leaf.not_valid_before_utc < datetime.now(UTC)


def test_authorities_are_valid_from_a_fixed_day_for_twenty_years(client: Client) -> None:
    (chain,) = client.get("/api/v2/trustBundle").json()["chains"]
    certificates = [x509.load_pem_x509_certificate(pem.encode()) for pem in chain["certificates"]]
    assert len(certificates) == 2
    for certificate in certificates:
        assert certificate.not_valid_before_utc == VALID_FROM
        assert certificate.not_valid_after_utc == VALID_TO
        assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_the_root_key_is_not_kept(client: Client, sigstore_state: Path) -> None:
    root = client.get("/api/v2/trustBundle").json()["chains"][0]["certificates"][-1]
    wanted = x509.load_pem_x509_certificate(root.encode()).public_key()
    for path in (sigstore_state / FOLDER / "keys").glob("*.key.pem"):
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        assert key.public_key() != wanted


@pytest.mark.parametrize("form", [csr, key_request])
def test_both_forms_of_request_give_a_certificate_for_the_key(
    client: Client,
    authorization: str,
    form: Callable[[ec.EllipticCurvePrivateKey], dict[str, Any]],
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    answer = client.post_json(PATH, form(key), authorization=authorization)
    leaf, *chain = answer.json()["signedCertificateEmbeddedSct"]["chain"]["certificates"]
    assert x509.load_pem_x509_certificate(leaf.encode()).public_key() == key.public_key()
    assert len(chain) == 2


def test_every_certificate_is_in_the_ct_log_before_it_is_handed_out(
    client: Client, authorization: str, sigstore_state: Path
) -> None:
    answer = client.post_json(
        PATH, csr(ec.generate_private_key(ec.SECP256R1())), authorization=authorization
    )
    pem = answer.json()["signedCertificateEmbeddedSct"]["chain"]["certificates"][0]
    leaf = x509.load_pem_x509_certificate(pem.encode())
    log = AppendOnlyLog(sigstore_state / FOLDER / "ct")
    last = log.at(log.head()[0] - 1)
    assert last is not None
    assert leaf.tbs_precertificate_bytes in last.record.leaf


@pytest.mark.parametrize("authorization", ["", "Basic x", "Bearer x", "Bearer "])
def test_without_a_token_there_is_no_certificate(client: Client, authorization: str) -> None:
    answer = client.post_json(
        PATH, csr(ec.generate_private_key(ec.SECP256R1())), authorization=authorization
    )
    assert answer.status_code == 401


def spoiled_csr() -> dict[str, Any]:
    pem = base64.b64decode(
        csr(ec.generate_private_key(ec.SECP256R1()))["certificateSigningRequest"]
    )
    der = bytearray(x509.load_pem_x509_csr(pem).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    spoiled = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM)
    return {"certificateSigningRequest": base64.b64encode(spoiled).decode()}


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (spoiled_csr(), "certificate signing request: wrong signature"),
        (csr(rsa.generate_private_key(65537, 2048)), "public key: expected ECDSA on P-256"),
        (csr(ec.generate_private_key(ec.SECP384R1())), "public key: expected ECDSA on P-256"),
        ({"certificateSigningRequest": "*"}, "public key: "),
        ({"certificateSigningRequest": 1}, "body: certificateSigningRequest: expected text"),
        ({}, "body: publicKeyRequest.publicKey.content is missing"),
        (
            key_request(ec.generate_private_key(ec.SECP256R1()), "https://someone.else/x"),
            "proof of possession: wrong signature",
        ),
        ([], "body: expected a JSON object"),
    ],
)
def test_a_bad_request_gets_no_certificate(
    client: Client, authorization: str, document: object, reason: str
) -> None:
    answer = client.post_json(PATH, document, authorization=authorization)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith(reason)
