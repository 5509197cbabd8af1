"""Steps that `chain.toml` wants to be made by several: rebuilt here as far as that helps.

The local rebuilder is one of them where `chain.toml` names it. Others work on other machines, so a
release may have to wait for them; it is not signed anew while it does.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from reproduce.confirm import confirm, read_rebuildable, require_equal
from reproduce.rebuild import rebuilt
from supply_chain.attest.rebuild import LOCAL_REBUILDER
from supply_chain.attest.trust import signs_here
from supply_chain.claimed import payload_of
from supply_chain.errors import BuildError
from supply_chain.rebuilds import add_rebuild, write_rebuild

if TYPE_CHECKING:
    from collections.abc import Mapping

    from building_site import Site
    from supply_chain.claimed import Claim
    from supply_chain.step import StepResult


def rebuild_here(site: Site, release: Path) -> None:
    """Rebuild the steps that two must have made, as the local rebuilder, and add that to a release.

    Raises:
        BuildError: the rebuild failed, or made something else.
    """
    wanted = [name for name, count in site.chain.thresholds.by_step().items() if count > 1]
    local = signs_here(site.sigstore) and LOCAL_REBUILDER in {
        who.identity for who in site.chain.rebuilders
    }
    if not wanted or not local:
        # Elsewhere it would be one identity that signs twice.
        return
    claim, folder = read_rebuildable(release)
    with rebuilt(site, claim, release=folder, only=wanted) as made:
        require_equal(site, claim, made, release=folder)
        signed = confirm(site, claim, made)
    with tempfile.TemporaryDirectory(prefix="rebuild-") as name:
        write_rebuild(Path(name) / "signed", signed)
        add_rebuild(Path(name) / "signed", release, signed.trusted_root)


def require_none_awaited(site: Site, results: Mapping[str, StepResult]) -> None:
    """Refuse to go on while the release of these results waits for rebuilders elsewhere.

    Raises:
        BuildError: it does; the text says what to run, and where.
    """
    release = site.workspace.release
    try:
        claim, _ = read_rebuildable(release)
    except BuildError:
        return
    made = {name: digest for result in results.values() for name, digest in result.products.items()}
    missing = awaited(claim)
    wanted = site.chain.thresholds.by_step()
    # Of other products, or under other thresholds, it is not what is wanted now: it is signed anew.
    same = claim.products == made and claim.thresholds.items() >= wanted.items()
    if not same or not missing:
        return
    steps = " ".join(f"--only {name}" for name in missing)
    raise BuildError(
        f"{claim.name} {claim.sequence} is signed and waits for rebuilders of {', '.join(missing)}; "
        f"on the machine of each of them run\n"
        f"  ./do invoke reproduce {steps} RELEASE\n"
        f"with a copy of {release}, and here, for each folder that comes out of it,\n"
        f"  ./do invoke chain.add REBUILD {release}\n"
        f"then run this again; or remove {release}, and a new one is signed"
    )


def awaited(claim: Claim) -> list[str]:
    """Return the steps that fewer functionaries have signed a link of than the layout wants."""
    signers: dict[str, set[str]] = {name: set() for name in claim.steps}
    for link in claim.document["links"]:
        signers[payload_of(link)["name"]].update(entry["keyid"] for entry in link["signatures"])
    return [name for name, count in claim.thresholds.items() if len(signers[name]) < count]
