"""A release as it goes to Azure: verified as a client would, before a byte of it is uploaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from blindllama import Policy, verify_release
from blindllama.measurements import PlatformName
from deploy.azure.errors import AzureError, Reason
from deploy.azure.upload import Image
from engine.target import RELEASE_MANIFEST, Gpu, check_target
from supply_chain.digest import Sha256
from supply_chain.release import EVIDENCE, read_release, verify_folder

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from blindllama import VerifiedRelease

OS_DISK, APP_DISK = "os.img", "app.img"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployable:
    """A release that a policy accepts, and whose files are the signed ones."""

    system: Image
    app: Image
    policy: Policy
    evidence: Path
    """What a client verifies it by."""
    verified: VerifiedRelease


def read_deployable(
    folder: Path,
    policy_path: Path,
    *,
    now: datetime,
    platform: PlatformName = PlatformName.AZURE_TRUSTED_LAUNCH,
    gpu: Gpu | None = None,
) -> Deployable:
    """The release in a folder.

    Args:
        folder: The release's folder.
        policy_path: The policy of a client that will ask the machine.
        now: The time.
        platform: Where that policy must say that the machine is.
        gpu: What the machine has for an engine that needs one.

    Raises:
        VerificationError: The policy is none, or does not accept the release.
        BuildError: The folder is incomplete, or its files are not the signed ones.
        TargetError: The machine cannot serve its engine.
    """
    if not policy_path.exists():
        raise AzureError(
            Reason.RELEASE,
            f"{policy_path}: expected a policy for {platform}, got no such file; "
            f"./do invoke deploy.azure.policy --out {policy_path} makes it of dist/policy.toml",
        )
    policy = Policy.from_file(policy_path)
    if policy.platform_name is not platform:
        raise AzureError(
            Reason.RELEASE,
            f"{policy_path}: expected a policy for {platform}, got one for {policy.platform}; "
            "./do invoke deploy.azure.policy makes one of it",
        )
    evidence = folder / EVIDENCE
    verified = verify_release(read_release(folder).evidence, policy, now)
    verify_folder(folder, verified)
    check_target(folder / RELEASE_MANIFEST, gpu)

    def image(name: str) -> Image:
        return Image(path=folder / name, sha256=Sha256.from_hex(verified.files[name]))

    return Deployable(
        system=image(OS_DISK),
        app=image(APP_DISK),
        policy=policy,
        evidence=evidence,
        verified=verified,
    )
