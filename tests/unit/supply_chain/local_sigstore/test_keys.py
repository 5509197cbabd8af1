from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization

from supply_chain.errors import BuildError
from supply_chain.local_sigstore import LocalSigstoreError, running
from supply_chain.local_sigstore.instance import FOLDER, SECRET, load_identities
from supply_chain.local_sigstore.keys import found_or_made_p256, read_secret, spki, write_secret
from supply_chain.private_key import PassphraseError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_key_is_made_once_and_found_again(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    assert spki(found_or_made_p256(path, None)) == spki(found_or_made_p256(path, None))
    assert path.stat().st_mode & 0o777 == 0o600
    assert [item.name for item in tmp_path.iterdir()] == ["key.pem"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660])
def test_a_secret_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secret"
    write_secret(path, b"word")
    path.chmod(mode)
    with pytest.raises(LocalSigstoreError, match=f"expected mode 0600, got 0{mode:o}") as raised:
        read_secret(path)
    assert raised.value.code == "build.local_sigstore"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"nonsense", "expected a private key in PEM"),
        (
            (
                b"-----BEGIN PRIVATE KEY-----\n"
                b"MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
                b"-----END PRIVATE KEY-----\n"
            ),
            "expected a P-256 key, got Ed25519PrivateKey",
        ),
    ],
)
def test_a_file_that_holds_no_p256_key_is_refused(
    tmp_path: Path, content: bytes, complaint: str
) -> None:
    write_secret(tmp_path / "key.pem", content)
    with pytest.raises(BuildError, match=complaint):
        found_or_made_p256(tmp_path / "key.pem", None)


def test_every_secret_of_an_instance_is_for_its_owner_alone(tmp_path: Path) -> None:
    with running(tmp_path):
        pass
    folder = tmp_path / FOLDER
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert folder / SECRET in files
    assert len([path for path in files if path.suffix == ".pem"]) == 8
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    assert {path.stat().st_mode & 0o777 for path in folders} == {0o700}


def test_a_chain_for_another_key_is_refused(tmp_path: Path) -> None:
    load_identities(tmp_path)
    (tmp_path / FOLDER / "keys" / "tsa.key.pem").unlink()
    with pytest.raises(LocalSigstoreError, match="certifies another key"):
        load_identities(tmp_path)


def test_a_chain_that_is_no_chain_is_refused(tmp_path: Path) -> None:
    load_identities(tmp_path)
    write_secret(tmp_path / FOLDER / "keys" / "tsa.chain.pem", b"nonsense")
    with pytest.raises(LocalSigstoreError, match="expected certificates in PEM"):
        load_identities(tmp_path)


def test_the_same_folder_gives_the_same_trusted_root(tmp_path: Path) -> None:
    first = load_identities(tmp_path).trusted_root_json
    assert load_identities(tmp_path).trusted_root_json == first
    assert load_identities(tmp_path / "other").trusted_root_json != first
    assert "127.0.0.1" not in first


def private_keys(state: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((state / FOLDER / "keys").glob("*.key.pem"))]


def test_a_passphrase_encrypts_every_private_key(tmp_path: Path) -> None:
    root = load_identities(tmp_path, b"open").trusted_root_json
    assert len(private_keys(tmp_path)) == 6
    for pem in private_keys(tmp_path):
        serialization.load_pem_private_key(pem, b"open")
        with pytest.raises(TypeError, match="encrypted"):
            serialization.load_pem_private_key(pem, None)
    assert load_identities(tmp_path, b"open").trusted_root_json == root


def test_a_passphrase_encrypts_the_keys_that_lay_there_in_clear(tmp_path: Path) -> None:
    root = load_identities(tmp_path).trusted_root_json
    assert load_identities(tmp_path, b"open").trusted_root_json == root
    assert all(b"ENCRYPTED" in pem for pem in private_keys(tmp_path))
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / FOLDER / "keys").iterdir()} == {
        0o600
    }


@pytest.mark.parametrize(
    ("passphrase", "complaint"),
    [
        (None, "is encrypted: set BLINDLLAMA_PASSPHRASE to its passphrase"),
        (b"shut", "the passphrase in BLINDLLAMA_PASSPHRASE does not open this key"),
    ],
)
def test_without_the_passphrase_nothing_runs(
    tmp_path: Path, passphrase: bytes | None, complaint: str
) -> None:
    load_identities(tmp_path, b"open")
    with (
        pytest.raises(PassphraseError, match=complaint) as raised,
        running(tmp_path, passphrase=passphrase),
    ):
        pass
    assert raised.value.code == "build.passphrase"
    assert "shut" not in str(raised.value)
