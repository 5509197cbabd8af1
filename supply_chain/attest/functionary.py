"""Sigstore identities as in-toto functionaries: who may carry out a step, and what they sign.

A layout names a functionary by identity and issuer instead of by a public key. Its signature is a
Sigstore message signature over the envelope's pre-authentication encoding; the bundle travels in
the signature itself, under `bundle`. The verifying half is in the SDK, pinned to the policy's trust
root: securesystemslib's own class for this kind of key trusts the public good instance alone.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from securesystemslib.signer import Signature  # type: ignore[attr-defined]

from blindllama.policy import GITHUB_ISSUER
from supply_chain.attest.signing import bundle_document
from supply_chain.attest.statement import canonical
from supply_chain.digest import sha256_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from blindllama.policy import GithubSource
    from supply_chain.attest.config import Person
    from supply_chain.attest.signing import Signer

KEY_TYPE = "sigstore-oidc"
SCHEME = "Fulcio"
BUNDLE = "bundle"
"""Where a signature keeps the bundle that verifies it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Functionary:
    """Somebody whom a layout lets carry out steps, or own it."""

    identity: str
    """The certificate's subject alternative name."""
    issuer: str
    github: GithubSource | None = None
    """What an identity of GitHub Actions must have been given to build: its workflow, which is the
    identity, can be called from any repository."""

    @property
    def person(self) -> dict[str, Any]:
        """Who it is, as a layout and a policy write it."""
        source = None if self.github is None else self.github.model_dump(exclude_none=True)
        return {"identity": self.identity, "issuer": self.issuer} | (
            {} if source is None else {"github": source}
        )

    @property
    def key(self) -> dict[str, Any]:
        """The key as a layout writes it, without its identifier."""
        return {"keytype": KEY_TYPE, "scheme": SCHEME, "keyval": self.person}

    @property
    def keyid(self) -> str:
        """SHA-256 of the key's canonical JSON, in hexadecimal."""
        return sha256_bytes(canonical(self.key)).hex


def functionary_of(person: Person, *, issuer: str) -> Functionary:
    """The functionary that the configuration means, with an issuer for those who name none."""
    return Functionary(
        identity=person.identity, issuer=person.issuer or issuer, github=person.github
    )


def functionaries_of(people: Sequence[Person], *, issuer: str) -> list[Functionary]:
    """The functionaries that the configuration means, of those whom the issuer can know.

    Who names neither an issuer nor a source is an identity of the local Sigstore; GitHub's issuer
    knows workflows alone.
    """
    return [
        functionary_of(person, issuer=issuer)
        for person in people
        if person.issuer is not None or person.github is not None or issuer != GITHUB_ISSUER
    ]


def functionary_signature(functionary: Functionary, signer: Signer, data: bytes) -> Signature:
    """The functionary's signature over the bytes, with its bundle inside.

    Raises:
        SigningError: The Sigstore instance refuses or is out of reach.
    """
    document = bundle_document(signer.sign_bytes(data))
    # DSSE demands hexadecimal here and writes base64 to the file.
    signature = base64.b64decode(document["messageSignature"]["signature"]).hex()
    return Signature(functionary.keyid, signature, {BUNDLE: document})
