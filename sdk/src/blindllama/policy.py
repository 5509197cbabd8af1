"""What a caller trusts, and nothing else: step 1.

A policy is the caller's. Nothing in it comes from the server, nothing in it has a default that
trusts anybody, and a part that is empty is refused: an empty policy would accept everything.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import ValidationError

from blindllama._policy_check import (
    check_github,
    check_owners,
    check_rebuilders,
    check_repeats,
    check_source,
    check_trust_root,
    policy_refusal,
)
from blindllama._policy_parts import (
    GITHUB_ISSUER,
    GithubSource,
    LayoutPolicy,
    Owner,
    OwnerIdentity,
    Part,
    RebuilderIdentity,
    RebuilderPolicy,
    ReleasePolicy,
    SignerPolicy,
    SigstorePolicy,
    VerifierPolicy,
    VtpmPolicy,
)
from blindllama._policy_preset import PUBLIC_GOOD, pinned_roots, trusted_root_text
from blindllama._policy_toml import policy_toml
from blindllama.errors import Code, PolicyError
from blindllama.measurements import PlatformName

__all__ = [
    "GITHUB_ISSUER",
    "PUBLIC_GOOD",
    "GithubSource",
    "LayoutPolicy",
    "Owner",
    "OwnerIdentity",
    "Policy",
    "RebuilderIdentity",
    "RebuilderPolicy",
    "ReleasePolicy",
    "SignerPolicy",
    "SigstorePolicy",
    "VerifierPolicy",
    "VtpmPolicy",
]

_STEP = 1

_LIMIT = 1 << 20
"""Most bytes of a policy; a trust root takes about 10 KiB of it."""


class Policy(Part):
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
    verifier: VerifierPolicy | None = None
    """Whose summaries to believe; a release is verified without them."""

    def __init__(self, /, **parts: Any) -> None:  # noqa: ANN401 - refused unless it has the types of the fields
        """Make a policy from its parts, shaped as in the TOML file.

        Raises:
            PolicyError: with code `policy.*`.
        """
        try:
            super().__init__(**_tuples(parts))
        except ValidationError as exc:
            raise policy_refusal(exc) from exc
        except RecursionError as exc:
            raise PolicyError(
                "nesting of the policy", code=Code.POLICY_UNREADABLE, step=_STEP
            ) from exc
        check_trust_root(self.sigstore.trusted_root, stamps=self.sigstore.require_timestamp)
        check_owners(self.layout.owners)
        check_repeats("vtpm.roots", self.vtpm.roots)
        check_repeats("rebuilders.identities", self.rebuilders.identities)
        check_rebuilders(self.rebuilders, self.signer, stamps=self.sigstore.require_timestamp)
        check_github(self.signer)
        if self.verifier is not None:
            check_source("verifier", self.verifier)

    @property
    def platform_name(self) -> PlatformName:
        """The platform that the caller expects."""
        return PlatformName(self.platform)

    @classmethod
    def from_file(cls, path: Path | str) -> Self:
        """Return the policy in a TOML file.

        Raises:
            PolicyError: the file cannot be read, or what it says is not a policy.
        """
        try:
            data = Path(path).read_bytes()
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
        return cls(**document)

    @classmethod
    def from_mapping(cls, document: Mapping[str, Any]) -> Self:
        """Return the policy that TOML-shaped data holds.

        Raises:
            PolicyError: with code `policy.*`.
        """
        return cls(**document)

    @classmethod
    def local(cls, path: Path | str) -> Self:
        """Return the policy that a local `invoke release` wrote, from its file or its folder.

        Raises:
            PolicyError: as `from_file`.
        """
        place = Path(path)
        return cls.from_file(place / "policy.toml" if place.is_dir() else place)

    @classmethod
    def github(  # noqa: PLR0913 - each argument is a separate decision of the caller
        cls,
        repository: str,
        workflow: str,
        ref: str,
        *,
        trusted_root: str | Path,
        owners: Iterable[Owner | OwnerIdentity],
        platform: PlatformName | str,
        builder: str | None = None,
        name: str | None = None,
        minimum_sequence: int = 1,
        maximum_age_days: int = 90,
        vtpm_roots: Iterable[str] | None = None,
    ) -> Self:
        """Return the policy for releases that a workflow on GitHub builds and signs.

        Whom to trust has no default: the first three arguments name the builder, the next three
        the trust root, the owners and the platform. What has one only narrows that trust.

        Args:
            repository: The source repository, `OWNER/NAME`.
            workflow: File name of the calling workflow, such as `release.yml`.
            ref: The full ref it ran for, such as `refs/tags/v1.2.0`, or a pattern of tags, such as
                `refs/tags/v*`; a ref itself never holds a `*`.
            trusted_root: Sigstore trusted root: its JSON, the path of its file, or `PUBLIC_GOOD`
                for the public instance, as the installed `sigstore` package ships it.
            owners: The layout's owners; all must have signed.
            platform: Where the release runs.
            builder: The reusable workflow that builds and signs, as
                `OWNER/NAME/.github/workflows/FILE@REF`, both signer identity and builder id; the
                calling workflow itself when not given.
            name: The release's name; the repository's own when not given.
            minimum_sequence: The oldest release that is accepted; a `memory` keeps it rising.
            maximum_age_days: How old a release may be.
            vtpm_roots: SHA-256 fingerprints of the platform's root certificates; Azure's are known,
                of a simulation each machine has its own.

        Raises:
            PolicyError: with code `policy.*`.
        """
        here = f"{repository}/.github/workflows/{workflow}@{ref}"
        builder_uri = f"https://github.com/{here if builder is None else builder}"
        return cls(
            platform=str(platform),
            release={
                "name": repository.rpartition("/")[2] if name is None else name,
                "minimum_sequence": minimum_sequence,
                "maximum_age_days": maximum_age_days,
            },
            signer={
                "issuer": GITHUB_ISSUER,
                "identity": builder_uri,
                "builder_id": builder_uri,
                "github": {
                    "repository": f"https://github.com/{repository}",
                    "workflow": f".github/workflows/{workflow}",
                    "ref_pattern" if "*" in ref else "ref": ref,
                },
            },
            sigstore={"trusted_root": trusted_root_text(trusted_root)},
            layout={"owners": tuple(owners)},
            vtpm={"roots": pinned_roots(platform) if vtpm_roots is None else tuple(vtpm_roots)},
        )

    def for_platform(
        self, platform: PlatformName | str, *, vtpm_roots: Iterable[str] | None = None
    ) -> Self:
        """Return the policy that trusts the same people with the same release somewhere else.

        Args:
            platform: Where the release runs.
            vtpm_roots: SHA-256 fingerprints of that platform's root certificates; Azure's are
                known, of a simulation each machine has its own.

        Raises:
            PolicyError: with code `policy.*`.
        """
        return self.from_mapping(
            {
                **self.model_dump(exclude_none=True),
                "platform": str(platform),
                "vtpm": {
                    "roots": pinned_roots(platform) if vtpm_roots is None else tuple(vtpm_roots)
                },
            }
        )

    def with_issuers(self, issuers: Iterable[str]) -> Self:
        """Return the policy that knows more issuers of attestation keys, and trusts nobody more.

        Args:
            issuers: PEM certificates, as for `vtpm.issuers`.

        Raises:
            PolicyError: with code `policy.invalid`.
        """
        vtpm = self.vtpm.model_dump(exclude_none=True)
        known = tuple(dict.fromkeys((*(self.vtpm.issuers or ()), *issuers)))
        return self.from_mapping(
            {**self.model_dump(exclude_none=True), "vtpm": {**vtpm, "issuers": known}}
        )

    def to_toml(self) -> str:
        """Return the policy as the TOML that `from_bytes` reads back to an equal policy."""
        return policy_toml(self.model_dump(mode="json", exclude_none=True))


def _tuples(value: Any) -> Any:  # noqa: ANN401 - TOML-shaped data
    """Return the data with tuples for lists, which the strict types demand."""
    if isinstance(value, Mapping):
        return {key: _tuples(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return tuple(_tuples(child) for child in value)
    return value
