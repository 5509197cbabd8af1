"""The release that stands in `dist/`: whether it still holds, and is what the steps have made.

The verification itself decides, by the same code that a client runs, and not a record of earlier
runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from blindllama import Policy, VerificationError
from blindllama.measurements import PlatformName
from blindllama.release import VerifiedRelease, verify_release
from building_site import Site
from pipeline import read_measured
from supply_chain.attest.functionary import Functionary, functionaries_of
from supply_chain.attest.layout import layout_demands
from supply_chain.attest.owner import owner_entries
from supply_chain.attest.trust import LOCAL_IDENTITY, signs_here
from supply_chain.digest import Sha256
from supply_chain.errors import DigestMismatchError
from supply_chain.release import EVIDENCE, LAYOUT, ReleaseError, read_release, verify_folder
from supply_chain.step import StepResult

POLICY = "policy.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A release that is on disk and has passed the client's first five checks."""

    folder: Path
    policy: Path
    verified: VerifiedRelease
    renewed: bool
    """Whether it was signed now; an earlier one that still holds is kept."""

    @property
    def evidence(self) -> Path:
        """The one file that a client needs."""
        return self.folder / EVIDENCE


def kept_release(
    site: Site,
    results: Mapping[str, StepResult],
    digests: Mapping[str, Sha256],
    *,
    vtpm_root: str,
) -> Published | None:
    """Return the release that stands, if it verifies, has days left, and is of these steps."""
    path = site.workspace.dist / POLICY
    if not path.exists() or not site.workspace.release.is_dir():
        return None
    if not signs_here(site.sigstore):
        # Whoever names an instance wants its signatures.
        return None
    try:
        policy = Policy.from_file(path)
        evidence = read_release(site.workspace.release).evidence
        verified = verify_release(
            evidence, policy, site.clock() + timedelta(days=site.chain.renew_days)
        )
        verify_folder(site.workspace.release, verified)
    except (VerificationError, ReleaseError, DigestMismatchError, OSError):
        return None
    made = {
        name: digest.hex for result in results.values() for name, digest in result.products.items()
    }
    same = (
        dict(verified.artifacts) == made
        and all(verified.files.get(name) == digest.hex for name, digest in digests.items())
        and vtpm_root in policy.vtpm.roots
        and policy.verifier is not None
        and of_this_chain(site, policy)
    )
    if not (same and belongs_to(policy, verified, debug=read_measured(results).debug)):
        return None
    return Published(folder=site.workspace.release, policy=path, verified=verified, renewed=False)


def of_this_chain(site: Site, policy: Policy) -> bool:
    """Tell whether the release that stands was signed under what `chain.toml` says now."""
    issuer = policy.signer.issuer
    builder = Functionary(
        identity=policy.signer.identity, issuer=issuer, github=policy.signer.github
    )
    owners = owner_entries(
        site.chain.owners, root=site.workspace.root, state=site.workspace.state, builder=builder
    )
    people = [builder, *functionaries_of(site.chain.rebuilders, issuer=issuer)]
    return owners == [
        owner.model_dump(exclude_none=True) for owner in policy.layout.owners
    ] and layout_demands(
        (site.workspace.release / LAYOUT).read_bytes(),
        people,
        site.chain.thresholds.by_step(),
    )


def belongs_to(policy: Policy, verified: VerifiedRelease, *, debug: bool) -> bool:
    """Tell whether a policy is the one that was written with a release, and no laxer.

    A run that was killed between the release and its policy has left the policy before: it may
    allow debug images, or older releases, although the new release passes it.

    Args:
        policy: What stands beside the release.
        verified: The release.
        debug: Whether its image is a debug image.
    """
    return (
        policy.platform_name is PlatformName.QEMU_SWTPM
        and policy.signer.identity == LOCAL_IDENTITY
        and policy.debug_images is debug
        and policy.release.minimum_sequence == verified.sequence
    )
