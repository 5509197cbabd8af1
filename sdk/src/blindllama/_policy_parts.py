"""The parts of a policy, as the tables of its TOML file hold them; `policy.Policy` has them all."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from blindllama.measurements import PcrIndexText, Sha256Hex

__all__ = [
    "GITHUB_ISSUER",
    "GithubSource",
    "LayoutPolicy",
    "Owner",
    "Part",
    "RebuilderIdentity",
    "RebuilderPolicy",
    "ReleasePolicy",
    "SignerPolicy",
    "SigstorePolicy",
    "VtpmPolicy",
]

GITHUB_ISSUER = "https://token.actions.githubusercontent.com"
"""The OIDC issuer of GitHub Actions, as certificates name it."""

_TRUST_ROOT_LIMIT = 1 << 20
"""Most characters of a trust root; one takes about 10 KiB."""


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("expected text, got nothing")
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
    ref: Annotated[str, Field(pattern=r"^refs/(heads|tags)/[^\s*]+$")]
    """The full ref (extension .14); a branch and a tag of the same name differ, and so does a
    pull request, which has no full ref of this form."""


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
    scheme: Literal["ed25519"]
    public: Sha256Hex
    """The raw public key, 32 bytes in lowercase hex."""


class LayoutPolicy(Part):
    """Who owns the layout; every owner must have signed it."""

    owners: Annotated[tuple[Owner, ...], Field(min_length=1)]


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
