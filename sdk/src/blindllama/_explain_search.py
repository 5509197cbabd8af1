"""What a register's value is, when nobody has kept a log: known values, and single changes.

Everything tried is computed from signed predictions, so what is found is a fact about digests: a
register extended with exactly these. What is not found stays unexplained.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from blindllama._wording import part_name, text_difference
from blindllama.measurements import ExpectedEvent, ExpectedPcrs
from blindllama.pcr import replay

__all__ = ["Found", "KnownRelease", "search"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRelease:
    """A genuine release, as a candidate for what a machine may run instead."""

    name: str
    """As it is called in a sentence: `release 7`."""
    expected: ExpectedPcrs


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An explanation, before it is known to be about a certain register."""

    sentence: str
    component: str | None
    raw: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """A sequence of extends that a machine may have made, and what that would mean."""

    extends: Sequence[ExpectedEvent]
    found: Found


def search(
    pcr: int,
    value: bytes,
    *,
    expected: ExpectedPcrs,
    asked: str,
    known: Sequence[KnownRelease],
) -> Found | None:
    """Return what would give the register this value; None when nothing that is known does."""
    for release in known:
        if release.expected.values.get(pcr) == value:
            return Found(
                sentence=f"it is that of {release.name}, you asked for {asked}",
                component=_only_difference(pcr, expected, release.expected),
            )
    predicted = expected.events.get(pcr, ())
    for candidate in _candidates(pcr, predicted, asked=asked, known=known):
        if replay(event.digest for event in candidate.extends) == value:
            return candidate.found
    return None


def _candidates(
    pcr: int, predicted: Sequence[ExpectedEvent], *, asked: str, known: Sequence[KnownRelease]
) -> Iterator[_Candidate]:
    for release in known:
        yield from _exchanged(predicted, release.expected.events.get(pcr, ()), release, asked)
    yield from _cut_short(predicted)
    yield from _left_out(predicted)
    yield from _repeated(predicted)


def _exchanged(
    predicted: Sequence[ExpectedEvent],
    others: Sequence[ExpectedEvent],
    release: KnownRelease,
    asked: str,
) -> Iterator[_Candidate]:
    """Yield the register with one part of another release; a part may be several extends."""
    for component in dict.fromkeys(event.component for event in predicted):
        theirs = {event.what: event for event in others if event.component == component}
        mixed = [
            theirs.get(event.what, event) if event.component == component else event
            for event in predicted
        ]
        changed = [
            pair for pair in zip(predicted, mixed, strict=True) if pair[0].digest != pair[1].digest
        ]
        if component is None or not changed:
            continue
        ours, other = changed[0]
        change = text_difference(ours.text, other.text)
        yield _Candidate(
            extends=mixed,
            found=Found(
                sentence=f"{part_name(ours)} is that of {release.name}, "
                f"everything else in it that of {asked}" + (f" ({change})" if change else ""),
                component=component,
                raw=tuple(
                    f"{was.what}: {now.digest.hex()} in place of {was.digest.hex()}"
                    for was, now in changed
                ),
            ),
        )


def _cut_short(predicted: Sequence[ExpectedEvent]) -> Iterator[_Candidate]:
    for length, missing in enumerate(predicted):
        yield _Candidate(
            extends=predicted[:length],
            found=Found(
                sentence=f"{part_name(missing)} was not measured, nor anything after it",
                component=missing.component,
                raw=(f"event {length + 1} of {len(predicted)} is missing: {missing.what}",),
            ),
        )


def _left_out(predicted: Sequence[ExpectedEvent]) -> Iterator[_Candidate]:
    for at, missing in enumerate(predicted):
        yield _Candidate(
            extends=[*predicted[:at], *predicted[at + 1 :]],
            found=Found(
                sentence=f"{part_name(missing)} was not measured",
                component=missing.component,
                raw=(f"event {at + 1} of {len(predicted)} is missing: {missing.what}",),
            ),
        )


def _repeated(predicted: Sequence[ExpectedEvent]) -> Iterator[_Candidate]:
    for at, twice in enumerate(predicted):
        yield _Candidate(
            extends=[*predicted[: at + 1], *predicted[at:]],
            found=Found(
                sentence=f"{part_name(twice)} was measured twice",
                component=twice.component,
                raw=(f"event {at + 1} of {len(predicted)} comes twice: {twice.what}",),
            ),
        )


def _only_difference(pcr: int, expected: ExpectedPcrs, other: ExpectedPcrs) -> str | None:
    """Return the one part in which two predictions of a register differ, if it is one."""
    pairs = zip(expected.events.get(pcr, ()), other.events.get(pcr, ()), strict=False)
    parts = {ours.component for ours, theirs in pairs if ours.digest != theirs.digest}
    return parts.pop() if len(parts) == 1 else None
