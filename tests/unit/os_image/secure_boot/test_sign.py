"""A real UKI's signature, made and checked by the locked sbsign and sbverify."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from os_image.pe import authenticode_sha256, sections
from os_image.secure_boot.keys import create_keys, read_signing_key
from os_image.secure_boot.sign import sign_uki
from supply_chain.inputs.lock import Lock
from supply_chain.inputs.store import Store
from supply_chain.inputs.tree import Bind, Tree
from tests.conftest import locked_tree

pytestmark = pytest.mark.root

NOW = datetime(2026, 1, 2, tzinfo=UTC)
STUB = "usr/lib/systemd/boot/efi/linuxx64.efi.stub"


@pytest.fixture(scope="module")
def signing(lock: Lock, store: Store) -> Tree:
    return locked_tree("signing", lock, store)


def verified(signing: Tree, folder: Path, image: bytes, certificate: bytes) -> bool:
    (folder / "image.efi").write_bytes(image)
    pem = x509.load_der_x509_certificate(certificate).public_bytes(Encoding.PEM)
    (folder / "certificate.pem").write_bytes(pem)
    argv = ["sbverify", "--cert", "/mnt/certificate.pem", "/mnt/image.efi"]
    return not signing.run(argv, binds=[Bind(host=folder, inside="/mnt")], check=False).returncode


def test_only_the_signers_certificate_verifies_it(
    tmp_path: Path, tools: Tree, signing: Tree
) -> None:
    unsigned = (tools.root / STUB).read_bytes()
    made = create_keys(tmp_path / "keys", passphrase=None, now=NOW)
    key = read_signing_key(tmp_path / "keys", passphrase=None)
    signed = sign_uki(unsigned, key, signing=signing)
    assert verified(signing, tmp_path, signed, made.db)
    assert not verified(signing, tmp_path, unsigned, made.db)
    assert not verified(signing, tmp_path, signed, made.kek)
    flipped = bytearray(signed)
    flipped[sections(signed)[0].raw_offset + 64] ^= 1
    assert not verified(signing, tmp_path, bytes(flipped), made.db)


def test_what_is_measured_of_it_is_the_same(tmp_path: Path, tools: Tree, signing: Tree) -> None:
    unsigned = (tools.root / STUB).read_bytes()
    create_keys(tmp_path / "keys", passphrase=None, now=NOW)
    key = read_signing_key(tmp_path / "keys", passphrase=None)
    signed = sign_uki(unsigned, key, signing=signing)
    assert len(signed) > len(unsigned)
    assert authenticode_sha256(signed) == authenticode_sha256(unsigned)
    assert sections(signed) == sections(unsigned)
