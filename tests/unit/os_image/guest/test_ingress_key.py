"""The key that the ingress answers with: made by the unit's own commands."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import stat
import threading
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.conftest import locked_tree
from tests.simulators.ingress_key import IngressKey, make_ingress_key

if TYPE_CHECKING:
    from pathlib import Path

    from supply_chain.inputs.lock import Lock
    from supply_chain.inputs.store import Store
    from supply_chain.inputs.tree import Tree

NAME = "guest.blindllama.invalid"


@pytest.fixture(scope="module")
def guest_tree(lock: Lock, store: Store) -> Tree:
    return locked_tree("rootfs", lock, store)


@pytest.fixture(scope="module")
def made(guest_tree: Tree, tmp_path_factory: pytest.TempPathFactory) -> IngressKey:
    return make_ingress_key(guest_tree, tmp_path_factory.mktemp("key"))


def test_the_certificate_carries_the_key_and_no_authority(made: IngressKey) -> None:
    certificate = x509.load_pem_x509_certificate(made.certificate.read_bytes())
    public = certificate.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert isinstance(public.curve, ec.SECP256R1)
    assert isinstance(certificate.signature_hash_algorithm, hashes.SHA256)
    spki = public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert spki == made.spki.read_bytes()
    key = serialization.load_pem_private_key(made.key.read_bytes(), password=None)
    assert key.public_key() == public
    certificate.verify_directly_issued_by(certificate)
    assert {extension.oid for extension in certificate.extensions} == {
        x509.SubjectAlternativeName.oid,
        x509.SubjectKeyIdentifier.oid,
        x509.BasicConstraints.oid,
        x509.ExtendedKeyUsage.oid,
    }
    extensions = certificate.extensions
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [NAME]
    usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_the_guests_clock_does_not_matter(made: IngressKey) -> None:
    """From before any image was built until the last instant, which means "no end" (RFC 5280)."""
    certificate = x509.load_pem_x509_certificate(made.certificate.read_bytes())
    assert certificate.not_valid_before_utc == dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    assert certificate.not_valid_after_utc == dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)


def test_every_boot_has_another_key(made: IngressKey, guest_tree: Tree, tmp_path: Path) -> None:
    assert make_ingress_key(guest_tree, tmp_path).spki.read_bytes() != made.spki.read_bytes()


def test_only_its_owner_can_read_the_key(made: IngressKey) -> None:
    assert stat.S_IMODE(made.key.stat().st_mode) == 0o600


def test_tls_1_3_works_with_the_files_as_they_are(made: IngressKey) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(made.certificate, made.key)
    client = ssl.create_default_context(cadata=made.certificate.read_text())
    client.minimum_version = ssl.TLSVersion.TLSv1_3
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    near, far = socket.socketpair()

    def answer() -> None:
        with server.wrap_socket(far, server_side=True) as connection:
            connection.sendall(b"ok")

    thread = threading.Thread(target=answer)
    thread.start()
    with client.wrap_socket(near, server_hostname=NAME) as connection:
        assert connection.recv(2) == b"ok"
        assert connection.version() == "TLSv1.3"
    thread.join(10)
