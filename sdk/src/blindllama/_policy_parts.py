"""The parts of a policy, as the tables of its TOML file hold them; `policy.Policy` has them all."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from blindllama.measurements import PcrIndexText, Sha256Hex

__all__ = [
    "GITHUB_ISSUER",
    "GithubSource",
    "LayoutPolicy",
    "Owner",
    "OwnerIdentity",
    "Part",
    "RebuilderIdentity",
    "RebuilderPolicy",
    "ReleasePolicy",
    "SignerPolicy",
    "SigstorePolicy",
    "VerifierPolicy",
    "VtpmPolicy",
]

GITHUB_ISSUER = "https://token.actions.githubusercontent.com"
"""The OIDC issuer of GitHub Actions, as certificates name it."""

_TRUST_ROOT_LIMIT = 1 << 20
"""Most characters of a trust root; one takes about 10 KiB."""
_CERTIFICATE_LIMIT = 1 << 14
"""Most characters of a certificate; one takes about 2 KiB."""


_REF_PATTERN = r"^refs/tags/[A-Za-z0-9._+-]+(/[A-Za-z0-9._+-]+)*\*([A-Za-z0-9._+-]+\*?)?$"
"""Tags only, a name before the first of at most two stars, and no other sign with a meaning."""


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("expected text, got nothing")
    return text


def _certificate(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def _pem(text: str) -> str:
    _certificate(text)
    return text


_Text = Annotated[str, Field(max_length=2048), AfterValidator(_not_blank)]


class Part(BaseModel):
    """A part of a policy: nothing in it changes, nothing unknown is in it, no type is bent."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ReleasePolicy(Part):
    """Which releases are recent enough."""

    name: _Text
    minimum_sequence: Annotated[int, Field(ge=1)]
    maximum_age_days: Annotated[int, Field(ge=1, le=3660)]
    revoked: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Sequence numbers that the caller no longer accepts, whatever the release says."""


class GithubSource(Part):
    """Where a build on GitHub must come from; each value is compared in full, never as a prefix."""

    repository: Annotated[str, Field(pattern=r"^https://github\.com/[\w.-]+/[\w.-]+$")]
    """The source repository's URL, as in certificate extension 1.3.6.1.4.1.57264.1.12."""
    workflow: Annotated[str, Field(pattern=r"^\.github/workflows/[\w.-]+\.ya?ml$")]
    """Path of the calling workflow inside the repository (extension .18)."""
    ref: Annotated[str, Field(pattern=r"^refs/(heads|tags)/[^\s*]+$")] | None = None
    """The full ref (extension .14); a branch and a tag of the same name differ, and so does a
    pull request, which has no full ref of this form."""
    ref_pattern: Annotated[str, Field(pattern=_REF_PATTERN)] | None = None
    """Instead of `ref`: the tags that will do, such as `refs/tags/v*`. It is compared with the
    whole ref; `*` stands for at least one character and never for a `/`. There is no pattern for
    branches, which move, nor one that begins with `*`, which whoever may push a tag would meet."""
    runner: Literal["github-hosted", "self-hosted"] = "github-hosted"
    """Where the build ran (extension .11): on a machine of GitHub's, or on somebody's own."""

    @model_validator(mode="after")
    def _one_demand(self) -> Self:
        if (self.ref is None) == (self.ref_pattern is None):
            raise ValueError("expected either ref or ref_pattern")
        return self

    def accepts_ref(self, ref: str) -> bool:
        """Tell whether a build of that full ref will do."""
        if self.ref_pattern is None:
            return ref == self.ref
        parts = (re.escape(part) for part in self.ref_pattern.split("*"))
        return re.fullmatch(r"[A-Za-z0-9._+-]+".join(parts), ref) is not None


class SignerPolicy(Part):
    """Who signs the release, and the only builder that this signer may speak for."""

    issuer: _Text
    identity: _Text
    """The certificate's subject alternative name, a URI or an e-mail address."""
    builder_id: _Text
    github: GithubSource | None = None


class SigstorePolicy(Part):
    """The trust root, and what a bundle must carry."""

    trusted_root: Annotated[str, Field(max_length=_TRUST_ROOT_LIMIT), AfterValidator(_not_blank)]
    """A Sigstore trusted root, JSON. It is embedded: no cache of the machine is ever read."""
    require_timestamp: bool = True
    """A time stamp (RFC 3161) that verifies, on every bundle."""
    require_inclusion_promise: bool = True
    """The log's signed entry timestamp, on every bundle."""


class Owner(Part):
    """A key that must have signed the layout."""

    keyid: Sha256Hex
    scheme: Literal["ed25519", "ecdsa-sha2-nistp256", "rsassa-pss-sha256"]
    public: Annotated[str, Field(min_length=1, max_length=4096)]
    """The public key: 32 bytes in lowercase hex for ed25519, else PEM (SubjectPublicKeyInfo)."""


class OwnerIdentity(Part):
    """A Sigstore identity that must have signed the layout."""

    issuer: _Text
    identity: _Text
    github: GithubSource | None = None


class LayoutPolicy(Part):
    """Who owns the layout; every owner must have signed it."""

    owners: Annotated[tuple[Owner | OwnerIdentity, ...], Field(min_length=1, max_length=16)]


class VerifierPolicy(Part):
    """Whose summary of a verification the caller believes (`blindllama.summary`)."""

    id: _Text
    """The verifier's URI, as the summary names it."""
    issuer: _Text
    identity: _Text
    """The certificate's subject alternative name."""
    github: GithubSource | None = None


class RebuilderIdentity(Part):
    """Somebody who builds the release again and signs what came out."""

    issuer: _Text
    identity: _Text
    github: GithubSource | None = None
    trusted_root: (
        Annotated[str, Field(max_length=_TRUST_ROOT_LIMIT), AfterValidator(_not_blank)] | None
    ) = None
    """What verifies their signature; the policy's own when it is not given. Somebody who signs with
    the Sigstore of another machine has another one."""


class RebuilderPolicy(Part):
    """How many independent rebuilders must agree."""

    threshold: Annotated[int, Field(ge=0)] = 0
    identities: tuple[RebuilderIdentity, ...] = ()


class VtpmPolicy(Part):
    """Whom the platform's attestation keys must chain to."""

    roots: Annotated[tuple[Sha256Hex, ...], Field(min_length=1)]
    """SHA-256 fingerprints of root certificates (of their DER bytes)."""
    allowed: dict[PcrIndexText, Annotated[tuple[Sha256Hex, ...], Field(min_length=1)]] = Field(
        default_factory=dict
    )
    """More values, by PCR, that a register of the platform's firmware may have: those of machines
    that the caller trusts and this SDK does not know. No other register is affected."""
    issuers: (
        Annotated[
            tuple[Annotated[str, Field(max_length=_CERTIFICATE_LIMIT), AfterValidator(_pem)], ...],
            Field(min_length=1, max_length=32),
        ]
        | None
    ) = None
    """PEM certificates of issuers that a guest may leave out, as where its image is older than they
    are. Nothing is trusted because of them: the chain must still end at one of the roots."""

    def issuers_der(self) -> tuple[bytes, ...]:
        """Return the issuers in DER."""
        certificates = (_certificate(pem) for pem in self.issuers or ())
        return tuple(certificate.public_bytes(Encoding.DER) for certificate in certificates)
