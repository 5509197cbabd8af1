"""The S rows of ATTACKS: each is ONE change to an honest release, and has its own code.

The changes of `SIGNED` are made before the signature, so every signature in them is genuine; those
of `FORGED` are made to the evidence afterwards; those of `POLICY` are a caller's other trust.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from blindllama.errors import Code, VerificationError
from blindllama.policy import Policy
from blindllama.release import verify_release
from blindllama.report import Report
from supply_chain.attest.layout import owner_key
from supply_chain.attest.statement import Digest, Statement
from supply_chain.digest import Sha256, sha256_bytes
from tests.simulators.signed_release import (
    PLATFORMS,
    PRODUCTS,
    Hooks,
    LinkContent,
    SignedRelease,
    make_signed_release,
    platform,
)

OTHER = "https://blindllama.dev/builders/another"
EVIL = sha256_bytes(b"evil")
PRODUCTS_OF_ENGINE = {n: d for n, d in PRODUCTS.items() if n.startswith("engine/")}

Json = dict[str, Any]


def refusal(
    release: SignedRelease,
    policy: Policy | None = None,
    *,
    now: datetime | None = None,
    known_sequence: int | None = None,
) -> VerificationError:
    report = Report()
    with pytest.raises(VerificationError) as caught:
        verify_release(
            release.evidence,
            policy or release.policy,
            now or release.now,
            known_sequence=known_sequence,
            report=report,
        )
    error = caught.value
    assert error.report is report
    assert report.failure is not None
    assert report.failure.step == error.step
    assert report.failure.detail["code"] == error.code
    return error


def predicate(
    change: Callable[[Json], object], *, only: str | None = None
) -> Callable[..., Statement]:
    """A hook that changes a copy of the predicate, of every step or of one."""

    def hook(statement: Statement) -> Statement:
        copied: Json = json.loads(json.dumps(statement.predicate))
        step = copied.get("buildDefinition", {}).get("externalParameters", {}).get("step")
        if only is None or step == only:
            change(copied)
        return statement.model_copy(update={"predicate": copied})

    return hook


def subjects(change: Callable[[list[Any]], list[Any]]) -> Callable[[Statement], Statement]:
    def hook(statement: Statement) -> Statement:
        return statement.model_copy(update={"subject": tuple(change(list(statement.subject)))})

    return hook


def other_digest(of: str) -> Callable[[Statement], Statement]:
    """A hook that gives one subject another digest."""
    digest = Digest(sha256=EVIL.hex)
    return subjects(
        lambda found: [
            s.model_copy(update={"digest": digest}) if s.name == of else s for s in found
        ]
    )


def products(step: str, made: Mapping[str, Sha256]) -> Callable[[LinkContent], LinkContent]:
    return lambda content: replace(content, products=made) if content.step == step else content


def material(step: str, name: str) -> Callable[[LinkContent], LinkContent]:
    """A hook that adds one material to a step's link, or gives it another digest."""
    return lambda content: (
        replace(content, materials={**content.materials, name: EVIL})
        if content.step == step
        else content
    )


def wrong(place: str, value: object) -> Callable[[Json], None]:
    *way, last = place.split(".")

    def change(document: Json) -> None:
        for key in way:
            document = document[key]
        document[last] = value

    return change


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
    "S5 a link of another identity": (
        Code.BUNDLE_IDENTITY,
        3,
        Hooks(identities={"link:os-image": OTHER}),
    ),
    "S5 an input that is an earlier product in disguise": (
        Code.LINK_ARTIFACT_RULE,
        3,
        Hooks(link=material("os-image", "engine/model.gguf")),
    ),
    "S5 a material that no rule covers": (
        Code.LINK_ARTIFACT_RULE,
        3,
        Hooks(link=material("measure", "somewhere/else")),
    ),
    "S5 a product that no rule covers": (
        Code.LINK_ARTIFACT_RULE,
        3,
        Hooks(link=products("engine", PRODUCTS_OF_ENGINE | {"engine/extra": EVIL})),
    ),
    "S5 a step that used other bytes than the last one made": (
        Code.LINK_ARTIFACT_RULE,
        3,
        Hooks(link=material("app-disk", "engine/model.gguf")),
    ),
    "S5 a required product is missing": (
        Code.LINK_ARTIFACT_RULE,
        3,
        Hooks(link=products("engine", {"engine/model.gguf": EVIL})),
    ),
    "S5 a layout without a step": (
        Code.LAYOUT_STEPS,
        3,
        Hooks(steps=lambda steps: [step for step in steps if step.name != "measure"]),
    ),
    "S5 a layout in another order": (
        Code.LAYOUT_STEPS,
        3,
        Hooks(steps=lambda steps: [steps[2], *steps[:2], steps[3]]),
    ),
}


@pytest.mark.parametrize("attack", SIGNED)
def test_signed_lies_are_refused(state: Path, attack: str) -> None:
    code, step, hooks = SIGNED[attack]
    error = refusal(make_signed_release(state, hooks=hooks))
    assert (error.code, error.step) == (code, step), str(error)


def test_s5_a_layout_of_an_unknown_owner(state: Path, tmp_path: Path) -> None:
    hooks = Hooks(layout_owner=lambda _: owner_key(tmp_path))
    assert refusal(make_signed_release(state, hooks=hooks)).code is Code.LAYOUT_UNKNOWN_OWNER


def flip(text: str) -> str:
    data = bytearray(base64.b64decode(text))
    data[len(data) // 2] ^= 1
    return base64.b64encode(data).decode()


def flipped(place: str) -> Callable[[Json], None]:
    """Flip one bit of the base64 text at a place; list indices are numbers."""
    *way, last = (int(key) if key.isdigit() else key for key in place.split("/"))

    def change(document: Json) -> None:
        part: Any = document
        for key in way:
            part = part[key]
        part[last] = flip(part[last])

    return change


def swapped(one: str, other: str) -> Callable[[Json], None]:
    def change(document: Json) -> None:
        document[one], document[other] = document[other], document[one]

    return change


def no_promise(document: Json) -> None:
    entry = document["index"]["verificationMaterial"]["tlogEntries"][0]
    del entry["inclusionPromise"], entry["integratedTime"]


def no_promise_in_snake_case(document: Json) -> None:
    """The library also reads its own spelling of the keys: that must not hide a promise."""
    entry = document["index"]["verificationMaterial"]["tlogEntries"][0]
    entry["inclusion_promise"] = entry.pop("inclusionPromise")
    stamps = document["index"]["verificationMaterial"]["timestampVerificationData"]
    stamps["rfc3161Timestamps"] = []


STAMPS = "verificationMaterial/timestampVerificationData/rfc3161Timestamps"

FORGED: dict[str, tuple[Code, int, Callable[[Json], object]]] = {
    "S2 statements exchanged": (
        Code.STATEMENT_PREDICATE_TYPE,
        2,
        swapped("index", "measurements"),
    ),
    "S2 a flipped bit in a statement": (
        Code.BUNDLE_SIGNATURE,
        2,
        flipped("measurements/dsseEnvelope/payload"),
    ),
    "S2 a flipped bit in a signature": (
        Code.BUNDLE_SIGNATURE,
        2,
        flipped("measurements/dsseEnvelope/signatures/0/sig"),
    ),
    "S2 another payload type": (
        Code.BUNDLE_SIGNATURE,
        2,
        lambda e: e["index"]["dsseEnvelope"].update(payloadType="application/json"),
    ),
    "S2 no stamp": (
        Code.BUNDLE_NO_TIMESTAMP,
        2,
        lambda e: e["index"]["verificationMaterial"].pop("timestampVerificationData"),
    ),
    "S2 a stamp that does not verify": (
        Code.BUNDLE_NO_TIMESTAMP,
        2,
        lambda e: e["index"]["verificationMaterial"].update(
            timestampVerificationData=e["measurements"]["verificationMaterial"][
                "timestampVerificationData"
            ]
        ),
    ),
    "S2 no promise of the log": (Code.BUNDLE_NO_INCLUSION_PROMISE, 2, no_promise),
    "S2 no stamp, the promise in another spelling": (
        Code.BUNDLE_NO_TIMESTAMP,
        2,
        no_promise_in_snake_case,
    ),
    "S2 an unknown field in a bundle": (
        Code.BUNDLE_MALFORMED,
        2,
        lambda e: e["index"].update(extra=1),
    ),
    "S2 a bundle that is none": (Code.BUNDLE_MALFORMED, 2, lambda e: e.update(index=[])),
    "S2 an unknown field in the evidence": (
        Code.FORMAT_SCHEMA,
        2,
        lambda e: e.update(extra=1),
    ),
    "S2 another version": (Code.FORMAT_SCHEMA, 2, lambda e: e.update(version=2)),
    "S2 a missing provenance": (Code.PROVENANCE_STEP, 3, lambda e: e["provenance"].pop()),
    "S5 a missing link": (Code.LINK_MISSING, 3, lambda e: e["links"].pop()),
    "S5 a link by nobody that the layout knows": (
        Code.LINK_UNKNOWN_FUNCTIONARY,
        3,
        lambda e: e["links"][0]["signatures"][0].update(keyid="00" * 32),
    ),
    "S5 a flipped bit in a link": (
        Code.LINK_MALFORMED,
        3,
        lambda e: e["links"][0].update(payload=base64.b64encode(b'{"_type":"link"}').decode()),
    ),
    "S5 a link with the signature of another": (
        Code.BUNDLE_SIGNATURE,
        3,
        lambda e: e["links"][0].update(signatures=e["links"][1]["signatures"]),
    ),
    "S5 a signature that its bundle does not hold": (
        Code.BUNDLE_SIGNATURE,
        3,
        flipped("links/0/signatures/0/sig"),
    ),
    "S5 a link with two signatures": (
        Code.LINK_SIGNATURE,
        3,
        lambda e: e["links"][0]["signatures"].append(e["links"][0]["signatures"][0]),
    ),
    "S5 a link without a bundle": (
        Code.BUNDLE_MALFORMED,
        3,
        lambda e: e["links"][0]["signatures"][0].pop("bundle"),
    ),
    "S5 a flipped bit in the layout": (
        Code.LAYOUT_SIGNATURE,
        3,
        flipped("layout/payload"),
    ),
    "S5 a flipped bit in the owner's signature": (
        Code.LAYOUT_SIGNATURE,
        3,
        flipped("layout/signatures/0/sig"),
    ),
    "S5 lax base64": (
        Code.FORMAT_ENCODING,
        3,
        lambda e: e["layout"].update(payload=e["layout"]["payload"] + "\n"),
    ),
    "S5 an envelope of another type": (
        Code.FORMAT_SCHEMA,
        3,
        lambda e: e["layout"].update(payloadType="application/json"),
    ),
    "S5 a layout that nobody signed": (
        Code.FORMAT_SCHEMA,
        3,
        lambda e: e["layout"].update(signatures=[]),
    ),
}


@pytest.mark.parametrize("attack", FORGED)
def test_changed_evidence_is_refused(honest: SignedRelease, attack: str) -> None:
    code, step, change = FORGED[attack]
    document: Json = json.loads(honest.evidence)
    change(document)
    error = refusal(replace(honest, evidence=json.dumps(document).encode()))
    assert (error.code, error.step) == (code, step), str(error)


@pytest.mark.parametrize(
    ("evidence", "code"),
    [
        (b"", Code.FORMAT_NOT_JSON),
        (b"[]", Code.FORMAT_SCHEMA),
        (b'{"version":1,"version":1}', Code.FORMAT_DUPLICATE_KEY),
        (b" " * ((8 << 20) + 1), Code.FORMAT_TOO_LARGE),
    ],
)
def test_evidence_that_is_none(honest: SignedRelease, evidence: bytes, code: Code) -> None:
    error = refusal(replace(honest, evidence=evidence))
    assert (error.code, error.step) == (code, 2)


def policy(release: SignedRelease, place: str, value: object) -> Policy:
    parts = release.policy.model_dump(exclude_none=True)
    wrong(place, value)(parts)
    return Policy(**parts)


class TestTrust:
    """S1, S2, S6: the trust is the caller's, and only the caller's."""

    def test_a_bundle_of_another_trust_root(self, honest: SignedRelease, tmp_path: Path) -> None:
        stranger = make_signed_release(tmp_path)
        root = stranger.policy.sigstore.trusted_root
        error = refusal(honest, policy(honest, "sigstore.trusted_root", root))
        assert (error.code, error.step) == (Code.BUNDLE_CERTIFICATE, 2)

    def test_another_issuer(self, honest: SignedRelease) -> None:
        error = refusal(honest, policy(honest, "signer.issuer", "https://issuer.example"))
        assert error.code is Code.BUNDLE_ISSUER

    def test_another_owner(self, honest: SignedRelease) -> None:
        owners = [owner.model_dump() for owner in honest.policy.layout.owners]
        more = ({"keyid": "ab" * 32, "scheme": "ed25519", "public": "cd" * 32},)
        error = refusal(honest, policy(honest, "layout.owners", (*owners, *more)))
        assert error.code is Code.LAYOUT_OWNER_MISSING

    def test_a_rebuilder_who_did_not_rebuild(self, honest: SignedRelease) -> None:
        rebuilders = {"threshold": 1, "identities": ({"issuer": "i", "identity": "somebody"},)}
        error = refusal(honest, policy(honest, "rebuilders", rebuilders))
        assert (error.code, error.step) == (Code.CHAIN_REBUILDERS, 3)

    def test_a_rebuilder_who_did(self, honest: SignedRelease) -> None:
        signer = honest.policy.signer
        rebuilders = {
            "threshold": 1,
            "identities": ({"issuer": signer.issuer, "identity": signer.identity},),
        }
        verify_release(honest.evidence, policy(honest, "rebuilders", rebuilders), honest.now)

    @pytest.mark.parametrize(
        "part", ["certificateAuthorities", "tlogs", "ctlogs", "timestampAuthorities"]
    )
    @pytest.mark.parametrize(
        "window",
        [
            {"start": "2020-01-01T00:00:00Z", "end": "2021-01-01T00:00:00Z"},
            {"start": "2090-01-01T00:00:00Z"},
        ],
        ids=["long past", "yet to come"],
    )
    def test_a_key_outside_its_window(self, honest: SignedRelease, part: str, window: Json) -> None:
        """sigstore-python accepts the first kind, except for time stamps."""
        root = json.loads(honest.policy.sigstore.trusted_root)
        for entry in root[part]:
            (entry["publicKey"] if part in {"tlogs", "ctlogs"} else entry)["validFor"] = window
        error = refusal(honest, policy(honest, "sigstore.trusted_root", json.dumps(root)))
        assert (error.code, error.step) == (Code.BUNDLE_OUTSIDE_VALIDITY, 2)

    @pytest.mark.parametrize(
        "window", [{"start": "yesterday"}, {"start": "2020-01-01"}, {"end": 1}]
    )
    def test_a_window_that_is_none(self, honest: SignedRelease, window: Json) -> None:
        root = json.loads(honest.policy.sigstore.trusted_root)
        root["tlogs"][0]["publicKey"]["validFor"] = window
        error = refusal(honest, policy(honest, "sigstore.trusted_root", json.dumps(root)))
        assert (error.code, error.step) == (Code.POLICY_TRUST_ROOT, 1)


class TestFreshness:
    """S4: rollback, freeze, and what was taken back."""

    def test_below_the_policys_minimum(self, honest: SignedRelease) -> None:
        error = refusal(honest, policy(honest, "release.minimum_sequence", 2))
        assert (error.code, error.step) == (Code.RELEASE_BELOW_MINIMUM, 4)

    def test_below_what_was_accepted_before(self, honest: SignedRelease) -> None:
        assert refusal(honest, known_sequence=2).code is Code.RELEASE_BELOW_MEMORY

    @pytest.mark.parametrize("known", [None, 0, 1])
    def test_not_below(self, honest: SignedRelease, known: int | None) -> None:
        verify_release(honest.evidence, honest.policy, honest.now, known_sequence=known)

    def test_expired(self, honest: SignedRelease) -> None:
        late = honest.now + timedelta(days=30)
        assert refusal(honest, now=late).code is Code.RELEASE_EXPIRED

    def test_too_old_although_it_never_expires(self, state: Path) -> None:
        frozen = make_signed_release(state, lifetime=timedelta(days=300))
        late = frozen.now + timedelta(days=30, seconds=1)
        assert refusal(frozen, now=late).code is Code.RELEASE_TOO_OLD

    def test_made_in_the_future(self, honest: SignedRelease) -> None:
        early = honest.now - timedelta(minutes=6)
        assert refusal(honest, now=early).code is Code.RELEASE_NOT_YET
        verify_release(honest.evidence, honest.policy, honest.now - timedelta(minutes=4))

    def test_the_layout_has_expired(self, state: Path) -> None:
        stale = make_signed_release(state, layout_lifetime=timedelta(days=2))
        error = refusal(stale, now=stale.now + timedelta(days=2))
        assert (error.code, error.step) == (Code.LAYOUT_EXPIRED, 3)

    def test_revoked_by_itself(self, state: Path) -> None:
        assert refusal(make_signed_release(state, revoked=(1,))).code is Code.RELEASE_REVOKED

    def test_revoked_by_the_caller(self, honest: SignedRelease) -> None:
        error = refusal(honest, policy(honest, "release.revoked", (1,)))
        assert error.code is Code.RELEASE_REVOKED

    def test_a_debug_image(self, state: Path) -> None:
        debug = make_signed_release(state, debug=True)
        error = refusal(debug)
        assert (error.code, error.step) == (Code.RELEASE_DEBUG, 4)
        accepting = policy(debug, "debug_images", value=True)
        assert verify_release(debug.evidence, accepting, debug.now).debug


class TestExpected:
    """Step 5: only what the measurements say, and enough of it."""

    def test_a_platform_that_was_not_measured(self, state: Path) -> None:
        release = make_signed_release(
            state, measurements={"azure-trusted-launch": PLATFORMS["azure-trusted-launch"]}
        )
        error = refusal(release)
        assert (error.code, error.step) == (Code.EXPECTED_PLATFORM, 5)

    @pytest.mark.parametrize("left_out", [0, 12, 15])
    def test_a_register_without_a_value(self, state: Path, left_out: int) -> None:
        pcrs = [p for p in (0, 1, 2, 3, 4, 5, 7, 9, 11, 12, 13, 15) if p != left_out]
        error = refusal(make_signed_release(state, measurements={"qemu-swtpm": platform(pcrs)}))
        assert (error.code, error.step) == (Code.EXPECTED_PCRS, 5)

    def test_a_platform_of_the_future_is_ignored(self, state: Path) -> None:
        platforms = {**PLATFORMS, "moon-base": PLATFORMS["qemu-swtpm"]}
        release = make_signed_release(state, measurements=platforms)
        verified = verify_release(release.evidence, release.policy, release.now)
        assert {name.value for name in verified.measurements} == PLATFORMS.keys()
