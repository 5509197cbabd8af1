"""`blindllama explain`: why two measurements differ, in words, with the values under them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from blindllama._cli.measured import Booted, Predicted, as_prediction, read_measured
from blindllama._cli.output import Output
from blindllama._explain_compare import Difference, compare_releases
from blindllama.errors import UsageError
from blindllama.explain import KnownRelease, explain_registers
from blindllama.measurements import PlatformName

__all__ = ["run"]


def run(options: argparse.Namespace, output: Output) -> None:
    """Say what differs.

    Raises:
        FormatError: a file has no measurements.
        UsageError: a file cannot be read, or the two cannot be compared.
    """
    expected, got = read_measured(options.expected), read_measured(options.got)
    found: Sequence[Difference]
    if isinstance(expected, Predicted) and isinstance(got, Predicted):
        platform = _platform(options.platform, expected, got)
        found = compare_releases(expected.platforms[platform], got.platforms[platform])
    elif isinstance(got, Booted):
        known = [read_measured(path) for path in options.known]
        platform, found = _on_a_machine(options.platform, expected, got, known)
    else:
        raise UsageError("EXPECTED is a guest's evidence and GOT a release: exchange the two")
    output.field("verified", False)  # noqa: FBT003 - a value of the JSON document
    output.field("platform", platform.value)
    output.field("differences", [_json(one) for one in found])
    output.text("CLAIMED by both files; nothing of it was verified.\n\n")
    output.text("".join(_text(one) for one in found) or "nothing differs\n")


def _platform(wanted: str | None, *predicted: Predicted) -> PlatformName:
    """Return the platform that was asked for, if all have it, or the first that all have."""
    common = set(PlatformName).intersection(*(one.platforms for one in predicted))
    if wanted is not None and wanted in common:
        return PlatformName(wanted)
    if wanted is not None or not common:
        names = ", ".join(sorted(common)) or "a platform that both have"
        raise UsageError(f"--platform; expected {names}; got {wanted or 'none'}")
    return next(platform for platform in PlatformName if platform in common)


def _on_a_machine(
    wanted: str | None,
    expected: Predicted | Booted,
    got: Booted,
    known: Sequence[Predicted | Booted],
) -> tuple[PlatformName, Sequence[Difference]]:
    if isinstance(expected, Predicted):
        platform = _platform(wanted, expected)
        prediction = expected.platforms[platform]
    else:
        platform = _platform(wanted)
        prediction = as_prediction(expected, platform)
    others = [
        KnownRelease(name=one.name, expected=one.platforms[platform])
        for one in known
        if isinstance(one, Predicted) and platform in one.platforms
    ]
    wrong = [
        pcr for pcr, value in prediction.values.items() if got.machine.values.get(pcr) != value
    ]
    explained = explain_registers(
        wrong, got.machine, expected=prediction, asked=expected.name, known=others
    )
    return platform, [
        Difference(pcrs=(one.pcr,), sentence=one.sentence, raw=one.raw, component=one.component)
        for one in explained
    ]


def _json(difference: Difference) -> dict[str, object]:
    return {
        "pcrs": list(difference.pcrs),
        "sentence": difference.sentence,
        "component": difference.component,
        "raw": list(difference.raw),
    }


def _text(difference: Difference) -> str:
    names = ", ".join(str(pcr) for pcr in difference.pcrs)
    raw = "".join(f"    {line}\n" for line in difference.raw)
    return f"PCR {names}: {difference.sentence}\n{raw}"
