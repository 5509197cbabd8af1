"""The log's promise, which is checked apart from the stamp: neither stands in for the other."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import JsonValue

from blindllama._release.bundle import BundleVerifier, Signer
from blindllama._release.promise import check_promise, promise_key
from blindllama._release.trust import Moments, TrustRoot, trust_root
from blindllama.errors import Code, ProvenanceError
from blindllama.policy import Policy
from tests.conformance.corpus import edited, read_document, read_given
from tests.conformance.subject import answer
from tests.simulators.booted_guest import encode, text

RELEASE: dict[str, Any] = json.loads(read_document("release"))
GIVEN = read_given("release")
ENTRY: dict[str, Any] = RELEASE["index"]["verificationMaterial"]["tlogEntries"][0]
PLACE = "index.verificationMaterial.tlogEntries.0"


def certificate() -> x509.Certificate:
    der = RELEASE["index"]["verificationMaterial"]["certificate"]["rawBytes"]
    return x509.load_der_x509_certificate(base64.b64decode(der))


def log_key() -> ec.EllipticCurvePublicKey:
    root = json.loads(GIVEN["policy"]["sigstore"]["trusted_root"])
    key = promise_key(base64.b64decode(root["tlogs"][0]["publicKey"]["rawBytes"]))
    assert key is not None
    return key


def logged() -> datetime:
    return datetime.fromtimestamp(int(ENTRY["integratedTime"]), tz=UTC)


def refusal(entry: dict[str, Any], when: datetime) -> Code:
    with pytest.raises(ProvenanceError) as caught:
        check_promise(entry, key=log_key(), certificate=certificate(), logged=when)
    return caught.value.code


def test_the_logs_promise_holds() -> None:
    check_promise(ENTRY, key=log_key(), certificate=certificate(), logged=logged())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("integratedTime", str(int(ENTRY["integratedTime"]) + 1)),
        ("logIndex", str(int(ENTRY["logIndex"]) + 1)),
        ("canonicalizedBody", text(b"{}")),
        ("logId.keyId", text(bytes(32))),
        ("inclusionPromise.signedEntryTimestamp", text(b"no signature")),
    ],
)
def test_a_promise_of_another_entry(field: str, value: str) -> None:
    assert refusal(edited(ENTRY, {field: value}), logged()) is Code.BUNDLE_SIGNATURE


@pytest.mark.parametrize("beside", [timedelta(days=-1), timedelta(days=1)])
def test_a_promise_for_when_the_certificate_was_not_valid(beside: timedelta) -> None:
    assert refusal(ENTRY, logged() + beside) is Code.BUNDLE_SIGNATURE


def test_only_keys_of_the_known_kind_are_read_here() -> None:
    others = (
        ed25519.Ed25519PrivateKey.generate().public_key(),
        ec.generate_private_key(ec.SECP384R1()).public_key(),
    )
    for key in others:
        assert (
            promise_key(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)) is None
        )
    assert promise_key(b"no key") is None


@pytest.mark.parametrize(
    "changes",
    [
        {f"{PLACE}.integratedTime": str(int(ENTRY["integratedTime"]) + 1)},
        {
            f"{PLACE}.inclusionPromise": RELEASE["measurements"]["verificationMaterial"][
                "tlogEntries"
            ][0]["inclusionPromise"]
        },
    ],
    ids=["another time", "another entry's"],
)
def test_s2_a_good_stamp_does_not_stand_in_for_a_bad_promise(changes: dict[str, Any]) -> None:
    document = text(encode(edited(RELEASE, changes)))
    request = {"verify": "release", "document": document, "given": GIVEN}
    assert answer(request) == {"verdict": "reject", "step": 2, "code": "bundle.signature"}


def test_the_signature_is_of_the_log_and_of_nobody_else() -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    signed = {
        "body": ENTRY["canonicalizedBody"],
        "integratedTime": int(ENTRY["integratedTime"]),
        "logID": base64.b64decode(ENTRY["logId"]["keyId"]).hex(),
        "logIndex": int(ENTRY["logIndex"]),
    }
    data = json.dumps(signed, sort_keys=True, separators=(",", ":")).encode()
    forged = text(other.sign(data, ec.ECDSA(hashes.SHA256())))
    entry = edited(ENTRY, {"inclusionPromise.signedEntryTimestamp": forged})
    check_promise(entry, key=other.public_key(), certificate=certificate(), logged=logged())
    assert refusal(entry, logged()) is Code.BUNDLE_SIGNATURE


class OtherLog(TrustRoot):
    """A trust root whose log has a key of another kind: then the library checks the promise."""

    def promise_key_at(self, moments: Moments, entry: Mapping[str, JsonValue]) -> None:
        del moments, entry


@pytest.mark.parametrize("good", [True, False])
def test_the_promise_of_another_kind_of_log_is_the_librarys_to_check(*, good: bool) -> None:
    policy = Policy.from_mapping(GIVEN["policy"])
    root = trust_root(policy.sigstore.trusted_root)
    bundles = BundleVerifier(trust=OtherLog(root._root, root.verifier), require=policy.sigstore)
    who = Signer(issuer=policy.signer.issuer, identity=policy.signer.identity)
    if good:
        assert bundles.verify_dsse(RELEASE["index"], who).payload
        return
    entry = "verificationMaterial.tlogEntries.0.integratedTime"
    bundle = edited(RELEASE["index"], {entry: str(int(ENTRY["integratedTime"]) + 1)})
    with pytest.raises(ProvenanceError) as caught:
        bundles.verify_dsse(bundle, who)
    assert caught.value.code is Code.BUNDLE_SIGNATURE
