"""Pages in a real browser: they render, nothing is refused or missing, and everybody can use them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from blindllama.errors import Code, MeasurementError, VerificationError
from blindllama.page import release_page
from blindllama.policy import Policy
from blindllama.release import VerifiedRelease, verify_release
from blindllama.report import Report
from tests.browser.chromium import PROGRAM, axe_source, rendered, violations
from tests.simulators.release_folder import made_folder

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        PROGRAM is None or not axe_source().exists(), reason="needs chromium and axe-core"
    ),
]

BILL = json.dumps(
    {
        "components": [
            {"type": "library", "name": name, "version": "1", "licenses": [{"expression": licence}]}
            for name, licence in (("libc6", "LGPL-2.1-or-later"), ("caddy", "Apache-2.0"))
        ]
    }
).encode()


@dataclass(frozen=True, kw_only=True)
class Made:
    release: VerifiedRelease
    evidence: bytes
    policy: Policy
    report: Report


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("release")
    signed = made_folder(folder, more={"sbom/os-image.cdx.json": BILL}, bundles=lambda *_: {})
    ticks = iter(range(100))
    report = Report(clock=lambda: next(ticks) / 7)
    evidence = (folder / "release" / "evidence.json").read_bytes()
    release = verify_release(evidence, signed.policy, datetime.now(UTC), report=report)
    return Made(release=release, evidence=evidence, policy=signed.policy, report=report)


def passed(made: Made) -> Report:
    for number in range(6, 11):
        with made.report.check(number) as detail:
            detail["seen"] = "a guest"
    return made.report


def whole_page(made: Made, report: Report) -> str:
    return release_page(
        report,
        release=made.release,
        evidence=made.evidence,
        bills_of_materials={"os-image.cdx.json": BILL},
        built=[("engine", 3.0), ("app-disk", 12.5)],
    )


def test_a_page_about_a_verified_guest(made: Made) -> None:
    page = whole_page(made, passed(made))
    shown, complaints = rendered(page)
    assert complaints == []
    # The program has run, under the page's own policy: it shows the field and counts.
    assert '<div class="search"><label' in shown
    assert '<p id="found" role="status">2 of 2</p>' in shown
    assert "Verified: all ten checks passed" in shown


def test_a_table_that_is_searched(made: Made) -> None:
    typed = 'find.value = "apache CADDY"; find.dispatchEvent(new Event("input"));'
    shown, _ = rendered(whole_page(made, passed(made)), script=typed)
    assert '<p id="found" role="status">1 of 2</p>' in shown
    assert '<tr hidden=""><td>libc6</td>' in shown


def test_a_page_is_good_for_everybody(made: Made) -> None:
    assert violations(whole_page(made, passed(made))) == []


def test_axe_would_have_found_something(made: Made) -> None:
    page = whole_page(made, passed(made)).replace('<label for="find">', "<span>")
    assert "label" in {one["id"] for one in violations(page)}


def test_a_refused_guest_is_red_and_says_why(made: Made) -> None:
    report = Report()
    for number in range(1, 9):
        with report.check(number):
            pass
    with pytest.raises(VerificationError), report.check(9):
        raise MeasurementError(
            "PCR 9", code=Code.MEASUREMENT_MISMATCH, step=9, expected="aa", got="bb"
        )
    page = whole_page(made, report)
    shown, complaints = rendered(page)
    assert complaints == []
    assert "Refused at check 9, Measurements: measurement.mismatch" in shown
    assert violations(page) == []
    asked = (
        'document.body.dataset.color = getComputedStyle(document.querySelector("h1")).color;'
        'document.body.dataset.box = document.querySelector(".picture .failed text").textContent;'
    )
    shown, _ = rendered(page, script=asked)
    assert 'data-color="rgb(163, 22, 27)"' in shown
    assert 'data-box="✘ guest"' in shown


def test_a_tampered_release_is_red(made: Made, tmp_path: Path) -> None:
    report = Report()
    touched = made.evidence.replace(b'"sig": "M', b'"sig": "N', 1)
    assert touched != made.evidence
    with pytest.raises(VerificationError):
        verify_release(touched, made.policy, datetime.now(UTC), report=report)
    shown, complaints = rendered(release_page(report))
    assert complaints == []
    assert "Refused at check 2" in shown
    assert 'class="verdict failed"' in shown
    assert violations(release_page(report)) == []
