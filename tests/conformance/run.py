"""Ask a verifier every case: `python -m tests.conformance.run [--codes] -- COMMAND…`.

The command is started once. It reads one request per line from its standard input and writes one
line for each: `{"verdict": "accept"}`, `{"verdict": "reject"}` (our own codes are optional:
`"step"`, `"code"`), or `{"verdict": "unsupported"}` for what it does not verify. Without a command
the SDK is asked, and must give our codes too. The exit status is 1 when an answer is wrong.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.conformance.azure import azure_cases
from tests.conformance.corpus import Case, read_cases

OURS = (sys.executable, "-m", "tests.conformance.subject")
Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One case and what the verifier said."""

    case: Case
    answer: Json

    @property
    def supported(self) -> bool:
        return bool(self.answer.get("verdict") != "unsupported")

    def right(self, *, codes: bool) -> bool:
        """Whether the answer is the expected one."""
        wanted = self.case.expected.wire()
        if codes:
            return self.answer == wanted
        return bool(self.answer.get("verdict") == wanted["verdict"])


def all_cases() -> list[Case]:
    """The cases of this repository and, where they are there, those of real Azure machines."""
    return [*read_cases(), *azure_cases()]


def outcomes(argv: Sequence[str], cases: Iterable[Case]) -> list[Outcome]:
    """The command's answers to the cases.

    Raises:
        RuntimeError: it ended, or said what is no answer.
    """
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    ) as process:
        found = [Outcome(case=case, answer=_ask(process, case)) for case in cases]
        assert process.stdin is not None
        process.stdin.close()
    return found


def _ask(process: subprocess.Popen[str], case: Case) -> Json:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(case.request()) + "\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        verdict = answer["verdict"]
    except (OSError, ValueError, TypeError, KeyError) as exc:
        process.kill()
        raise RuntimeError(f"case {case.name}: the command gave no answer ({exc})") from exc
    if verdict not in {"accept", "reject", "unsupported"}:
        process.kill()
        raise RuntimeError(f"case {case.name}: the command answered {verdict!r}")
    return dict(answer)


def main(arguments: Sequence[str]) -> int:
    """Ask, print what is wrong and a count, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.run")
    parser.add_argument("--codes", action="store_true", help="compare step and code too")
    parser.add_argument("command", nargs="*", help="the verifier; the SDK when left out")
    options = parser.parse_args(arguments)
    codes = options.codes or not options.command
    found = outcomes(options.command or OURS, all_cases())
    asked = [outcome for outcome in found if outcome.supported]
    wrong = [outcome for outcome in asked if not outcome.right(codes=codes)]
    lines = [
        f"{outcome.case.name}: expected {outcome.case.expected.wire()}, got {outcome.answer}"
        for outcome in wrong
    ]
    rejects = sum(outcome.case.expected.verdict == "reject" for outcome in asked)
    lines.append(
        f"{len(asked)} cases ({rejects} to reject), {len(wrong)} wrong, "
        f"{len(found) - len(asked)} not supported"
    )
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
