"""Sigstore identities as in-toto functionaries: who may carry out a step, and links signed so.

A layout names a functionary by identity and issuer instead of by a public key. Its signature is a
Sigstore message signature over the envelope's pre-authentication encoding; the bundle travels in
the signature itself, under `bundle`. The verifying half is in the SDK, pinned to the policy's trust
root: securesystemslib's own class for this kind of key trusts the public good instance alone.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Never

from securesystemslib.signer import Signature  # type: ignore[attr-defined]
from securesystemslib.signer import Signer as DsseSigner  # type: ignore[attr-defined]

from supply_chain.attest.signing import bundle_document
from supply_chain.attest.statement import canonical
from supply_chain.digest import sha256_bytes

if TYPE_CHECKING:
    from securesystemslib.signer import Key  # type: ignore[attr-defined]

    from supply_chain.attest.signing import Signer

KEY_TYPE = "sigstore-oidc"
SCHEME = "Fulcio"
BUNDLE = "bundle"
"""Where a signature keeps the bundle that verifies it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Functionary:
    """Somebody whom a layout lets carry out steps."""

    identity: str
    """The certificate's subject alternative name."""
    issuer: str

    @property
    def key(self) -> dict[str, Any]:
        """The key as a layout writes it, without its identifier."""
        keyval = {"identity": self.identity, "issuer": self.issuer}
        return {"keytype": KEY_TYPE, "scheme": SCHEME, "keyval": keyval}

    @property
    def keyid(self) -> str:
        """SHA-256 of the key's canonical JSON, in hexadecimal."""
        return sha256_bytes(canonical(self.key)).hex


class SigstoreFunctionarySigner(DsseSigner):
    """Signs in-toto envelopes as a functionary, through Sigstore."""

    def __init__(self, functionary: Functionary, signer: Signer) -> None:
        """Sign as the functionary; the signer's identity must be the functionary's."""
        self._functionary = functionary
        self._signer = signer

    @property
    def public_key(self) -> Key:
        """Refused: a functionary has no public key, only an identity.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("a Sigstore functionary is known by keyid, not by a key object")

    @classmethod
    def from_priv_key_uri(cls, *_args: object, **_kwargs: object) -> Never:
        """Refused: the signer is given, not named.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("a Sigstore functionary has no private key URI")

    def sign(self, payload: bytes) -> Signature:
        """The signature over the bytes, with its bundle inside.

        Raises:
            SigningError: The Sigstore instance refuses or is out of reach.
        """
        document = bundle_document(self._signer.sign_bytes(payload))
        # DSSE demands hexadecimal here and writes base64 to the file.
        signature = base64.b64decode(document["messageSignature"]["signature"]).hex()
        return Signature(self._functionary.keyid, signature, {BUNDLE: document})
