"""The corpus: one JSON file per case, and what a verifier is asked in each.

    documents/NAME.json   bytes that a genuine prover sent, or recorded pieces of an attacker's
    given/NAME.json       what the caller brings: platform, roots, policy, time, nonce
    cases/NAME.json       {version, name, attack, verify, document, given, expected}

`document` is a file of `documents/`, whole or with one piece replaced; `given` is a file of
`given/`, whole or with some values changed. `expand` makes the request of it that a verifier
reads: the document in full as base64, and all that the caller brings.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOME = Path(__file__).resolve().parent

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Expected:
    """The verdict of a right verifier; code and step are those of the SDK."""

    verdict: str
    code: str | None = None
    step: int | None = None

    def wire(self) -> Json:
        if self.verdict == "accept":
            return {"verdict": "accept"}
        return {"verdict": self.verdict, "step": self.step, "code": self.code}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One question with its right answer."""

    name: str
    attack: str | None
    """The row of ATTACKS that it is of; None for what must be accepted."""
    verify: str
    """`evidence` (steps 6 to 9), `key` (step 7 alone) or `release` (steps 1 to 5)."""
    document: bytes
    given: Json
    expected: Expected

    def request(self) -> Json:
        """What a verifier reads from its standard input, as one line."""
        return {
            "version": 1,
            "verify": self.verify,
            "document": base64.b64encode(self.document).decode(),
            "given": self.given,
        }


def read_cases(home: Path = HOME) -> Iterator[Case]:
    """All cases, in the order of their names."""
    for path in sorted((home / "cases").glob("*.json")):
        yield expand(json.loads(path.read_bytes()), home)


def expand(case: Json, home: Path = HOME) -> Case:
    """The case with its document and what the caller brings in full."""
    return Case(
        name=case["name"],
        attack=case["attack"],
        verify=case["verify"],
        document=_document(case["document"], home),
        given=_given(case["given"], home),
        expected=Expected(**case["expected"]),
    )


def read_document(name: str, home: Path = HOME) -> bytes:
    """A recorded document, without the line end of its file."""
    return (home / "documents" / f"{name}.json").read_bytes().removesuffix(b"\n")


def read_given(name: str, home: Path = HOME) -> Json:
    given: Json = json.loads((home / "given" / f"{name}.json").read_bytes())
    return given


def difference(name: str, changed: bytes, home: Path = HOME) -> Json:
    """How a document differs from a recorded one: the piece between what they share."""
    genuine = read_document(name, home)
    if changed == genuine:
        return {"of": name}
    shortest = min(len(genuine), len(changed))
    start = next((i for i in range(shortest) if genuine[i] != changed[i]), shortest)
    rest = shortest - start
    end = next((i for i in range(rest) if genuine[-1 - i] != changed[-1 - i]), rest)
    piece = changed[start : len(changed) - end]
    place = {"of": name, "at": start, "remove": len(genuine) - end - start}
    if len(set(piece)) == 1 and len(piece) > 1000:
        return {**place, "insert": chr(piece[0]), "times": len(piece)}
    try:
        return {**place, "insert": piece.decode("utf-8")}
    except UnicodeDecodeError:
        return {**place, "insert_base64": base64.b64encode(piece).decode()}


def edited(document: Json, changes: Mapping[str, Any]) -> Json:
    """A copy with the values at dotted paths replaced; None takes one away."""
    copied: Json = json.loads(json.dumps(document))
    for path, value in changes.items():
        *parents, last = path.split(".")
        place: Any = copied
        for name in parents:
            place = place[int(name) if isinstance(place, list) else name]
        if value is None:
            del place[last]
        elif isinstance(place, list):
            place[int(last)] = value
        else:
            place[last] = value
    return copied


def _document(wire: Json, home: Path) -> bytes:
    genuine = read_document(wire["of"], home)
    if "at" not in wire:
        return genuine
    if "insert_base64" in wire:
        piece = base64.b64decode(wire["insert_base64"])
    else:
        piece = wire["insert"].encode() * wire.get("times", 1)
    return genuine[: wire["at"]] + piece + genuine[wire["at"] + wire["remove"] :]


def _given(wire: Json, home: Path) -> Json:
    return edited(read_given(wire["of"], home), wire.get("changes", {}))
