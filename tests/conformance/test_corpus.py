from __future__ import annotations

import ast
import json
import sys
from collections import Counter
from pathlib import Path

import pytest

from blindllama.errors import Code
from tests.conformance import run
from tests.conformance.azure import AZURE, azure_cases
from tests.conformance.cases import case_files, mutations
from tests.conformance.corpus import HOME, Case, difference, expand, read_cases, read_document
from tests.conformance.page import rows
from tests.conformance.subject import answer
from tests.conformance.vector import read_case

CASES = list(read_cases())
ROWS = tuple(
    f"{group}{number}"
    for group, most in (("Q", 6), ("C", 4), ("S", 7), ("T", 5))
    for number in range(1, most + 1)
)
"""The rows of ATTACKS that are about quotes, chains, the supply chain, and client and channel."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_sdk_answers_rightly(case: Case) -> None:
    assert answer(case.request()) == case.expected.wire()


@pytest.mark.parametrize("case", list(azure_cases()), ids=lambda case: case.name)
def test_the_sdk_answers_rightly_about_azure(case: Case) -> None:
    assert answer(case.request()) == case.expected.wire()


@pytest.mark.skipif(not AZURE.is_dir(), reason="no documents of real machines beside the checkout")
def test_azure_is_asked_where_it_is_there() -> None:
    assert len(list(azure_cases())) == 7


def test_the_cases_are_what_the_mutations_make() -> None:
    made = dict(case_files())
    found = {path.name: path.read_bytes() for path in (HOME / "cases").iterdir()}
    assert found == made


def test_cases_have_names_of_their_own() -> None:
    names = Counter(f"{one.attack}-{one.verify}-{one.name}" for one in mutations())
    assert names.most_common(1)[0][1] == 1
    assert all(f"{case.name}.json" == path.name for case, path in _with_paths())


def _with_paths() -> list[tuple[Case, Path]]:
    return list(zip(CASES, sorted((HOME / "cases").iterdir()), strict=True))


def test_there_are_enough_of_them_and_few_bytes() -> None:
    assert sum(case.expected.verdict == "reject" for case in CASES) >= 120
    assert sum(path.stat().st_size for path in HOME.rglob("*") if path.is_file()) < 6 << 20


def test_every_row_has_a_case_or_a_test() -> None:
    held = {case.attack for case in CASES} | rows().keys()
    assert set(ROWS) - held == set()


@pytest.mark.parametrize("row", rows())
def test_the_tests_of_a_row_are_there(row: str, checkout: Path) -> None:
    assert rows()[row]["tests"]
    for test in rows()[row]["tests"]:
        path, _, name = test.partition("::")
        tree = ast.parse((checkout / path).read_text("utf-8"))
        names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert name in names, test


def test_every_code_of_evidence_has_a_case() -> None:
    """Those of the steps 6 to 9 that a document can provoke."""
    families = ("evidence.", "ak.", "quote.", "measurement.")
    live = {
        Code.EVIDENCE_STATUS,  # the answer around the document
        Code.EVIDENCE_CONTENT_TYPE,
        Code.MEASUREMENT_EVENTS,  # the log explains and never decides
        Code.MEASUREMENT_UNLISTED,  # only Azure has such registers, and its root is real
        Code.QUOTE_SIGNER,  # likewise: only Azure's keys have a template
    }
    wanted = {code for code in Code if code.value.startswith(families)} - live
    assert wanted <= {Code(case.expected.code) for case in CASES if case.expected.code}


@pytest.mark.parametrize(
    "changed",
    [
        b"",
        b"{}",
        read_document("alone"),
        read_document("alone")[:-1],
        b"x" + read_document("alone"),
        read_document("alone") * 2,
        read_document("alone")[:100] + b"\xff\xfe" + read_document("alone")[90:],
        read_document("alone") + b" " * 5000,
    ],
    ids=len,
)
def test_a_difference_makes_the_document_again(changed: bytes) -> None:
    wire = {
        "name": "n",
        "attack": None,
        "verify": "evidence",
        "document": difference("alone", changed),
        "given": {"of": "evidence"},
        "expected": {"verdict": "accept"},
    }
    assert expand(wire).document == changed


def test_a_command_is_asked_by_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main([]) == 0
    assert f"{len(run.all_cases())} cases" in capsys.readouterr().out


def _saying(answers: str) -> list[str]:
    return [
        "--",
        sys.executable,
        "-c",
        f"import sys\nfor line in sys.stdin: print({answers!r}, flush=True)",
    ]


def test_a_verifier_that_accepts_everything_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(_saying(json.dumps({"verdict": "accept"}))) == 1
    rejects = sum(case.expected.verdict == "reject" for case in run.all_cases())
    assert f", {rejects} wrong, 0 not supported" in capsys.readouterr().out


def test_what_is_not_supported_is_not_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(_saying(json.dumps({"verdict": "unsupported"}))) == 0
    assert capsys.readouterr().out.startswith("0 cases (0 to reject), 0 wrong")


@pytest.mark.parametrize("said", ["", "yes", "[]", '{"verdict": "perhaps"}'])
def test_an_answer_that_is_none_ends_it(said: str) -> None:
    with pytest.raises(RuntimeError, match=r"case \S+: the command"):
        run.main(_saying(said))


def test_golden_evidence_is_accepted() -> None:
    golden = HOME.parent / "golden"
    case = read_case(golden / "evidence-v1.case.json")
    assert case.verify((golden / "evidence-v1.json").read_bytes()).spki == case.spki
