from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from asn1crypto import keys, pem
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from supply_chain import process
from supply_chain.errors import BuildError
from supply_chain.private_key import ROUNDS, PassphraseError, is_encrypted, key_pem, open_key

PATH = Path("the.key.pem")
KEYS: list[ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey] = [
    ec.generate_private_key(ec.SECP256R1()),
    ed25519.Ed25519PrivateKey.generate(),
]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("passphrase", [None, b"open", "große Füße".encode()])
def test_a_key_is_opened_as_it_was_closed(
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, passphrase: bytes | None
) -> None:
    data = key_pem(key, passphrase)
    assert is_encrypted(data) is (passphrase is not None)
    opened = open_key(PATH, data, passphrase)
    assert opened.public_key() == key.public_key()


def test_guessing_is_slow() -> None:
    _, _, der = pem.unarmor(key_pem(KEYS[0], b"open"))
    scheme = keys.EncryptedPrivateKeyInfo.load(der)["encryption_algorithm"]
    assert (scheme.kdf, scheme.kdf_hmac, scheme.kdf_iterations) == ("pbkdf2", "sha256", ROUNDS)
    assert (scheme.encryption_cipher, scheme.key_length) == ("aes", 32)


def test_two_files_of_one_key_differ() -> None:
    assert key_pem(KEYS[0], b"open") != key_pem(KEYS[0], b"open")


@pytest.mark.parametrize(
    ("passphrase", "complaint"),
    [
        (None, "the.key.pem is encrypted: set BLINDLLAMA_PASSPHRASE"),
        (b"shut", "the passphrase in BLINDLLAMA_PASSPHRASE does not open this key"),
    ],
)
def test_a_key_stays_closed(passphrase: bytes | None, complaint: str) -> None:
    with pytest.raises(PassphraseError, match=complaint) as raised:
        open_key(PATH, key_pem(KEYS[0], b"open"), passphrase)
    assert raised.value.code == "build.passphrase"


@pytest.mark.parametrize("data", [b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAA==\n"])
def test_what_is_no_key_is_told(data: bytes) -> None:
    with pytest.raises(BuildError, match="expected a private key in PEM"):
        open_key(PATH, data, b"open")


def test_openssl_reads_the_file(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    path = tmp_path / "key.pem"
    path.write_bytes(key_pem(KEYS[0], b"open"))
    argv = ["openssl", "pkey", "-in", str(path), "-passin", "env:WORD", "-pubout"]
    public = process.run(argv, env={"WORD": "open"}).stdout
    assert b"BEGIN PUBLIC KEY" in public
    assert process.run(argv, env={"WORD": "shut"}, check=False).returncode != 0
