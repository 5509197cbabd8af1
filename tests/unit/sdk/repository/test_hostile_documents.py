"""Documents that a stolen key has signed: whatever is in them, nothing but our errors comes out."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.formats import encode_canonical

from blindllama.errors import Error, VerificationError
from supply_chain.repository.keys import KeyRole
from tests.simulators.release_repository import Publisher, publisher_of
from tests.simulators.signed_release import SignedRelease

ODD: list[Any] = [
    *(None, True, 0, -1, 2**70, "", "x", [], {}, [[]], {"": {}}, "9999-99-99T00:00:00Z"),
    *(
        "2999-01-01T00:00:00",
        "2999-01-01T00:00:00+99:00",
        "../../x",
        "a\r\nb: c",
        "\x00",
        "é" * 300,
        "a" * 300,
    ),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401 - JSON
    """The paths of every value inside a document."""
    yield path
    if isinstance(value, dict | list):
        children = value.items() if isinstance(value, dict) else enumerate(value)
        for key, child in children:
            yield from places(child, (*path, key))


def changed(document: dict[str, Any], path: tuple[Any, ...], value: object) -> dict[str, Any]:
    made = copy.deepcopy(document)
    parent: Any = made
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    return made


class Thief:
    """Has every key."""

    def __init__(self, publisher: Publisher) -> None:
        kinds: dict[str, KeyRole] = {"root": "root", "targets": "targets"}
        self._signers = {
            role: publisher.place.keys.signers(
                kinds.get(role, "online"), entry.keyids, least=entry.threshold
            )
            for role, entry in publisher.documents().root.signed.roles.items()
        }

    def signed(self, role: str, content: dict[str, Any]) -> bytes:
        """The content under the genuine signatures of a role."""
        data = (encode_canonical(content) or "").encode()
        signatures = [signer.sign(data).to_dict() for signer in self._signers[role]]
        return json.dumps({"signatures": signatures, "signed": content}).encode()


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "root"])
def test_nothing_of_the_library_escapes(
    tmp_path: Path, releases: tuple[SignedRelease, SignedRelease], role: str
) -> None:
    publisher = publisher_of(tmp_path, releases[0])
    now = datetime.now(UTC)
    documents, thief = publisher.documents(), Thief(publisher)
    if role == "root":
        content = documents.root.signed.to_dict() | {"version": 2}
        path = publisher.folder / "2.root.json"
    else:
        content = getattr(documents, role).signed.to_dict()
        name = "timestamp" if role == "timestamp" else f"{content['version']}.{role}"
        path = publisher.folder / f"{name}.json"
    # Without digests above them, so that the content itself is looked at.
    bare = documents.snapshot.signed.to_dict()
    bare["meta"] = {"targets.json": {"version": documents.targets.signed.version}}
    above = documents.timestamp.signed.to_dict()
    above["meta"] = {"snapshot.json": {"version": documents.snapshot.signed.version}}
    if role != "timestamp":
        (publisher.folder / "timestamp.json").write_bytes(thief.signed("timestamp", above))
    if role == "targets":
        version = documents.snapshot.signed.version
        (publisher.folder / f"{version}.snapshot.json").write_bytes(thief.signed("snapshot", bare))
    outcomes: dict[str, int] = {}
    chance = random.Random(7)
    for place in places(content):
        for odd in chance.sample(ODD, 7) if place else ():
            path.write_bytes(thief.signed(role, changed(content, place, odd)))
            try:
                publisher.client().fetch(now)
                outcome = "accepted"
            except VerificationError as exc:
                outcome = exc.code.value
            except Error as exc:
                outcome = type(exc).__name__
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
    assert "repository.format" in outcomes
    assert not outcomes.keys() & {"UsageError", "NetworkError"}
