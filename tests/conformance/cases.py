"""Make every case of the corpus: `python -m tests.conformance.cases`.

Each reject case is ONE named mutation of what is accepted, and says which refusal it must meet.
The result is a function of what was recorded, so a test makes it again and compares.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from tests.conformance.corpus import HOME, difference, read_document, read_given
from tests.conformance.evidence_mutations import EVIDENCE_MUTATIONS
from tests.conformance.format_mutations import FORMAT_MUTATIONS
from tests.conformance.mutation import Mutation
from tests.conformance.recorded_mutations import (
    chain_mutations,
    lie_mutations,
    statement_mutations,
)
from tests.conformance.release_mutations import release_mutations

Json = dict[str, Any]


def mutations() -> tuple[Mutation, ...]:
    """All mutations, of evidence and of releases."""
    recorded = (*statement_mutations(), *chain_mutations(), *lie_mutations())
    return (*FORMAT_MUTATIONS, *EVIDENCE_MUTATIONS, *recorded, *release_mutations())


def case_files() -> Iterator[tuple[str, bytes]]:
    """Name and content of every file of the cases folder."""
    for case in (*_accepted(), *map(_rejected, mutations())):
        yield f"{case['name']}.json", (json.dumps(case, indent=1) + "\n").encode()


def _accepted() -> Iterator[Json]:
    for path in sorted((HOME / "documents").glob("*.json")):
        caller = "release" if path.stem == "release" else "evidence"
        yield _accept(path.stem, path.stem, caller, {})
    now = datetime.fromisoformat(read_given("release")["now"])
    for name, changes in (
        ("release-for-azure", {"policy.platform": "azure-trusted-launch"}),
        ("release-never-seen", {"known_sequence": None}),
        ("release-made-minutes-ahead", {"now": (now - timedelta(minutes=4)).isoformat()}),
        ("release-on-its-last-day", {"now": (now + timedelta(days=29)).isoformat()}),
    ):
        yield _accept(name, "release", "release", changes)


def _accept(name: str, document: str, caller: str, changes: Json) -> Json:
    return {
        "version": 1,
        "name": f"accept-{name}",
        "attack": None,
        "verify": caller,
        "document": {"of": document},
        "given": {"of": caller, **({"changes": changes} if changes else {})},
        "expected": {"verdict": "accept"},
    }


def _rejected(mutation: Mutation) -> Json:
    changed = mutation.change(json.loads(read_document(mutation.source)))
    if not isinstance(changed, bytes):
        changed = json.dumps(changed, separators=(",", ":")).encode()
    return {
        "version": 1,
        "name": f"{mutation.attack.lower()}-{mutation.verify}-{mutation.name}",
        "attack": mutation.attack,
        "verify": mutation.verify,
        "document": difference(mutation.source, changed),
        "given": {"of": mutation.caller, **_changes(mutation)},
        "expected": {
            "verdict": "reject",
            "step": mutation.step,
            "code": mutation.code.value,
        },
    }


def _changes(mutation: Mutation) -> Json:
    return {"changes": dict(mutation.given)} if mutation.given else {}


def main() -> None:
    """Write the folder of cases."""
    folder = HOME / "cases"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.json"):
        old.unlink()
    for name, data in case_files():
        (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
