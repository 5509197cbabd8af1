"""A genuine release that was changed, or that is seen by another caller: rows S of ATTACKS."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from blindllama.errors import Code
from tests.conformance.corpus import HOME, read_given
from tests.conformance.mutation import Change, Document, Mutation, slug, text_of
from tests.unit.sdk.release.test_forged_evidence import FORGED

PARTS = ("certificateAuthorities", "tlogs", "ctlogs", "timestampAuthorities")
LONG_PAST = {"start": "2020-01-01T00:00:00Z", "end": "2021-01-01T00:00:00Z"}
YET_TO_COME = {"start": "2090-01-01T00:00:00Z"}
SOMEBODY = "https://somebody.example"


def release_mutations() -> tuple[Mutation, ...]:
    """All of them."""
    return (*_changed(), *_other_callers(), *_other_times(), *_windows())


def _changed() -> Iterator[Mutation]:
    for title, (code, step, change) in FORGED.items():
        row, _, name = title.partition(" ")
        yield _mutation(slug(name), row, code, step, change=_in_place(change))
    yield _mutation(
        "duplicate-key",
        "S2",
        Code.FORMAT_DUPLICATE_KEY,
        2,
        change=text_of(lambda text: '{"version":1,' + text[1:]),
    )
    yield _mutation(
        "over-the-limit",
        "T4",
        Code.FORMAT_TOO_LARGE,
        2,
        change=text_of(lambda text: text + " " * (8 << 20)),
    )


def _other_callers() -> Iterator[Mutation]:
    stranger = json.loads((HOME / "recorded" / "stranger.json").read_bytes())
    owner = {"keyid": "ab" * 32, "scheme": "ed25519", "public": "cd" * 32}
    rebuilder = {"issuer": SOMEBODY, "identity": SOMEBODY}
    owners = read_given("release")["policy"]["layout"]["owners"]
    for name, row, code, step, given in (
        (
            "another-trust-root",
            "S2",
            Code.BUNDLE_CERTIFICATE,
            2,
            {"sigstore.trusted_root": stranger["trusted_root"]},
        ),
        ("no-trust-root", "S6", Code.POLICY_TRUST_ROOT, 1, {"sigstore.trusted_root": "{}"}),
        ("a-blank-trust-root", "S6", Code.POLICY_EMPTY, 1, {"sigstore.trusted_root": " "}),
        ("another-issuer", "S1", Code.BUNDLE_ISSUER, 2, {"signer.issuer": SOMEBODY}),
        ("another-signer", "S1", Code.BUNDLE_IDENTITY, 2, {"signer.identity": SOMEBODY}),
        ("another-builder", "S1", Code.PROVENANCE_BUILDER, 2, {"signer.builder_id": SOMEBODY}),
        ("one-owner-more", "S5", Code.LAYOUT_OWNER_MISSING, 3, {"layout.owners": [*owners, owner]}),
        ("another-owner", "S5", Code.LAYOUT_UNKNOWN_OWNER, 3, {"layout.owners": [owner]}),
        (
            "no-rebuilder-has-signed",
            "S5",
            Code.REBUILD_MISSING,
            3,
            {"rebuilders": {"threshold": 1, "identities": [rebuilder]}},
        ),
        ("below-the-minimum", "S4", Code.RELEASE_BELOW_MINIMUM, 4, {"release.minimum_sequence": 2}),
        ("revoked-by-the-caller", "S4", Code.RELEASE_REVOKED, 4, {"release.revoked": [1]}),
        ("of-another-name", "S4", Code.RELEASE_NAME, 4, {"release.name": "another"}),
    ):
        changes = {f"policy.{place}": value for place, value in given.items()}
        yield _mutation(name, row, code, step, given=changes)


def _other_times() -> Iterator[Mutation]:
    now = datetime.fromisoformat(read_given("release")["now"])
    for name, code, step, later, besides in (
        ("expired", Code.RELEASE_EXPIRED, 4, timedelta(days=30), {}),
        ("not-yet", Code.RELEASE_NOT_YET, 4, -timedelta(minutes=6), {}),
        (
            "too-old-for-the-caller",
            Code.RELEASE_TOO_OLD,
            4,
            timedelta(days=2),
            {"policy.release.maximum_age_days": 1},
        ),
        ("layout-expired", Code.LAYOUT_EXPIRED, 3, timedelta(days=366), {}),
        ("older-than-known", Code.RELEASE_BELOW_MEMORY, 4, timedelta(0), {"known_sequence": 2}),
    ):
        row = "S5" if code is Code.LAYOUT_EXPIRED else "S4"
        given = {"now": (now + later).isoformat(), **besides}
        yield _mutation(name, row, code, step, given=given)


def _windows() -> Iterator[Mutation]:
    """Keys that were used outside their windows, which the library does not enforce."""
    text = read_given("release")["policy"]["sigstore"]["trusted_root"]
    for part in PARTS:
        for when, window in (("long-past", LONG_PAST), ("yet-to-come", YET_TO_COME)):
            root = json.loads(text)
            for entry in root[part]:
                (entry["publicKey"] if part in {"tlogs", "ctlogs"} else entry)["validFor"] = window
            given = {"policy.sigstore.trusted_root": json.dumps(root)}
            name = f"{part.lower()}-{when}"
            yield _mutation(name, "S2", Code.BUNDLE_OUTSIDE_VALIDITY, 2, given=given)


def _mutation(
    name: str,
    attack: str,
    code: Code,
    step: int,
    *,
    change: Change = dict,
    given: Mapping[str, Any] | None = None,
) -> Mutation:
    return Mutation(
        name=name,
        attack=attack,
        code=code,
        step=step,
        change=change,
        given=given or {},
        source="release",
        caller="release",
        verify="release",
    )


def _in_place(change: Callable[[Document], object]) -> Change:
    def changed(document: Document) -> Document:
        change(document)
        return document

    return changed
