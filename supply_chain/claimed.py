"""What the evidence of a release claims, read without believing it.

Whoever rebuilds a release needs to know what to rebuild, and finds out by doing so whether it is
true; whoever adds a rebuild to a release leaves the verdict to the client. Nothing here is
verified: `blindllama.verify_release` does that.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from supply_chain.digest import Sha256, sha256_bytes
from supply_chain.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Mapping

_STEP_INPUTS = "inputs/"


class ClaimError(BuildError):
    """The evidence of a release cannot be read, or contradicts itself."""

    code: ClassVar[str] = "build.claim"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedStep:
    """A step as its links and its provenance describe it."""

    materials: Mapping[str, Sha256]
    products: Mapping[str, Sha256]
    parameters: Mapping[str, Any]
    """What a user chose, from the provenance."""
    invocation: str
    """The run: the step's name and the digest of all that decides its products."""

    @property
    def inputs(self) -> dict[str, Sha256]:
        """The locked inputs among the materials, by their names in the lock."""
        return {
            name.removeprefix(_STEP_INPUTS): digest
            for name, digest in self.materials.items()
            if name.startswith(_STEP_INPUTS)
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A release as its evidence describes it."""

    name: str
    sequence: int
    layout: Sha256
    """Digest of the layout's payload."""
    functionaries: Mapping[str, frozenset[str]]
    """Key identifiers by step: whose links the layout counts."""
    thresholds: Mapping[str, int]
    """How many functionaries the layout wants for each step."""
    steps: Mapping[str, ClaimedStep]
    files: Mapping[str, Sha256]
    """The files of the release's folder, by path."""
    document: Mapping[str, Any]
    """The whole evidence."""

    @property
    def products(self) -> dict[str, Sha256]:
        """All products of all steps."""
        return {k: digest for step in self.steps.values() for k, digest in step.products.items()}


def read_claim(evidence: bytes) -> Claim:
    """Return what an `evidence.json` claims.

    Raises:
        ClaimError: it is not the evidence of a release.
    """
    try:
        document = json.loads(evidence)
        layout_payload = base64.b64decode(document["layout"]["payload"])
        layout = json.loads(layout_payload)
        index = statement_of(document["index"])
        release = index["predicate"]
        links = [payload_of(link) for link in document["links"]]
        built = [statement_of(bundle) for bundle in document["provenance"]]
        return Claim(
            name=str(release["name"]),
            sequence=int(release["sequence"]),
            layout=sha256_bytes(layout_payload),
            functionaries={s["name"]: frozenset(s["pubkeys"]) for s in layout["steps"]},
            thresholds={s["name"]: int(s["threshold"]) for s in layout["steps"]},
            steps={s["name"]: _step(s["name"], links, built) for s in layout["steps"]},
            files=_digests({s["name"]: s["digest"] for s in index["subject"]}),
            document=document,
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise ClaimError(f"not the evidence of a release: {exc!r}") from exc


def payload_of(envelope: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document inside a DSSE envelope, as it claims to be."""
    document: dict[str, Any] = json.loads(base64.b64decode(envelope["payload"]))
    return document


def statement_of(bundle: Mapping[str, Any]) -> dict[str, Any]:
    """Return the statement inside a Sigstore bundle, as it claims to be."""
    return payload_of(bundle["dsseEnvelope"])


def _step(name: str, links: list[dict[str, Any]], built: list[dict[str, Any]]) -> ClaimedStep:
    told = [link for link in links if link["name"] == name]
    first = told[0] if told else {}
    if any(
        link["products"] != first["products"] or link["materials"] != first["materials"]
        for link in told
    ):
        raise ClaimError(f"the links of step {name} contradict each other: nothing to compare with")
    if not told:
        raise ClaimError(f"there is no link of step {name}: nothing to compare with")
    made = [p for p in map(_provenance, built) if p.step == name]
    return ClaimedStep(
        materials=_digests(first["materials"]),
        products=_digests(first["products"]),
        parameters=made[0].parameters if made else {},
        invocation=made[0].invocation if made else "",
    )


class _Provenance(NamedTuple):
    step: str
    parameters: dict[str, Any]
    invocation: str


def _provenance(statement: Mapping[str, Any]) -> _Provenance:
    predicate = statement["predicate"]
    chosen = predicate["buildDefinition"]["externalParameters"]
    run = predicate["runDetails"]["metadata"]
    return _Provenance(chosen["step"], dict(chosen["spec"]), str(run["invocationId"]))


def _digests(found: Mapping[str, Mapping[str, str]]) -> dict[str, Sha256]:
    return {name: Sha256.from_hex(digest["sha256"]) for name, digest in sorted(found.items())}
