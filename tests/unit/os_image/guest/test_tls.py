from __future__ import annotations

import os
import socket
import ssl
import stat
import threading
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from os_image.guest.tls import SERVER_NAME, make_identity, write_identity

if TYPE_CHECKING:
    from pathlib import Path


def test_the_certificate_carries_the_key_and_no_authority() -> None:
    identity = make_identity()
    certificate = x509.load_pem_x509_certificate(identity.certificate_pem)
    public = certificate.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert isinstance(public.curve, ec.SECP256R1)
    spki = public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert spki == identity.spki
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert not constraints.value.ca
    certificate.verify_directly_issued_by(certificate)


def test_every_boot_has_another_key() -> None:
    assert make_identity().spki != make_identity().spki


def test_the_key_is_not_shown() -> None:
    assert "PRIVATE" not in repr(make_identity())


def test_only_the_ingress_can_read_the_key(tmp_path: Path) -> None:
    key, certificate, spki = (tmp_path / name for name in ("key", "certificate", "spki"))
    identity = make_identity()
    write_identity(identity, key=key, certificate=certificate, spki=spki, group=os.getgid())
    assert stat.S_IMODE(key.stat().st_mode) == 0o440
    assert spki.read_bytes() == identity.spki
    with pytest.raises(FileExistsError):
        write_identity(identity, key=key, certificate=certificate, spki=spki, group=os.getgid())


def test_tls_1_3_works_with_the_files_as_they_are(tmp_path: Path) -> None:
    key, certificate, spki = (tmp_path / name for name in ("key", "certificate", "spki"))
    write_identity(make_identity(), key=key, certificate=certificate, spki=spki, group=os.getgid())
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    client = ssl.create_default_context(cadata=certificate.read_text())
    client.minimum_version = ssl.TLSVersion.TLSv1_3
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    near, far = socket.socketpair()

    def answer() -> None:
        with server.wrap_socket(far, server_side=True) as connection:
            connection.sendall(b"ok")

    thread = threading.Thread(target=answer)
    thread.start()
    with client.wrap_socket(near, server_hostname=SERVER_NAME) as connection:
        assert connection.recv(2) == b"ok"
        assert connection.version() == "TLSv1.3"
    thread.join(10)
