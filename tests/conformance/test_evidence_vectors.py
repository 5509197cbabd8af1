from __future__ import annotations

import json
from pathlib import Path

import pytest

from blindllama.errors import VerificationError
from tests.conformance.mutate import MUTATIONS, reject_files
from tests.conformance.vector import HOME, read_case

ACCEPTED = sorted((HOME / "accept").glob("*.json"))
FORGED = json.loads((HOME / "forged" / "cases.json").read_text())
REJECTED = json.loads((HOME / "reject" / "cases.json").read_text())


@pytest.mark.parametrize("path", ACCEPTED, ids=lambda path: path.stem)
def test_accepts(path: Path) -> None:
    case = read_case()
    verified = case.verify(path.read_bytes())
    assert verified.spki == case.spki
    assert all(verified.values[pcr] == value for pcr, value in case.expected.values.items())


@pytest.mark.parametrize("name", REJECTED)
def test_rejects(name: str) -> None:
    wanted = REJECTED[name]
    case = read_case().with_changes(wanted["case"])
    with pytest.raises(VerificationError) as caught:
        case.verify((HOME / "reject" / f"{name}.json").read_bytes())
    assert (caught.value.code.value, caught.value.step) == (wanted["code"], wanted["step"])


@pytest.mark.parametrize("name", FORGED)
def test_refuses_what_a_tpm_signed_for_an_attacker(name: str) -> None:
    with pytest.raises(VerificationError) as caught:
        read_case().verify((HOME / "forged" / f"{name}.json").read_bytes())
    assert caught.value.code.value == FORGED[name]


def test_reject_vectors_are_what_the_mutations_make() -> None:
    made = dict(reject_files())
    found = {path.name: path.read_bytes() for path in (HOME / "reject").iterdir()}
    assert found == made


def test_mutations_have_names_of_their_own() -> None:
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)


def test_golden_evidence_is_accepted() -> None:
    golden = HOME.parent / "golden"
    case = read_case(golden / "evidence-v1.case.json")
    assert case.verify((golden / "evidence-v1.json").read_bytes()).spki == case.spki
