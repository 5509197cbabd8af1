from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from os_image.secure_boot.keys import (
    SecureBootError,
    create_keys,
    is_signing_key_encrypted,
    read_certificates,
    read_signing_key,
)
from supply_chain.private_key import PassphraseError

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def test_each_key_has_a_certificate_that_it_signed(tmp_path: Path) -> None:
    made = create_keys(tmp_path / "keys", passphrase=None, now=NOW)
    assert made == read_certificates(tmp_path / "keys")
    for der in (made.pk, made.kek, made.db):
        certificate = x509.load_der_x509_certificate(der)
        certificate.verify_directly_issued_by(certificate)
        assert certificate.not_valid_before_utc == NOW
    assert len({made.pk, made.kek, made.db}) == 3


def test_nobody_else_reads_the_private_keys(tmp_path: Path) -> None:
    create_keys(tmp_path / "keys", passphrase=None, now=NOW)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "keys").iterdir()}
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert {mode for name, mode in modes.items() if name.endswith(".key")} == {0o600}


def test_a_passphrase_opens_the_key_and_no_other_does(tmp_path: Path) -> None:
    made = create_keys(tmp_path / "keys", passphrase=b"right", now=NOW)
    assert is_signing_key_encrypted(tmp_path / "keys")
    key = read_signing_key(tmp_path / "keys", passphrase=b"right")
    assert key.certificate == made.db
    assert repr(key) == "SigningKey(…)"
    for wrong in (b"wrong", None):
        with pytest.raises(PassphraseError) as caught:
            read_signing_key(tmp_path / "keys", passphrase=wrong)
        assert caught.value.code == "build.passphrase"


def test_keys_are_not_replaced(tmp_path: Path) -> None:
    made = create_keys(tmp_path / "keys", passphrase=None, now=NOW)
    with pytest.raises(SecureBootError, match="holds keys already") as caught:
        create_keys(tmp_path / "keys", passphrase=None, now=NOW)
    assert caught.value.code == "os_image.secure_boot"
    assert read_certificates(tmp_path / "keys") == made


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("db.der", None, "invoke secure-boot.keys"),
        ("db.der", b"no certificate", "expected a certificate"),
        ("db.key", None, "cannot be read"),
    ],
)
def test_a_folder_without_one_of_them_is_refused(
    tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    create_keys(tmp_path / "keys", passphrase=None, now=NOW)
    (tmp_path / "keys" / name).unlink()
    if content is not None:
        (tmp_path / "keys" / name).write_bytes(content)
    with pytest.raises(SecureBootError, match=said):
        read_signing_key(tmp_path / "keys", passphrase=None)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    create_keys(tmp_path / "keys", passphrase=None, now=NOW)
    (tmp_path / "keys" / "db.key").write_bytes((tmp_path / "keys" / "PK.key").read_bytes())
    with pytest.raises(SecureBootError, match="expected the key of db.der"):
        read_signing_key(tmp_path / "keys", passphrase=None)
