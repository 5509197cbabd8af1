"""SLSA provenance: how, from what and by whom the products of one step were made.

Source: SLSA v1.2, Build provenance (predicate type https://slsa.dev/provenance/v1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field

from supply_chain.attest.statement import Resource, Statement, Timestamp, Wire, resources

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from supply_chain.certificate import Source
    from supply_chain.digest import Sha256

PROVENANCE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "https://blindllama.dev/buildtypes/pipeline/v1"
LOCAL_BUILDER = "https://blindllama.dev/builders/local/v1"
"""A run on somebody's machine: build level 1, whatever is signed."""
LAYOUT = "layout"
"""The name under which the layout is a dependency of each step."""


class Commit(Wire):
    """A digest set that names a commit."""

    git_commit: Annotated[str, Field(alias="gitCommit", pattern=r"^[0-9a-f]{40,64}$")]


class SourceResource(Wire):
    """The repository at a commit, as a dependency."""

    name: Literal["source"] = "source"
    uri: str
    digest: Commit

    @classmethod
    def of(cls, source: Source) -> Self:
        """The dependency on a source; verifiers compare it with the certificate."""
        return cls(
            uri=f"git+{source.repository}@{source.ref}", digest=Commit(git_commit=source.commit)
        )


class ExternalParameters(Wire):
    """What the caller chose. Verifiers refuse parameters that they do not know."""

    step: str
    spec: dict[str, Any]


class BuildDefinition(Wire):
    """The inputs of a build."""

    build_type: Annotated[str, Field(alias="buildType")] = BUILD_TYPE
    external_parameters: Annotated[ExternalParameters, Field(alias="externalParameters")]
    internal_parameters: Annotated[dict[str, Any], Field(alias="internalParameters")]
    resolved_dependencies: Annotated[
        tuple[Resource | SourceResource, ...], Field(alias="resolvedDependencies")
    ]


class Builder(Wire):
    """Who ran the build; the identifier alone determines the level that can be believed."""

    id: str


class BuildMetadata(Wire):
    """This one run."""

    invocation_id: Annotated[str, Field(alias="invocationId")]
    started_on: Annotated[Timestamp, Field(alias="startedOn")]
    finished_on: Annotated[Timestamp, Field(alias="finishedOn")]


class RunDetails(Wire):
    """The run, and what it left besides its products."""

    builder: Builder
    metadata: BuildMetadata
    byproducts: tuple[Resource, ...]


class ProvenancePredicate(Wire):
    """The predicate of a provenance statement."""

    build_definition: Annotated[BuildDefinition, Field(alias="buildDefinition")]
    run_details: Annotated[RunDetails, Field(alias="runDetails")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a step by a builder."""

    invocation_id: str
    started: datetime
    finished: datetime
    builder_id: str = LOCAL_BUILDER
    source: Source | None = None
    """What a CI job was started for; a run on somebody's machine names none."""


def provenance_statement(
    step: str,
    *,
    spec: Mapping[str, Any],
    materials: Mapping[str, Sha256],
    products: Mapping[str, Sha256],
    layout: Sha256,
    link: Sha256,
    run: Run,
) -> Statement:
    """The statement that one run of a step made the products from the materials.

    Args:
        step: The step's name in the layout.
        spec: What the user chose for the step.
        materials: What the step's link lists: locked inputs and products of earlier steps.
        products: What the step's link lists: the statement's subjects.
        layout: Digest of the layout's payload, the bytes inside its envelope.
        link: Digest of the link's payload, likewise; envelopes differ by their signatures.
        run: Who ran it, and when.
    """
    dependencies = (
        *resources(materials),
        *resources({LAYOUT: layout}),
        *(() if run.source is None else (SourceResource.of(run.source),)),
    )
    predicate = ProvenancePredicate(
        build_definition=BuildDefinition(
            external_parameters=ExternalParameters(step=step, spec=dict(spec)),
            internal_parameters=_internal(run.source),
            resolved_dependencies=dependencies,
        ),
        run_details=RunDetails(
            builder=Builder(id=run.builder_id),
            metadata=BuildMetadata(
                invocation_id=run.invocation_id, started_on=run.started, finished_on=run.finished
            ),
            byproducts=resources({f"{step}.link": link}),
        ),
    )
    return Statement(
        subject=resources(products),
        predicate_type=PROVENANCE_TYPE,
        predicate=predicate.model_dump(by_alias=True, mode="json"),
    )


def _internal(source: Source | None) -> dict[str, Any]:
    """What the builder says of itself, as GitHub's own attestations do; nothing else is said."""
    return {} if source is None else {"github": {"runner_environment": source.runner}}
