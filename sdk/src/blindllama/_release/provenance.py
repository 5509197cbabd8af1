"""SLSA provenance: which builder made a step's products, from what, for which source.

A valid signature does not make a statement true (ATTACKS S1): the signer may speak for one builder
only, and on GitHub the certificate, which the CA filled in, must name the source that the
predicate claims.

Source: SLSA 1.2, Build track: Provenance v1, and "Verifying artifacts", steps 2 and 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from sigstore.verify.policy import OIDCSourceRepositoryDigest

from blindllama._release.bundle import certificate_ref, certificate_says
from blindllama._strict_json import parse_model
from blindllama.errors import Code, ProvenanceError
from blindllama.measurements import DigestSet, Sha256Hex

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from blindllama._release.statement import VerifiedStatement
    from blindllama.policy import SignerPolicy

__all__ = [
    "BUILD_TYPE",
    "LAYOUT",
    "PROVENANCE_TYPE",
    "SOURCE",
    "VerifiedProvenance",
    "verify_provenance",
]

PROVENANCE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "https://blindllama.dev/buildtypes/pipeline/v1"

LAYOUT = "layout"
"""Name of the dependency that is the layout."""
SOURCE = "source"
"""Name of the dependency that is the source repository, required of builds on GitHub."""

_STEP = 2
_PARAMETERS = frozenset({"step", "spec"})


_Text = Annotated[str, Field(min_length=1, max_length=2048)]


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _SourceDigest(_Wire):
    git_commit: Annotated[str, Field(alias="gitCommit", pattern=r"^[0-9a-f]{40,64}$")]


class _Dependency(_Wire):
    name: _Text
    digest: DigestSet | _SourceDigest
    uri: _Text | None = None


class _Github(_Wire):
    runner: Annotated[_Text, Field(alias="runner_environment")]


class _Internal(_Wire):
    """What the builder may say of itself: where it ran, and nothing else."""

    github: _Github | None = None


class _Definition(_Wire):
    build_type: Annotated[str, Field(alias="buildType")]
    external: Annotated[dict[str, JsonValue], Field(alias="externalParameters")]
    internal: Annotated[_Internal, Field(alias="internalParameters")] = _Internal(github=None)
    dependencies: Annotated[tuple[_Dependency, ...], Field(alias="resolvedDependencies")]


class _Builder(_Wire):
    id: _Text
    version: dict[str, str] = Field(default_factory=dict)


class _Metadata(_Wire):
    invocation_id: Annotated[str | None, Field(alias="invocationId")] = None
    started_on: Annotated[str | None, Field(alias="startedOn")] = None
    finished_on: Annotated[str | None, Field(alias="finishedOn")] = None


class _Byproduct(_Wire):
    name: _Text
    digest: DigestSet


class _Details(_Wire):
    builder: _Builder
    metadata: _Metadata = _Metadata()
    byproducts: tuple[_Byproduct, ...] = ()


class _Predicate(_Wire):
    definition: Annotated[_Definition, Field(alias="buildDefinition")]
    details: Annotated[_Details, Field(alias="runDetails")]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedProvenance:
    """What the accepted builder says about one step."""

    step: str
    products: Mapping[str, Sha256Hex]
    materials: Mapping[str, Sha256Hex]
    """Everything that the step read, without the layout and the source."""
    layout: Sha256Hex | None
    links: Mapping[str, Sha256Hex]
    """The byproducts: `<step>.link` to the digest of the signed link."""
    digest: Sha256Hex


def verify_provenance(statement: VerifiedStatement, signer: SignerPolicy) -> VerifiedProvenance:
    """Return what a provenance statement says, once builder and source are the signer's own.

    Raises:
        ProvenanceError: `provenance.*`.
        FormatError: `format.schema` when the predicate holds an unknown field or lacks one.
    """
    predicate = parse_model(statement.predicate, _Predicate, step=_STEP, what="provenance")
    definition = predicate.definition
    _equal("build type", Code.PROVENANCE_BUILD_TYPE, BUILD_TYPE, definition.build_type)
    _equal("builder", Code.PROVENANCE_BUILDER, signer.builder_id, predicate.details.builder.id)
    if definition.external.keys() != _PARAMETERS:
        raise ProvenanceError(
            "external parameters of a build",
            code=Code.PROVENANCE_PARAMETERS,
            step=_STEP,
            expected=sorted(_PARAMETERS),
            got=sorted(definition.external),
        )
    step = definition.external["step"]
    if not isinstance(step, str):
        raise ProvenanceError(
            "external parameter step of a build",
            code=Code.PROVENANCE_PARAMETERS,
            step=_STEP,
            expected="a step's name",
            got=step,
        )
    _check_source(definition.dependencies, statement, signer)
    _check_runner(definition.internal, signer)
    digests = _digests(definition.dependencies)
    return VerifiedProvenance(
        step=step,
        products=statement.subjects,
        layout=digests.pop(LAYOUT, None),
        materials=MappingProxyType(digests),
        links=MappingProxyType({b.name: b.digest.sha256 for b in predicate.details.byproducts}),
        digest=statement.digest,
    )


def _check_source(
    dependencies: Sequence[_Dependency], statement: VerifiedStatement, signer: SignerPolicy
) -> None:
    """Refuse a predicate whose source is not the one that the certificate names (S1, S3)."""
    sources = [
        (entry, entry.digest) for entry in dependencies if isinstance(entry.digest, _SourceDigest)
    ]
    if signer.github is None:
        if sources:
            raise ProvenanceError(
                "source of a build that is not on GitHub",
                code=Code.PROVENANCE_SOURCE,
                step=_STEP,
                expected="none",
                got=sources[0][0].uri or sources[0][0].name,
            )
        return
    # The certificate's ref, which the CA filled in, is one that the policy accepts.
    expected = f"git+{signer.github.repository}@{certificate_ref(statement.certificate)}"
    got = [entry.uri for entry, _ in sources]
    if got != [expected] or sources[0][0].name != SOURCE:
        raise ProvenanceError(
            "source of a build",
            code=Code.PROVENANCE_SOURCE,
            step=_STEP,
            expected=[expected],
            got=got,
        )
    certificate_says(
        statement.certificate,
        OIDCSourceRepositoryDigest(sources[0][1].git_commit),
        code=Code.PROVENANCE_SOURCE,
    )


def _check_runner(internal: _Internal, signer: SignerPolicy) -> None:
    """Refuse a predicate that names another runner than the certificate does."""
    said = internal.github and internal.github.runner
    demanded = signer.github and signer.github.runner
    if said is not None and said != demanded:
        raise ProvenanceError(
            "runner of a build",
            code=Code.PROVENANCE_RUNNER,
            step=_STEP,
            expected=demanded or "none, outside of GitHub",
            got=said,
        )


def _digests(dependencies: Sequence[_Dependency]) -> dict[str, Sha256Hex]:
    digests: dict[str, Sha256Hex] = {}
    for entry in dependencies:
        if entry.name in digests:
            raise ProvenanceError(
                "names of a build's dependencies",
                code=Code.PROVENANCE_PARAMETERS,
                step=_STEP,
                expected="each name once",
                got=entry.name,
            )
        if isinstance(entry.digest, DigestSet):
            digests[entry.name] = entry.digest.sha256
    return digests


def _equal(what: str, code: Code, expected: str, got: str) -> None:
    if got != expected:
        raise ProvenanceError(what, code=code, step=_STEP, expected=expected, got=got)
