"""The keys of a repository: each in a file of its own that only its owner may read.

Root and targets keys belong offline: they are encrypted when there is a passphrase, and the folder
may lie on a stick. The online key signs again every few days with nobody there to type, so it is
never encrypted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner, SSlibKey  # type: ignore[attr-defined] # imported into it

from supply_chain.errors import BuildError
from supply_chain.local_sigstore.keys import private_folder, read_secret, write_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path
    from typing import ClassVar

KeyRole = Literal["root", "targets", "online"]


class RepositoryError(BuildError):
    """The release index, or a key of it, cannot be used as it stands."""

    code: ClassVar[str] = "build.repository"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFolder:
    """Private keys by role and key id."""

    path: Path
    passphrase: Callable[[], bytes]
    """Asked for once a key turns out to be encrypted."""

    def make(self, role: KeyRole, passphrase: bytes | None) -> CryptoSigner:
        """Make a key, keep it, and return what signs with it.

        Args:
            role: What it is for.
            passphrase: Encrypts it; None leaves it as it is.
        """
        private = Ed25519PrivateKey.generate()
        signer = CryptoSigner(private)
        write_secret(
            private_folder(self.path) / _name(role, signer.public_key.keyid),
            _pem(private, passphrase),
        )
        return signer

    def signers(self, role: KeyRole, keyids: Iterable[str], *, least: int) -> list[CryptoSigner]:
        """Return what signs for a role, as many as have their key here.

        Raises:
            RepositoryError: They are fewer than the role needs, or the passphrase is wrong.
            LocalSigstoreError: Others can read a key.
        """
        paths = {keyid: self.path / _name(role, keyid) for keyid in keyids}
        there = [path for path in paths.values() if path.is_file()]
        if len(there) < least:
            missing = sorted(path.name for path in paths.values() if path not in there)
            raise RepositoryError(
                f"{role} keys in {self.path}; expected {least}; got {len(there)}: put back "
                f"{', '.join(missing)}, or say with --keys where they are"
            )
        return [self._open(path) for path in there]

    def file(self, role: KeyRole, keyid: str) -> Path:
        """Where a key is kept, for people."""
        return self.path / _name(role, keyid)

    def _open(self, path: Path) -> CryptoSigner:
        pem = read_secret(path)
        passphrase = self.passphrase() if b"ENCRYPTED" in pem else None
        try:
            key = serialization.load_pem_private_key(pem, password=passphrase)
        except (ValueError, TypeError) as exc:
            raise RepositoryError(f"{path}: the passphrase does not open this key") from exc
        if not isinstance(key, Ed25519PrivateKey):
            raise RepositoryError(f"{path}; expected an ed25519 key; got {type(key).__name__}")
        return CryptoSigner(key, SSlibKey.from_crypto(key.public_key()))


def _name(role: KeyRole, keyid: str) -> str:
    return f"{role}-{keyid[:16]}.pem"


def _pem(key: Ed25519PrivateKey, passphrase: bytes | None) -> bytes:
    encryption: serialization.KeySerializationEncryption = (
        serialization.BestAvailableEncryption(passphrase)
        if passphrase
        else serialization.NoEncryption()
    )
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )
