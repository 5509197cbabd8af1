"""OpenSSF model signatures: of a folder of weights, before it is used, and of a finished engine.

A signature covers every file of a folder, so that nothing can be added to it, taken away or
changed; the signature itself lies in it as `model.sig`. The library verifies; here is what must be
true besides, and one error for all that it raises.

Source: OpenSSF Model Signing Specification, v1.0 (predicate `https://model_signing/signature/v1.0`).
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from supply_chain.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from model_signing.hashing import Config as Hashing
    from model_signing.signing import Config as Signing
    from model_signing.verifying import Config as Verifying

SIGNATURE = "model.sig"
_Text = Annotated[str, Field(min_length=1, max_length=2048)]


class ModelSignatureError(BuildError):
    """A folder's model signature is missing, is somebody else's, or is not over its files."""

    code: ClassVar[str] = "engine.signature"


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class KeySigner(_Table):
    """Whoever holds an elliptic-curve key."""

    by: Literal["key"]
    public: _Text
    """The PEM file of the public key."""


class CertificateSigner(_Table):
    """Whoever holds a certificate of an authority, or of one below it.

    Any certificate of it for digital signatures counts, as of the day that it began: name an
    authority that exists for signing models.
    """

    by: Literal["certificate"]
    roots: _Text
    """The PEM file of the authority's certificates; the system's own are never asked."""


class IdentitySigner(_Table):
    """Whoever can sign in as an identity, with a Sigstore that is named."""

    by: Literal["identity"]
    identity: _Text
    issuer: _Text
    trust_config: _Text
    """The file of the Sigstore's `ClientTrustConfig`: it vouches for the identity."""


ModelSigner = Annotated[KeySigner | CertificateSigner | IdentitySigner, Field(discriminator="by")]


def named_signer(**words: str) -> ModelSigner:
    """The signer that a person names, by exactly one of key, authority and identity.

    Args:
        words: The fields of one kind of signer; empty where nothing was said.

    Raises:
        ModelSignatureError: None was named, or more than one, or half of one.
    """
    said = {name: word for name, word in words.items() if word}
    for by, kind in (
        ("key", KeySigner),
        ("certificate", CertificateSigner),
        ("identity", IdentitySigner),
    ):
        if set(said) == kind.model_fields.keys() - {"by"}:
            return kind.model_validate({"by": by, **said})
    raise ModelSignatureError(
        "whose signature: expected one of --key FILE, --roots FILE, or --identity WHO with "
        f"--issuer URL and --trust-config FILE, got {', '.join(sorted(said)) or 'none'}"
    )


def verify_folder_signature(
    folder: Path, signer: ModelSigner, *, base: Path, title: str = ""
) -> frozenset[str]:
    """The names of the files of a folder that the signer has signed, and nobody changed since.

    What git keeps beside a model (`.git`, `.gitattributes` and the like) is not among them, nor
    what the signer has left out: a caller uses no file that is not named here.

    Args:
        folder: The folder, with its `model.sig`.
        signer: Whose signature it must be.
        base: What the paths in `signer` are relative to.
        title: The folder's name in messages, when `folder` is a copy of it.

    Raises:
        ModelSignatureError: There is none, it is not the signer's, or a file was changed, added or
            removed.
    """
    from model_signing.verifying import Config  # noqa: PLC0415 - takes most of a second

    signature, title = folder / SIGNATURE, title or str(folder)
    if not signature.is_file():
        raise ModelSignatureError(f"{title}: expected its signature {SIGNATURE}, got none")
    _refuse_other_kind(title, signature.read_bytes(), signer)
    _translated(
        title,
        lambda: _verifier(Config(), signer, base).verify(folder, signature),
    )
    return _signed_names(title, signature.read_bytes())


def signer_files(signer: ModelSigner, *, base: Path) -> tuple[Path, ...]:
    """The files by which a signer is known: what a verification reads besides the folder."""
    match signer:
        case KeySigner():
            return (base / signer.public,)
        case CertificateSigner():
            return (base / signer.roots,)
        case _:
            return (base / signer.trust_config,)


def sign_with_key(folder: Path, private_key: Path, *, passphrase: bytes | None = None) -> Path:
    """The signature of a folder by an elliptic-curve key, written into it.

    Args:
        folder: What is signed.
        private_key: The key's PEM file.
        passphrase: Opens it, where it is encrypted.

    Raises:
        ModelSignatureError: The key cannot be used.
    """

    def configured(config: Signing) -> Signing:
        # The library hands it to a function that takes bytes, whatever its annotation says.
        return config.use_elliptic_key_signer(
            private_key=private_key,
            password=passphrase,  # type: ignore[arg-type]  # see above
        )

    return _sign(folder, configured)


def sign_with_certificate(
    folder: Path, private_key: Path, certificate: Path, *, chain: tuple[Path, ...] = ()
) -> Path:
    """The signature of a folder by the holder of a certificate, written into it.

    Raises:
        ModelSignatureError: The key or the certificate cannot be used.
    """
    return _sign(
        folder,
        lambda config: config.use_certificate_signer(
            private_key=private_key,
            signing_certificate=certificate,
            # The library cannot read an empty chain; a certificate may well be in its own.
            certificate_chain=chain or (certificate,),
        ),
    )


def sign_with_identity(folder: Path, *, trust_config: Path, token: str) -> Path:
    """The signature of a folder by a Sigstore identity, written into it.

    Args:
        folder: What is signed.
        trust_config: The Sigstore that is asked.
        token: The identity's OpenID Connect token.

    Raises:
        ModelSignatureError: The Sigstore refuses or is out of reach.
    """
    return _sign(
        folder,
        lambda config: config.use_sigstore_signer(trust_config=trust_config, identity_token=token),
    )


def _sign(folder: Path, configured: Callable[[Signing], Signing]) -> Path:
    from model_signing.signing import Config  # noqa: PLC0415 - takes most of a second

    signature = folder / SIGNATURE
    signature.unlink(missing_ok=True)
    _translated(
        str(folder),
        lambda: configured(Config().set_hashing_config(_hashing())).sign(folder, signature),
    )
    return signature


def _hashing() -> Hashing:
    from model_signing.hashing import Config  # noqa: PLC0415 - takes most of a second

    # Nothing is left out, not even git's files.
    return (
        Config()
        .use_file_serialization(hashing_algorithm="sha256", allow_symlinks=False)
        .set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)
    )


def _verifier(config: Verifying, signer: ModelSigner, base: Path) -> Verifying:
    (known_by,) = signer_files(signer, base=base)
    match signer:
        case KeySigner():
            return config.use_elliptic_key_verifier(public_key=known_by)
        case CertificateSigner():
            return config.use_certificate_verifier(certificate_chain=[known_by])
        case _:
            return config.use_sigstore_verifier(
                identity=signer.identity, oidc_issuer=signer.issuer, trust_config=known_by
            )


def _refuse_other_kind(title: str, bundle: bytes, signer: ModelSigner) -> None:
    """Say so when a signature was made in another way: the library then fails without a reason."""
    try:
        material = json.loads(bundle)["verificationMaterial"]
        keyed, logged = "publicKey" in material, bool(material.get("tlogEntries"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return  # no bundle at all: the library says what is wrong with it
    made = "key" if keyed else "identity" if logged else "certificate"
    if made != signer.by:
        raise ModelSignatureError(
            f"{title}/{SIGNATURE}: expected a signature by {_ARTICLES[signer.by]}, got one by "
            f"{_ARTICLES[made]}"
        )


_ARTICLES = {"key": "a key", "certificate": "a certificate", "identity": "an identity"}


def _signed_names(title: str, bundle: bytes) -> frozenset[str]:
    """Return the files that a verified signature lists; a shard is `name:start:end`."""
    payload = json.loads(base64.b64decode(json.loads(bundle)["dsseEnvelope"]["payload"]))
    predicate = payload.get("predicate")
    if predicate is None:
        raise ModelSignatureError(
            f"{title}/{SIGNATURE}: expected a signature of version 1.0, got an older one, which "
            "does not say how its files were read"
        )
    sharded = predicate["serialization"]["method"] == "shards"
    names = (str(resource["name"]) for resource in predicate["resources"])
    return frozenset(name.rsplit(":", 2)[0] if sharded else name for name in names)


def _translated(title: str, call: Callable[[], object]) -> None:
    try:
        call()
    # The library has no tree of errors: it raises what its five libraries raise.
    except Exception as exc:
        # Its differences are a printed list, with digests as Python writes bytes.
        said = str(exc).replace("\\'", "'").partition(": Expected 'Digest")[0]
        said = said or type(exc).__name__
        raise ModelSignatureError(f"model signature of {title}: {said}") from exc
