"""What a caller trusts, and nothing else: step 1.

A policy is the caller's. Nothing in it comes from the server, nothing in it has a default that
trusts anybody, and a part that is empty is refused: an empty policy would accept everything.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from blindllama._policy_check import (
    check_owners,
    check_rebuilders,
    check_repeats,
    check_trust_root,
    policy_refusal,
)
from blindllama._policy_toml import policy_toml
from blindllama.errors import Code, PolicyError
from blindllama.measurements import PlatformName, Sha256Hex

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "GITHUB_ISSUER",
    "GithubSource",
    "LayoutPolicy",
    "Owner",
    "Policy",
    "RebuilderIdentity",
    "RebuilderPolicy",
    "ReleasePolicy",
    "SignerPolicy",
    "SigstorePolicy",
    "VtpmPolicy",
]

GITHUB_ISSUER = "https://token.actions.githubusercontent.com"
"""The OIDC issuer of GitHub Actions, as certificates name it."""

_STEP = 1

_LIMIT = 1 << 20
"""Most bytes of a policy; a trust root takes about 10 KiB of it."""


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("expected text, got nothing")
    return text


_Text = Annotated[str, Field(max_length=2048), AfterValidator(_not_blank)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ReleasePolicy(_Part):
    """Which releases are recent enough."""

    name: _Text
    minimum_sequence: Annotated[int, Field(ge=1)]
    maximum_age_days: Annotated[int, Field(ge=1, le=3660)]
    revoked: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Sequence numbers that the caller no longer accepts, whatever the release says."""


class GithubSource(_Part):
    """Where a build on GitHub must come from; each value is compared in full, never as a prefix."""

    repository: Annotated[str, Field(pattern=r"^https://github\.com/[\w.-]+/[\w.-]+$")]
    """The source repository's URL, as in certificate extension 1.3.6.1.4.1.57264.1.12."""
    workflow: Annotated[str, Field(pattern=r"^\.github/workflows/[\w.-]+\.ya?ml$")]
    """Path of the calling workflow inside the repository (extension .18)."""
    ref: Annotated[str, Field(pattern=r"^refs/(heads|tags)/[^\s*]+$")]
    """The full ref (extension .14); a branch and a tag of the same name differ, and so does a
    pull request, which has no full ref of this form."""


class SignerPolicy(_Part):
    """Who signs the release, and the only builder that this signer may speak for."""

    issuer: _Text
    identity: _Text
    """The certificate's subject alternative name, a URI or an e-mail address."""
    builder_id: _Text
    github: GithubSource | None = None


class SigstorePolicy(_Part):
    """The trust root, and what a bundle must carry."""

    trusted_root: Annotated[str, Field(max_length=_LIMIT), AfterValidator(_not_blank)]
    """A Sigstore trusted root, JSON. It is embedded: no cache of the machine is ever read."""
    require_timestamp: bool = True
    """A time stamp (RFC 3161) that verifies, on every bundle."""
    require_inclusion_promise: bool = True
    """The log's signed entry timestamp, on every bundle."""


class Owner(_Part):
    """A key that must have signed the layout."""

    keyid: Sha256Hex
    scheme: Literal["ed25519"]
    public: Sha256Hex
    """The raw public key, 32 bytes in lowercase hex."""


class LayoutPolicy(_Part):
    """Who owns the layout; every owner must have signed it."""

    owners: Annotated[tuple[Owner, ...], Field(min_length=1)]


class RebuilderIdentity(_Part):
    """Somebody who builds the release again and signs what came out."""

    issuer: _Text
    identity: _Text


class RebuilderPolicy(_Part):
    """How many independent rebuilders must agree."""

    threshold: Annotated[int, Field(ge=0)] = 0
    identities: tuple[RebuilderIdentity, ...] = ()


class VtpmPolicy(_Part):
    """Whom the platform's attestation keys must chain to."""

    roots: Annotated[tuple[Sha256Hex, ...], Field(min_length=1)]
    """SHA-256 fingerprints of root certificates (of their DER bytes)."""


class Policy(_Part):
    """What a caller trusts. Read it with `from_file`, or make it from its parts."""

    version: Literal[1] = 1
    platform: Literal["qemu-swtpm", "azure-trusted-launch"]
    debug_images: bool = False
    """Accept an image that is marked as a debug image. Such an image protects nothing."""
    release: ReleasePolicy
    signer: SignerPolicy
    sigstore: SigstorePolicy
    layout: LayoutPolicy
    rebuilders: RebuilderPolicy = RebuilderPolicy()
    vtpm: VtpmPolicy

    def __init__(self, **parts: Any) -> None:  # noqa: ANN401 - refused unless it has the types of the fields
        """Make a policy from its parts, shaped as in the TOML file.

        Raises:
            PolicyError: with code `policy.*`.
        """
        try:
            super().__init__(**parts)
        except ValidationError as exc:
            raise policy_refusal(exc) from exc
        check_trust_root(self.sigstore.trusted_root, stamps=self.sigstore.require_timestamp)
        check_owners({owner.keyid: owner.public for owner in self.layout.owners})
        check_repeats("layout.owners", [owner.keyid for owner in self.layout.owners])
        check_repeats("vtpm.roots", self.vtpm.roots)
        check_repeats("rebuilders.identities", self.rebuilders.identities)
        check_rebuilders(self.rebuilders.threshold, len(self.rebuilders.identities))
        check_github(self.signer)

    @property
    def platform_name(self) -> PlatformName:
        """The platform that the caller expects."""
        return PlatformName(self.platform)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Return the policy in a TOML file.

        Raises:
            PolicyError: the file cannot be read, or what it says is not a policy.
        """
        try:
            data = path.read_bytes()
        except OSError as exc:
            raise PolicyError(
                f"policy file {path}: {exc.strerror or exc}",
                code=Code.POLICY_UNREADABLE,
                step=_STEP,
            ) from exc
        return cls.from_bytes(data)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the policy in the bytes of a TOML file.

        Raises:
            PolicyError: with code `policy.*`.
        """
        if len(data) > _LIMIT:
            raise PolicyError(
                "size of the policy",
                code=Code.POLICY_UNREADABLE,
                step=_STEP,
                expected=f"at most {_LIMIT} bytes",
                got=f"{len(data)} bytes",
            )
        try:
            document = tomllib.loads(data.decode("utf-8"))
        except (ValueError, RecursionError) as exc:
            raise PolicyError(
                f"text of the policy: {exc}",
                code=Code.POLICY_UNREADABLE,
                step=_STEP,
                expected="TOML",
            ) from exc
        return cls.from_mapping(document)

    @classmethod
    def from_mapping(cls, document: Mapping[str, Any]) -> Self:
        """Return the policy that TOML-shaped data holds.

        Raises:
            PolicyError: with code `policy.*`.
        """
        try:
            parts = _tuples(document)
        except RecursionError as exc:
            raise PolicyError(
                "nesting of the policy", code=Code.POLICY_UNREADABLE, step=_STEP
            ) from exc
        return cls(**parts)

    @classmethod
    def local(cls, path: Path) -> Self:
        """Return the policy that a local `invoke release` wrote, from its file or its folder.

        Raises:
            PolicyError: as `from_file`.
        """
        return cls.from_file(path / "policy.toml" if path.is_dir() else path)

    @classmethod
    def github(  # noqa: PLR0913 - each argument is a separate decision of the caller
        cls,
        *,
        repository: str,
        workflow: str,
        ref: str,
        builder: str,
        name: str,
        minimum_sequence: int,
        maximum_age_days: int,
        trusted_root: str,
        owners: tuple[Owner, ...],
        platform: PlatformName,
        vtpm_roots: tuple[str, ...],
    ) -> Self:
        """Return the policy for releases built on GitHub by a reusable workflow.

        Args:
            repository: The source repository, `OWNER/NAME`.
            workflow: File name of the calling workflow, such as `release.yml`.
            ref: The full ref it ran for, such as `refs/tags/v1.2.0`.
            builder: The reusable workflow that builds and signs, as
                `OWNER/NAME/.github/workflows/FILE@REF`; both signer identity and builder id.
            name: The release's name.
            minimum_sequence: The oldest release that is accepted.
            maximum_age_days: How old a release may be.
            trusted_root: Sigstore trusted root, JSON.
            owners: The layout's owners; all must have signed.
            platform: Where the release runs.
            vtpm_roots: SHA-256 fingerprints of the platform's root certificates.

        Raises:
            PolicyError: with code `policy.*`.
        """
        builder_uri = f"https://github.com/{builder}"
        source = {
            "repository": f"https://github.com/{repository}",
            "workflow": f".github/workflows/{workflow}",
            "ref": ref,
        }
        return cls.from_mapping(
            {
                "platform": platform.value,
                "release": {
                    "name": name,
                    "minimum_sequence": minimum_sequence,
                    "maximum_age_days": maximum_age_days,
                },
                "signer": {
                    "issuer": GITHUB_ISSUER,
                    "identity": builder_uri,
                    "builder_id": builder_uri,
                    "github": source,
                },
                "sigstore": {"trusted_root": trusted_root},
                "layout": {"owners": [owner.model_dump() for owner in owners]},
                "vtpm": {"roots": list(vtpm_roots)},
            }
        )

    def to_toml(self) -> str:
        """Return the policy as the TOML that `from_bytes` reads back to an equal policy."""
        return policy_toml(self.model_dump(mode="json", exclude_none=True))


def check_github(signer: SignerPolicy) -> None:
    """Refuse a GitHub identity without its source, and a source without a GitHub identity.

    Any repository can call a public reusable workflow, so the signer's identity alone names the
    builder but not the source (ATTACKS S1, S3).

    Raises:
        PolicyError: `policy.invalid`.
    """
    from_github = signer.issuer == GITHUB_ISSUER
    if from_github != (signer.github is not None):
        raise PolicyError(
            "policy, signer.github",
            code=Code.POLICY_INVALID,
            step=_STEP,
            expected=f"present exactly when signer.issuer is {GITHUB_ISSUER}",
            got="absent" if signer.github is None else "present",
        )
    if from_github and signer.builder_id != signer.identity:
        raise PolicyError(
            "policy, signer.builder_id of a GitHub identity",
            code=Code.POLICY_INVALID,
            step=_STEP,
            expected=signer.identity,
            got=signer.builder_id,
        )


def _tuples(value: Any) -> Any:  # noqa: ANN401 - TOML-shaped data
    """Return the data with tuples for lists, which the strict types demand."""
    if isinstance(value, Mapping):
        return {key: _tuples(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return tuple(_tuples(child) for child in value)
    return value
