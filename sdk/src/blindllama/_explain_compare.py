"""In which parts two releases differ, and in which registers each part shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from blindllama._wording import part_name, rank, text_difference
from blindllama.measurements import ExpectedEvent, ExpectedPcrs
from blindllama.pcr import replay

__all__ = ["Difference", "compare_releases"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One difference: of a part, which may be in several registers, or of a register."""

    pcrs: tuple[int, ...]
    sentence: str
    component: str | None
    raw: tuple[str, ...]
    """The values behind the sentence, one line each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """An event of one meaning in one register, as each of the two has it."""

    pcr: int
    event: ExpectedEvent
    """The first one's, or else the second's."""
    expected: ExpectedEvent | None
    got: ExpectedEvent | None

    @property
    def raw(self) -> str:
        """Both digests."""
        return (
            f"PCR {self.pcr}, {self.event.what}: "
            f"expected {_digest(self.expected)}, got {_digest(self.got)}"
        )

    @property
    def text(self) -> str | None:
        """What differs in the text, where both tell it."""
        if self.expected is None or self.got is None:
            return None
        return text_difference(self.expected.text, self.got.text)


def compare_releases(expected: ExpectedPcrs, got: ExpectedPcrs) -> tuple[Difference, ...]:
    """Return every part that differs, the most telling first; then what no event explains."""
    parts: dict[str, list[_Change]] = {}
    unexplained: list[Difference] = []
    for pcr in sorted(expected.values.keys() | got.values.keys()):
        if expected.values.get(pcr) == got.values.get(pcr):
            continue
        told = _tells(pcr, expected) and _tells(pcr, got)
        changes = _changes(pcr, expected, got) if told else []
        for change in changes:
            parts.setdefault(part_name(change.event), []).append(change)
        if not changes:
            unexplained.append(_whole(pcr, expected, got))
    differences = [_part(name, changes) for name, changes in parts.items()]
    differences.sort(key=lambda one: (rank(one.component), one.pcrs))
    return (*differences, *unexplained)


def _tells(pcr: int, pcrs: ExpectedPcrs) -> bool:
    """Return True when a release's events are what its value is made of."""
    events = pcrs.events.get(pcr, ())
    return replay(event.digest for event in events) == pcrs.values.get(pcr)


def _changes(pcr: int, expected: ExpectedPcrs, got: ExpectedPcrs) -> list[_Change]:
    ours = {event.what: event for event in expected.events.get(pcr, ())}
    theirs = {event.what: event for event in got.events.get(pcr, ())}
    return [
        _Change(pcr=pcr, event=event, expected=ours.get(what), got=theirs.get(what))
        for what, event in {**theirs, **ours}.items()
        if _digest(ours.get(what)) != _digest(theirs.get(what))
    ]


def _part(name: str, changes: Sequence[_Change]) -> Difference:
    text = next((change.text for change in changes if change.text is not None), None)
    return Difference(
        pcrs=tuple(dict.fromkeys(change.pcr for change in changes)),
        sentence=f"{name} differs" + (f" ({text})" if text else ""),
        component=changes[0].event.component,
        raw=tuple(change.raw for change in changes),
    )


def _whole(pcr: int, expected: ExpectedPcrs, got: ExpectedPcrs) -> Difference:
    values = (pcrs.values.get(pcr) for pcrs in (expected, got))
    ours, theirs = ("none" if value is None else value.hex() for value in values)
    return Difference(
        pcrs=(pcr,),
        sentence="it differs, and the releases do not say in what",
        component=None,
        raw=(f"expected {ours}", f"got {theirs}"),
    )


def _digest(event: ExpectedEvent | None) -> str:
    return "none" if event is None else event.digest.hex()
