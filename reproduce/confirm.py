"""From a rebuild that is equal to the rebuilder's signatures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reproduce.differences import FOLDER, REPORT, keep_differences
from reproduce.rebuild import Rebuild, differing_products
from supply_chain.attest.rebuild import (
    LOCAL_REBUILDER,
    RebuiltRelease,
    SignedRebuild,
    rebuild_statement,
    sign_rebuild,
)
from supply_chain.claimed import read_claim
from supply_chain.errors import BuildError, NotReproducibleError
from supply_chain.release import read_release

if TYPE_CHECKING:
    from pathlib import Path

    from building_site import Site
    from supply_chain.claimed import Claim

REBUILD = "rebuild"
"""The folder in `dist` that a rebuilder hands on."""


def read_rebuildable(path: Path) -> tuple[Claim, Path | None]:
    """Return what a release claims, from its folder or its evidence file; and the folder, if any.

    Raises:
        BuildError: it is neither.
    """
    if path.is_dir():
        return read_claim(read_release(path).evidence), path
    try:
        return read_claim(path.read_bytes()), None
    except OSError as exc:
        raise BuildError(
            f"{path}: {exc.strerror}; expected a release folder, or the evidence.json of one"
        ) from exc


def require_equal(site: Site, claim: Claim, rebuild: Rebuild, *, release: Path | None) -> None:
    """Return when the rebuild made, bit for bit, what the release states.

    Raises:
        NotReproducibleError: with the first difference of each product that differs.
    """
    names = differing_products(rebuild, claim)
    if not names:
        return
    lines = keep_differences(site, claim, rebuild, names, release=release)
    kept = site.workspace.dist / FOLDER
    raise NotReproducibleError(
        "\n".join(
            [
                f"{claim.name} {claim.sequence}, rebuilt, is not what was released:",
                *lines,
                f"nothing was signed; {kept / REPORT} says this again, the rebuilt files are beside it",
            ]
        )
    )


def confirm(site: Site, claim: Claim, rebuild: Rebuild) -> SignedRebuild:
    """Sign that the release can be built again: a link for each step, and a statement.

    Raises:
        SigningError: Sigstore refuses or is out of reach.
    """
    statement = rebuild_statement(
        rebuild.steps,
        release=RebuiltRelease(name=claim.name, sequence=claim.sequence, layout=claim.layout),
        environment=rebuild.environment,
        started=rebuild.started,
        finished=rebuild.finished,
    )
    with (
        site.progress.step("sign the rebuild"),
        site.signer(LOCAL_REBUILDER) as rebuilder,
    ):
        return sign_rebuild(rebuild.steps, statement=statement, signer=rebuilder)
