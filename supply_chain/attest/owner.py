"""Owners of a layout: a key of this machine, a key that lives elsewhere, or a Sigstore identity.

An owner signs the layout's pre-authentication encoding and has an entry in the policy, by which a
client knows the signature again.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from securesystemslib.exceptions import Error as SecureSystemsError
from securesystemslib.exceptions import StorageError
from securesystemslib.signer import CryptoSigner, SSlibKey  # type: ignore[attr-defined]
from securesystemslib.signer import Signer as KeySigner  # type: ignore[attr-defined]

from supply_chain.attest.config import BuilderOwner, FileOwner, SignerOwner
from supply_chain.attest.config import IdentityOwner as IdentityChoice
from supply_chain.attest.functionary import Functionary, functionary_of, functionary_signature
from supply_chain.attest.trust import SigningError
from supply_chain.local_sigstore.keys import locked, private_folder, read_secret, write_secret
from supply_chain.private_key import key_pem
from supply_chain.workspace import replace_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from securesystemslib.signer import (  # type: ignore[attr-defined]
        Key,
        Signature,
    )

    from supply_chain.attest.config import OwnerChoice, Person
    from supply_chain.attest.signing import Signer

OWNER_KEY = "owner.key.pem"
OWNER_PUBLIC = "owner.public.pem"
"""Beside the key, so that whose a layout is can be told without a passphrase."""
_ENCRYPTED = b"BEGIN ENCRYPTED PRIVATE KEY"


class Owner(Protocol):
    """Who signs a layout."""

    @property
    def entry(self) -> dict[str, Any]:
        """What a policy's `layout.owners` says of it."""

    def sign(self, data: bytes) -> Signature:
        """The signature over the bytes.

        Raises:
            SigningError: it cannot be made.
        """


class KeyOwner:
    """An owner with a key, on this machine or anywhere securesystemslib can reach."""

    def __init__(self, signer: KeySigner) -> None:
        """Sign with this."""
        self._signer = signer

    @property
    def keyid(self) -> str:
        """The key's identifier, 64 hexadecimal digits."""
        return str(self._signer.public_key.keyid)

    @property
    def entry(self) -> dict[str, Any]:
        """What a policy's `layout.owners` says of it."""
        return _entry(self._signer.public_key)

    def sign(self, data: bytes) -> Signature:
        """The signature over the bytes.

        Raises:
            SigningError: whoever holds the key does not sign.
        """
        try:
            return self._signer.sign(data)
        except Exception as exc:  # each service has errors of its own
            raise SigningError(f"the layout's owner {self.keyid[:16]} did not sign: {exc}") from exc


class IdentityOwner:
    """An owner who is a Sigstore identity, as a functionary is."""

    def __init__(self, person: Functionary, signer: Signer) -> None:
        """Sign as the person; the signer's identity must be the person's."""
        self._person = person
        self._signer = signer

    @property
    def entry(self) -> dict[str, Any]:
        """What a policy's `layout.owners` says of it."""
        return self._person.person

    def sign(self, data: bytes) -> Signature:
        """The signature over the bytes, with its bundle.

        Raises:
            SigningError: the Sigstore instance refuses or is out of reach.
        """
        return functionary_signature(self._person, self._signer, data)


@contextlib.contextmanager
def open_owners(
    choices: Sequence[OwnerChoice],
    *,
    root: Path,
    state: Path,
    builder: Signer,
    signer: Callable[[str], AbstractContextManager[Signer]],
    passphrase: Callable[[], bytes],
) -> Iterator[tuple[Owner, ...]]:
    """The owners that the configuration names, able to sign for the length of the block.

    Args:
        choices: What `chain.toml` says.
        root: The checkout, where files of public keys are.
        state: The build's state folder, where the owner's own key is.
        builder: Who signs the release.
        signer: Signs as an identity, for the length of a block: of a Sigstore owner, which the
            instance that signs the release must know too.
        passphrase: Asked for when the key in the state folder is encrypted, or a module has a PIN.

    Raises:
        SigningError: an owner cannot sign.
    """
    with contextlib.ExitStack() as open_ones:
        found: list[Owner] = []
        for choice in choices:
            if isinstance(choice, FileOwner):
                found.append(owner_key(state, passphrase=passphrase))
            elif isinstance(choice, SignerOwner):
                found.append(
                    uri_owner(choice.uri, read_public_key(root / choice.public), secret=passphrase)
                )
            elif isinstance(choice, BuilderOwner):
                found.append(IdentityOwner(_builder(builder), builder))
            else:
                found.append(open_ones.enter_context(_identity_owner(choice, builder, signer)))
        yield tuple(found)


def _builder(signer: Signer) -> Functionary:
    who = signer.authority
    return Functionary(identity=who.identity, issuer=who.issuer, github=who.github)


@contextlib.contextmanager
def _identity_owner(
    choice: Person, builder: Signer, signer: Callable[[str], AbstractContextManager[Signer]]
) -> Iterator[IdentityOwner]:
    """The owner as whom the builder signs already, or whom the same instance knows."""
    authority = builder.authority
    person = functionary_of(choice, issuer=authority.issuer)
    if (person.identity, person.issuer) == (authority.identity, authority.issuer):
        yield IdentityOwner(person, builder)
        return
    with signer(person.identity) as found:
        there = found.authority
        wanted = (person.identity, person.issuer, authority.trusted_root_json)
        if wanted != (there.identity, there.issuer, there.trusted_root_json):
            raise SigningError(
                f"owner {person.identity} of {person.issuer} cannot sign here: the release is "
                f"signed as {authority.identity} of {authority.issuer}"
            )
        yield IdentityOwner(person, found)


def owner_entries(
    choices: Sequence[OwnerChoice], *, root: Path, state: Path, builder: Functionary
) -> list[dict[str, Any]] | None:
    """What a policy's `layout.owners` says of the owners, found without opening a key.

    Returns:
        None where it cannot be told: the key of this machine is not made yet.

    Raises:
        SigningError: a public key cannot be read.
    """
    entries = []
    for choice in choices:
        if isinstance(choice, BuilderOwner):
            entries.append(builder.person)
            continue
        if isinstance(choice, IdentityChoice):
            entries.append(functionary_of(choice, issuer=builder.issuer).person)
            continue
        if isinstance(choice, SignerOwner):
            path = root / choice.public
        else:
            path = state / "owner" / OWNER_PUBLIC
            if not path.exists():
                return None
        entries.append(_entry(_public_key(read_public_key(path))))
    return entries


def owner_key(state: Path, *, passphrase: Callable[[], bytes] | None = None) -> KeyOwner:
    """The layout owner's key in the state folder; without `invoke chain.init`, made unencrypted.

    Args:
        state: The build's state folder.
        passphrase: Asked for when the key is encrypted, and only then.

    Raises:
        SigningError: The passphrase is wrong or missing, or the file holds no ed25519 key.
    """
    path, lock = _place(state)
    with locked(lock):
        if not path.exists():
            write_secret(path, key_pem(Ed25519PrivateKey.generate(), None))
        key = _opened(path, read_secret(path), passphrase)
        _write_public(path, key)
    return KeyOwner(CryptoSigner(key))


def init_owner_key(
    state: Path, *, new: Callable[[], bytes | None], known: Callable[[], bytes]
) -> tuple[KeyOwner, str]:
    """The layout owner's key, encrypted in its place; and what was done, for people.

    An encrypted key stays as it is, once the passphrase has opened it.

    Args:
        state: The build's state folder.
        new: Asked for the passphrase of a key that has none yet; None leaves it so.
        known: Asked for that of an encrypted one.

    Raises:
        SigningError: The passphrase is wrong, or the file holds no ed25519 key.
    """
    path, lock = _place(state)
    with locked(lock):
        there = path.exists()
        pem = read_secret(path) if there else b""
        if _ENCRYPTED in pem:
            return KeyOwner(CryptoSigner(_opened(path, pem, known))), "was encrypted already"
        key = _opened(path, pem, None) if there else Ed25519PrivateKey.generate()
        secret = new()
        write_secret(path, key_pem(key, secret))
        _write_public(path, key)
    made = "encrypted in its place" if there else "made and encrypted"
    return KeyOwner(CryptoSigner(key)), made if secret else "not encrypted: no passphrase was given"


def is_encrypted(state: Path) -> bool | None:
    """Whether the layout owner's key is encrypted; None where there is none yet."""
    path, _ = _place(state)
    return _ENCRYPTED in read_secret(path) if path.exists() else None


def uri_owner(
    uri: str, public_pem: bytes, *, secret: Callable[[], bytes] | None = None
) -> KeyOwner:
    """The owner behind a securesystemslib signer URI.

    Args:
        uri: Such as `file2:/path/key.pem`, `hsm:…`, `gcpkms:…`, `awskms:…`.
        public_pem: The public key, PEM: ed25519, ECDSA P-256, or RSA of 2048 bits or more, which
            signs with PSS.
        secret: Asked for when whoever holds the key wants one, such as a module's PIN.

    Raises:
        SigningError: The key is of another kind, or nothing installed signs with the URI.
    """
    public = _public_key(public_pem)
    try:
        handler = None if secret is None else lambda _what: secret().decode()
        return KeyOwner(KeySigner.from_priv_key_uri(uri, public, handler))
    except (SecureSystemsError, StorageError, UnsupportedAlgorithm, ValueError, OSError) as exc:
        # What comes after the colon may be a credential of the service.
        raise SigningError(f"owner {uri.partition(':')[0]}: cannot sign with it: {exc}") from exc


def read_public_key(path: Path) -> bytes:
    """The PEM file of an owner's public key.

    Raises:
        SigningError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as exc:
        raise SigningError(f"public key of an owner: {path}: {exc.strerror}") from exc


def _write_public(path: Path, key: Ed25519PrivateKey) -> None:
    pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    place = path.with_name(OWNER_PUBLIC)
    if not place.exists() or place.read_bytes() != pem:
        replace_file(place, pem)


def _place(state: Path) -> tuple[Path, Path]:
    folder = private_folder(state / "owner")
    return folder / OWNER_KEY, folder / "lock"


def _opened(path: Path, pem: bytes, passphrase: Callable[[], bytes] | None) -> Ed25519PrivateKey:
    secret = None
    if _ENCRYPTED in pem:
        if passphrase is None:
            raise SigningError(f"{path} is encrypted; expected its passphrase, got none")
        secret = passphrase()
    try:
        key = serialization.load_pem_private_key(pem, password=secret)
    except (ValueError, TypeError) as exc:
        raise SigningError(f"{path}: the passphrase does not open the layout key: {exc}") from exc
    if not isinstance(key, Ed25519PrivateKey):
        raise SigningError(f"{path}: expected an ed25519 key, got {type(key).__name__}")
    return key


def _entry(key: Key) -> dict[str, Any]:
    return {"keyid": key.keyid, "scheme": key.scheme, "public": key.keyval["public"]}


def _public_key(pem: bytes) -> SSlibKey:
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise SigningError(f"public key of an owner: expected PEM, got {exc}") from exc
    if isinstance(key, Ed25519PublicKey):
        return SSlibKey.from_crypto(key, scheme="ed25519")
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return SSlibKey.from_crypto(key, scheme="ecdsa-sha2-nistp256")
    if isinstance(key, RSAPublicKey) and key.key_size >= 2048:
        return SSlibKey.from_crypto(key, scheme="rsassa-pss-sha256")
    raise SigningError(
        "public key of an owner: expected ed25519, ECDSA P-256 or RSA of at least 2048 bits, "
        f"got {type(key).__name__}"
    )
