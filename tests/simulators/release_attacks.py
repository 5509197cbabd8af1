"""How the S rows of ATTACKS are made and refused: each is ONE change to an honest release.

`refusal` asks the verifier and takes nothing but a refusal; the others build the `Hooks` that
change a statement before it is signed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from blindllama.errors import VerificationError
from blindllama.release import verify_release
from blindllama.report import Report
from supply_chain.attest.statement import Digest, Statement
from supply_chain.digest import sha256_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from blindllama.policy import Policy
    from tests.simulators.signed_release import SignedRelease

OTHER = "https://blindllama.dev/builders/another"
EVIL = sha256_bytes(b"evil")

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


def wrong(place: str, value: object) -> Callable[[Json], None]:
    *way, last = place.split(".")

    def change(document: Json) -> None:
        for key in way:
            document = document[key]
        document[last] = value

    return change
