"""docs/conformance.md, and what `tpm2_checkquote` says to the corpus.

`python -m tests.conformance.page` asks the tool that is installed and compares with what was
recorded; with `--record` it records. The page itself is written by `python -m tests.docs.pages`
from the record, so that it is the same on every machine.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.conformance.checkquote import TOOL
from tests.conformance.corpus import HOME, Case, read_cases
from tests.conformance.run import outcomes

RECORD = HOME / "recorded" / "checkquote.json"
THEIRS = (sys.executable, "-m", "tests.conformance.checkquote_subject")

_HEAD = """\
# The corpus: what any verifier must accept and refuse

`tests/conformance/` holds {total} cases, {accepted} to accept and {rejected} to reject, one JSON file each in `cases/`. The accepted documents are quotes of a real swtpm in each scheme and a release that the local Sigstore signed; every reject case is one named mutation of them, made by `python -m tests.conformance.cases` and compared in the tests. Documents of real Azure machines are asked too where they lie beside the checkout; they are not part of it.

    ./do python -m tests.conformance.run                    # this SDK: verdict, step and code
    ./do python -m tests.conformance.run -- COMMAND …       # another verifier: the verdict

The command is started once. It reads one request per line and writes one answer per line:

    {{"version": 1, "verify": "evidence", "document": "<base64>", "given": {{"platform": …, "roots": […], "now": …, "nonce": …, "spki": …, "expected": …}}}}
    {{"verdict": "accept"}} or {{"verdict": "reject"}} or {{"verdict": "unsupported"}}

`evidence` is about steps 6 to 9 of [verification.md](verification.md), `key` about step 7 alone, and `release` about steps 1 to 5 with `given` holding the policy, the time and the highest sequence number known.

This page is written by `python -m tests.docs.pages`; a test compares.

## Rows of the list of attacks

| row | cases | tests besides |
|---|---|---|
"""

_THEIRS = """
## A second verifier: {version}

The tool checks a quote and no certificates, so it is asked only where steps 6 and 7 pass: {asked} cases. It is called as its users call it, and the values it has checked are compared with the expected ones. {wrong} answers are wrong. Where it says *accept* in this table, it takes what must be refused: 5.4 reads the registers' numbers from the unsigned selection (CVE-2024-29039), does not look at the magic (CVE-2024-29038), and does not read structures to their last byte.

| case | right | {tool} |
|---|---|---|
"""


def conformance_page(_: str = "") -> str:
    """The page, from the cases and from what was recorded."""
    cases = list(read_cases())
    accepted = sum(case.expected.verdict == "accept" for case in cases)
    page = _HEAD.format(total=len(cases), accepted=accepted, rejected=len(cases) - accepted)
    return page + "".join(_rows(cases)) + _second(cases)


def rows() -> Mapping[str, Any]:
    """Rows of ATTACKS that tests hold besides the cases."""
    return tomllib.loads((HOME / "rows.toml").read_text("utf-8"))


def _rows(cases: Sequence[Case]) -> Iterator[str]:
    counted = Counter(case.attack for case in cases if case.attack)
    besides = rows()
    for row in sorted({*counted, *besides}):
        found = besides.get(row, {"what": "", "tests": []})
        names = ", ".join(f"`{test.rpartition('::')[2]}`" for test in found["tests"])
        told = f"{found['what']}: {names}" if names else ""
        yield f"| {row} | {counted[row]} | {told} |\n"


def _second(cases: Sequence[Case]) -> str:
    record = json.loads(RECORD.read_bytes())
    answers = record["answers"]
    right = {case.name: case.expected.verdict for case in cases}
    wrong = {name: said for name, said in answers.items() if said != right[name]}
    head = _THEIRS.format(
        version=record["version"], asked=len(answers), wrong=len(wrong), tool=f"`{TOOL}`"
    )
    return head + "".join(f"| `{name}` | {right[name]} | {wrong[name]} |\n" for name in wrong)


def ask() -> dict[str, Any]:
    """The version of the tool that is installed, and its answer to every case it supports."""
    done = subprocess.run([TOOL, "--version"], check=True, capture_output=True, encoding="utf-8")
    found = re.search(r'version="([^"]+)"', done.stdout)
    version = f"{TOOL} {found[1] if found else 'of an unknown version'}"
    said = {
        outcome.case.name: outcome.answer["verdict"]
        for outcome in outcomes(THEIRS, read_cases())
        if outcome.supported
    }
    return {"version": version, "answers": said}


def main(arguments: Sequence[str]) -> int:
    """Compare the installed tool with the record, or record it."""
    found = ask()
    if "--record" in arguments:
        RECORD.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
        return 0
    recorded = json.loads(RECORD.read_bytes())
    if found["version"] != recorded["version"]:
        sys.stdout.write(f"recorded with {recorded['version']}; here is {found['version']}\n")
        return 0
    differ = sorted(
        name
        for name in {*found["answers"], *recorded["answers"]}
        if found["answers"].get(name) != recorded["answers"].get(name)
    )
    sys.stdout.write(f"{len(found['answers'])} answers of {TOOL}, differing: {differ}\n")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
