"""What an attacker's own signatures say, put in place of the genuine: recorded once, then data."""

from __future__ import annotations

import json
from typing import Any

from blindllama.errors import Code
from tests.conformance.corpus import HOME
from tests.conformance.mutation import Change, Document, Mutation, slug

STATEMENT_ROWS = {
    Code.QUOTE_SELECTION: "Q1",
    Code.QUOTE_MAGIC: "Q2",
    Code.QUOTE_TYPE: "Q2",
    Code.QUOTE_NONCE: "Q3",
    Code.QUOTE_PCR_DIGEST: "Q5",
    Code.MEASUREMENT_MISMATCH: "B3",
}
"""Which row a statement is of, by what is wrong with it; all others are about its form, Q4."""


def statement_mutations() -> tuple[Mutation, ...]:
    """Statements that a TPM, or a certified key, signed for an attacker."""
    return tuple(
        Mutation(
            name=name,
            attack=STATEMENT_ROWS.get(Code(found["code"]), "Q4"),
            code=Code(found["code"]),
            step=9 if found["code"] == Code.MEASUREMENT_MISMATCH else 8,
            change=_whole(found["document"]),
        )
        for name, found in _recorded("statements").items()
    )


def chain_mutations() -> tuple[Mutation, ...]:
    """Certificates of the attestation key that a CA, or another key, issued."""
    return tuple(
        Mutation(
            name=name,
            attack=found["attack"],
            code=Code(found["code"]),
            step=7 if found["code"].startswith("ak.") else 8,
            change=_with_chain(found["chain"]),
        )
        for name, found in _recorded("chains").items()
    )


def lie_mutations() -> tuple[Mutation, ...]:
    """One document of a release that the release's own signer signed, and that lies."""
    return tuple(
        Mutation(
            name=slug(title.partition(" ")[2]),
            attack=title.partition(" ")[0],
            code=Code(found["code"]),
            step=found["step"],
            change=_with_parts(found["parts"]),
            source="release",
            caller="release",
            verify="release",
        )
        for title, found in _recorded("lies").items()
    )


def _recorded(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HOME / "recorded" / f"{name}.json").read_bytes())
    return found


def _whole(other: Document) -> Change:
    return lambda _: other


def _with_chain(chain: list[str]) -> Change:
    ak = {"certificate": chain[0], "intermediates": chain[1:]}
    return lambda document: {**document, "ak": ak}


def _with_parts(parts: dict[str, Any]) -> Change:
    def change(document: Document) -> Document:
        for place, part in parts.items():
            name, _, number = place.partition(".")
            if number:
                document[name][int(number)] = part
            else:
                document[name] = part
        return document

    return change
