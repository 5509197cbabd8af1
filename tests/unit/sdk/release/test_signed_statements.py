"""Lies of who signs, in provenance, measurements and index: rows S1, S2 and S4 of ATTACKS.

Each is ONE change to an honest release, made before the signature, so every signature is genuine,
and has its own code.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from blindllama.errors import Code
from tests.simulators.release_attacks import (
    EVIL,
    OTHER,
    other_digest,
    predicate,
    refusal,
    subjects,
    wrong,
)
from tests.simulators.signed_release import Hooks, make_signed_release

SIGNED: dict[str, tuple[Code, int, Hooks]] = {
    "S1 the predicate lies about the builder": (
        Code.PROVENANCE_BUILDER,
        2,
        Hooks(provenance=predicate(wrong("runDetails.builder.id", OTHER), only="os-image")),
    ),
    "S1 another identity of the same instance signs provenance": (
        Code.BUNDLE_IDENTITY,
        2,
        Hooks(identities={"provenance:engine": OTHER}),
    ),
    "S1 another identity signs the measurements": (
        Code.BUNDLE_IDENTITY,
        2,
        Hooks(identities={"measurements": OTHER}),
    ),
    "S1 another identity signs the index": (
        Code.BUNDLE_IDENTITY,
        2,
        Hooks(identities={"index": OTHER}),
    ),
    "S1 a source is claimed where the certificate names none": (
        Code.PROVENANCE_SOURCE,
        2,
        Hooks(
            provenance=predicate(
                lambda p: p["buildDefinition"]["resolvedDependencies"].append(
                    {"name": "source", "uri": "git+https://x@y", "digest": {"gitCommit": "a" * 40}}
                )
            )
        ),
    ),
    "S2 provenance of another file": (
        Code.CHAIN_PROVENANCE_SUBJECTS,
        3,
        Hooks(
            provenance=lambda s: (
                other_digest("os-image/os.img")(s)
                if s.subject[0].name.startswith("os-image")
                else s
            )
        ),
    ),
    "S2 measurements of another disk": (
        Code.CHAIN_MEASUREMENTS_SUBJECTS,
        3,
        Hooks(measurements=other_digest("os-image/os.img")),
    ),
    "S2 values that no step has measured": (
        Code.CHAIN_MEASUREMENTS_PRODUCT,
        3,
        Hooks(measurements=predicate(wrong("platforms.qemu-swtpm.pcrs.15", EVIL.hex))),
    ),
    "S2 a debug image called production": (
        Code.CHAIN_MEASUREMENTS_PRODUCT,
        3,
        Hooks(
            measurements=predicate(wrong("debug", True)),
        ),
    ),
    "S2 measurements of one disk only": (
        Code.CHAIN_MEASUREMENTS_SUBJECTS,
        3,
        Hooks(measurements=subjects(lambda found: found[:1])),
    ),
    "S2 a subject twice": (
        Code.STATEMENT_SUBJECT,
        2,
        Hooks(measurements=subjects(lambda found: [*found, found[0]])),
    ),
    "S2 an index of other files": (
        Code.CHAIN_INDEX_FILES,
        3,
        Hooks(index=other_digest("app.img")),
    ),
    "S2 an index without a disk": (
        Code.CHAIN_INDEX_FILES,
        3,
        Hooks(index=subjects(lambda found: [s for s in found if s.name != "os.img"])),
    ),
    "S2 another predicate type": (
        Code.STATEMENT_PREDICATE_TYPE,
        2,
        Hooks(
            measurements=lambda s: s.model_copy(
                update={"predicate_type": "https://blindllama.dev/attestation/measurements/v2"}
            )
        ),
    ),
    "S2 an unknown field in the measurements": (
        Code.FORMAT_SCHEMA,
        2,
        Hooks(measurements=predicate(wrong("extra", 1))),
    ),
    "S2 an unknown field in the provenance": (
        Code.FORMAT_SCHEMA,
        2,
        Hooks(provenance=predicate(wrong("runDetails.extra", 1))),
    ),
    "S2 an unknown field in the index": (
        Code.FORMAT_SCHEMA,
        2,
        Hooks(index=predicate(wrong("extra", 1))),
    ),
    "S2 a time that is none": (
        Code.FORMAT_SCHEMA,
        2,
        Hooks(index=predicate(wrong("expires", "2026-13-01T00:00:00Z"))),
    ),
    "S2 unknown external parameters": (
        Code.PROVENANCE_PARAMETERS,
        2,
        Hooks(provenance=predicate(wrong("buildDefinition.externalParameters.hook", "x"))),
    ),
    "S2 a step that is no name": (
        Code.PROVENANCE_PARAMETERS,
        2,
        Hooks(provenance=predicate(wrong("buildDefinition.externalParameters.step", 1))),
    ),
    "S2 internal parameters": (
        Code.FORMAT_SCHEMA,
        2,
        Hooks(provenance=predicate(wrong("buildDefinition.internalParameters", {"debug": True}))),
    ),
    "S2 another build type": (
        Code.PROVENANCE_BUILD_TYPE,
        2,
        Hooks(provenance=predicate(wrong("buildDefinition.buildType", "https://other/v1"))),
    ),
    "S2 provenance twice for one step": (
        Code.PROVENANCE_STEP,
        3,
        Hooks(
            provenance=predicate(
                wrong("buildDefinition.externalParameters.step", "engine"), only="measure"
            )
        ),
    ),
    "S2 provenance that leaves out what was read": (
        Code.CHAIN_PROVENANCE_MATERIALS,
        3,
        Hooks(
            provenance=predicate(
                lambda p: p["buildDefinition"]["resolvedDependencies"].pop(0), only="engine"
            )
        ),
    ),
    "S2 provenance that names one dependency twice": (
        Code.PROVENANCE_PARAMETERS,
        2,
        Hooks(
            provenance=predicate(
                lambda p: p["buildDefinition"]["resolvedDependencies"].append(
                    {
                        "name": p["buildDefinition"]["resolvedDependencies"][0]["name"],
                        "digest": {"sha256": EVIL.hex},
                    }
                )
            )
        ),
    ),
    "S2 provenance under another layout": (
        Code.CHAIN_PROVENANCE_LAYOUT,
        3,
        Hooks(
            provenance=predicate(
                lambda p: [
                    d["digest"].update(sha256=EVIL.hex)
                    for d in p["buildDefinition"]["resolvedDependencies"]
                    if d["name"] == "layout"
                ]
            )
        ),
    ),
    "S2 provenance of another link": (
        Code.CHAIN_PROVENANCE_LINKS,
        3,
        Hooks(
            provenance=predicate(
                lambda p: p["runDetails"]["byproducts"][0]["digest"].update(sha256=EVIL.hex)
            )
        ),
    ),
    "S2 measurements under another layout": (
        Code.CHAIN_MEASUREMENTS_LAYOUT,
        3,
        Hooks(measurements=predicate(wrong("layout.sha256", EVIL.hex))),
    ),
    "S2 measurements with other provenance": (
        Code.CHAIN_MEASUREMENTS_PROVENANCE,
        3,
        Hooks(measurements=predicate(wrong("provenance.engine.sha256", EVIL.hex))),
    ),
    "S4 measurements of another sequence number": (
        Code.RELEASE_SEQUENCE,
        4,
        Hooks(measurements=predicate(wrong("sequence", 7))),
    ),
    "S4 another product's release": (
        Code.RELEASE_NAME,
        4,
        Hooks(index=predicate(wrong("name", "another"))),
    ),
}


@pytest.mark.parametrize("attack", SIGNED)
def test_signed_lies_are_refused(state: Path, attack: str) -> None:
    code, step, hooks = SIGNED[attack]
    error = refusal(make_signed_release(state, hooks=hooks))
    assert (error.code, error.step) == (code, step), str(error)
