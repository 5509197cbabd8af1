"""What a rebuilder signs: the same links as the builder, and one statement about the release.

The links count where the layout names the rebuilder as a functionary; the statement counts where
a client's policy names them, whatever the layout says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from supply_chain.attest.chain import builder_of
from supply_chain.attest.layout import link_file_name, record_link
from supply_chain.attest.statement import Digest, Statement, Timestamp, Wire, resources

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from supply_chain.attest.signing import Signer
    from supply_chain.digest import Sha256

REBUILD_TYPE = "https://blindllama.dev/attestation/rebuild/v1"
LOCAL_REBUILDER = "https://blindllama.dev/rebuilders/local/v1"
"""Who a local rebuild signs as: never the builder, whose word it is to confirm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuiltStep:
    """A step that was carried out again, with the result that the release states."""

    name: str
    materials: Mapping[str, Sha256]
    products: Mapping[str, Sha256]


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuiltRelease:
    """The release whose steps were carried out again."""

    name: str
    sequence: int
    layout: Sha256
    """Digest of the layout's payload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRebuild:
    """Everything that a rebuilder signs about one rebuild."""

    links: Mapping[str, bytes]
    """Envelopes by the file name under which in-toto looks for them."""
    statement: bytes
    """Sigstore bundle (JSON)."""
    trusted_root: str
    """What verifies all of it (JSON)."""


class _Release(Wire):
    name: Annotated[str, Field(min_length=1)]
    sequence: Annotated[int, Field(ge=1)]


class RebuildPredicate(Wire):
    """Which steps of which release were carried out again, and what was different around them."""

    version: Literal[1] = 1
    release: _Release
    layout: Digest
    steps: Annotated[tuple[str, ...], Field(min_length=1)]
    environment: dict[str, str]
    started_on: Annotated[Timestamp, Field(alias="startedOn")]
    finished_on: Annotated[Timestamp, Field(alias="finishedOn")]


def rebuild_statement(
    steps: Sequence[RebuiltStep],
    *,
    release: RebuiltRelease,
    environment: Mapping[str, str],
    started: datetime,
    finished: datetime,
) -> Statement:
    """The statement that these steps gave these products again; its subjects are the products."""
    predicate = RebuildPredicate(
        release=_Release(name=release.name, sequence=release.sequence),
        layout=Digest.of(release.layout),
        steps=tuple(step.name for step in steps),
        environment=dict(environment),
        started_on=started,
        finished_on=finished,
    )
    products = {name: digest for step in steps for name, digest in step.products.items()}
    return Statement(
        subject=resources(products),
        predicate_type=REBUILD_TYPE,
        predicate=predicate.model_dump(by_alias=True, mode="json"),
    )


def sign_rebuild(
    steps: Sequence[RebuiltStep], *, statement: Statement, signer: Signer
) -> SignedRebuild:
    """Sign a link for each step, and the statement about all of them.

    Raises:
        SigningError: Sigstore refuses or is out of reach.
    """
    who = builder_of(signer)
    links = {
        link_file_name(step.name, who): record_link(
            step.name,
            materials=step.materials,
            products=step.products,
            byproducts={},
            functionary=who,
            signer=signer,
        ).envelope
        for step in steps
    }
    return SignedRebuild(
        links=links,
        statement=signer.sign_statement(statement),
        trusted_root=signer.authority.trusted_root_json,
    )
