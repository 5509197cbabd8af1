"""What a release is made of: who signed which file, where the log has it, and each register."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from blindllama.measurements import ExpectedEvent
    from blindllama.release import VerifiedRelease

__all__ = ["artifacts", "registers"]

_LONGEST_TEXT: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signed:
    """A statement that is signed, and where the log has it."""

    kind: str
    subjects: Mapping[str, str]
    logged: str
    """Its number in the log, and how many entries the log had then."""


def artifacts(evidence: bytes, release: VerifiedRelease) -> Iterator[str]:
    """Yield the statements of a release, then its files, each by its digest.

    Args:
        evidence: The evidence file that `release` was verified from: these very bytes.
        release: The verdict on it.
    """
    yield "<h2>What was signed</h2>"
    yield f"<p>By {escape(release.signer)}; all of it passed checks 2 and 3.</p>"
    document = json.loads(evidence)
    made = [_signed(bundle) for bundle in (*document["provenance"], document["measurements"])]
    yield from table(
        "Each artefact with its digest, the statement about it, and the statement's log index",
        ("artefact", "SHA-256", "statement", "log index"),
        [
            (subject, digest, statement.kind.removeprefix("https://"), statement.logged)
            for statement in made
            for subject, digest in statement.subjects.items()
        ],
    )
    index = _signed(document["index"])
    yield "<details><summary>Every file of the release</summary>"
    yield from table(
        f"The files of the release's folder, as its index has them: log index {index.logged}",
        ("file", "SHA-256"),
        sorted(release.files.items()),
    )
    yield "</details>"


def registers(release: VerifiedRelease) -> Iterator[str]:
    """Yield every expected register with the events that make it."""
    yield "<h2>What is measured</h2>"
    yield (
        "<p>Each register is the SHA-256 chain of its events, in this order. The values were "
        "computed before the image ever booted; check 9 has compared them.</p>"
    )
    expected = release.expected
    for index, value in expected.values.items():
        events = expected.events.get(index, ())
        counted = f"{len(events)} event{'' if len(events) == 1 else 's'}"
        yield f"<details><summary>PCR {index}, {counted}: <code>{value.hex()}</code></summary>"
        if events:
            yield from table(
                f"What PCR {index} is extended with",
                ("component", "which bytes", "SHA-256 of them", "source"),
                [_event(event) for event in events],
            )
        else:
            yield "<p>Nothing may extend it: it stays zero.</p>"
        yield "</details>"


def table(caption: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Yield a table; digests are set in a fixed width, and a wide table scrolls by itself."""
    yield f'<div class="wide" tabindex="0" role="region" aria-label="{escape(caption)}">'
    yield f"<table><caption>{escape(caption)}</caption>"
    cells = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    yield f"<thead><tr>{cells}</tr></thead><tbody>"
    for row in rows:
        yield f"<tr>{''.join(f'<td>{_cell(text)}</td>' for text in row)}</tr>"
    yield "</tbody></table></div>"


def _cell(text: str) -> str:
    shown = escape(text)
    return f"<code>{shown}</code>" if len(text) == 64 and text.isalnum() else shown


def _event(event: ExpectedEvent) -> tuple[str, ...]:
    text = "" if event.text is None else f": {event.text[:_LONGEST_TEXT]}"
    return event.component or "", f"{event.what}{text}", event.digest.hex(), event.source


def _signed(bundle: Any) -> _Signed:  # noqa: ANN401 - JSON that was verified before
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    (entry,) = bundle["verificationMaterial"]["tlogEntries"]
    return _Signed(
        kind=statement["predicateType"],
        subjects={one["name"]: one["digest"]["sha256"] for one in statement["subject"]},
        logged=f"{entry['logIndex']} of {entry['inclusionProof']['treeSize']}",
    )
