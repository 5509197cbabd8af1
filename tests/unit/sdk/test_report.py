from __future__ import annotations

import json
import sys

import pytest

from blindllama._catalogue import catalogue
from blindllama.errors import Code, QuoteError, UsageError
from blindllama.report import LIMITS, TITLES, Report, Status


class Clock:
    """A clock that goes on by a second each time it is asked."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def failed() -> Report:
    report = Report(clock=Clock())
    with report.check(1) as detail:
        detail["platform"] = "qemu-swtpm"
    with pytest.raises(QuoteError), report.check(8):
        raise QuoteError("magic", code=Code.QUOTE_MAGIC, step=8)
    return report


def passed() -> Report:
    report = Report(clock=Clock())
    for step in TITLES:
        with report.check(step) as detail:
            if step == 7:
                detail["limits"] = "the host simulates the TPM"
    return report


def test_a_new_report_has_ten_checks_that_did_not_run() -> None:
    report = Report()
    assert [check.step for check in report.checks] == list(range(1, 11))
    assert {check.status for check in report.checks} == {Status.NOT_RUN}
    assert not report.passed
    assert report.failure is None


def test_a_report_passes_only_when_all_ten_did() -> None:
    report = Report()
    for step in TITLES:
        assert not report.passed
        with report.check(step):
            pass
    assert report.passed
    assert report.failure is None


def test_a_failure_is_recorded_and_goes_on() -> None:
    report = Report()

    def quote() -> None:
        with report.check(8) as detail:
            detail["seen"] = "something"
            raise QuoteError("magic", code=Code.QUOTE_MAGIC, step=8, expected="a", got="b")

    with pytest.raises(QuoteError) as caught:
        quote()
    assert caught.value.report is report
    assert report.failure is not None
    assert dict(report.failure.detail) == {
        "seen": "something",
        "code": "quote.magic",
        "error": "magic; expected a; got b",
    }
    assert report.checks[8].status is Status.NOT_RUN


def test_any_other_exception_fails_the_check_too() -> None:
    report = Report()
    with pytest.raises(KeyboardInterrupt), report.check(3):
        raise KeyboardInterrupt
    assert report.checks[2].status is Status.FAILED


def test_a_check_in_parts_keeps_details_and_adds_time() -> None:
    report = Report(clock=Clock())
    with report.check(10) as detail:
        detail["one"] = "1"
    with report.check(10) as detail:
        detail["two"] = "2"
    check = report.checks[9]
    assert dict(check.detail) == {"one": "1", "two": "2"}
    assert check.elapsed_s == 2.0
    assert check.status is Status.PASSED


@pytest.mark.parametrize("step", [0, 11, -1])
def test_there_is_no_other_check(step: int) -> None:
    with pytest.raises(UsageError), Report().check(step):
        pass


def test_json_has_all_ten() -> None:
    document = json.loads(failed().json_text())
    assert document["version"] == 1
    assert document["passed"] is False
    assert [check["title"] for check in document["checks"]] == list(TITLES.values())
    assert document["checks"][7] == {
        "step": 8,
        "title": "Quote",
        "status": "failed",
        "detail": {"code": "quote.magic", "error": "magic"},
        "elapsed_s": 1.0,
    }


def test_json_says_what_to_do_and_what_is_not_proven() -> None:
    document = failed().to_json()
    assert document["verdict"] == "refused at check 8, Quote: quote.magic"
    assert document["advice"] == catalogue()[Code.QUOTE_MAGIC].advice
    assert document["limits"] == [LIMITS]


def test_the_keys_of_json_are_stable() -> None:
    """A program somewhere reads each of them: adding is free, changing is not."""
    document = failed().to_json()
    assert set(document) >= {"version", "passed", "verdict", "advice", "limits", "checks"}
    checks = document["checks"]
    assert isinstance(checks, list)
    for check in checks:
        assert set(check) >= {"step", "title", "status", "detail", "elapsed_s"}


def test_the_verdict_of_each_kind_of_report() -> None:
    assert passed().verdict == "verified: all ten checks passed"
    assert passed().advice is None
    unfinished = Report()
    with unfinished.check(1):
        pass
    assert unfinished.verdict.startswith("not finished: 1 of 10 checks passed")
    with pytest.raises(KeyboardInterrupt), unfinished.check(2):
        raise KeyboardInterrupt
    assert unfinished.verdict == "refused at check 2, Release: interrupted"
    assert unfinished.advice is None


def test_the_limits_of_the_platform_are_told() -> None:
    assert passed().limits == (LIMITS, "The host simulates the TPM.")
    for shown in (passed().text(), passed().render(color=False), passed().html()):
        assert "not that they are free of faults" in " ".join(shown.split())
        assert "The host simulates the TPM." in shown


@pytest.mark.parametrize("hostile", ["\x1b[2J", "a\nb", "\u202eabc", "\x00"])
def test_details_do_not_steer_a_terminal(hostile: str) -> None:
    report = Report()
    with report.check(7) as detail:
        detail["key"] = hostile + "x" * 10_000
    seen = report.checks[6].detail["key"]
    assert seen.isprintable()
    assert len(seen) == 2000


def test_text_has_a_line_for_each_check() -> None:
    text = str(failed())
    assert "✔  1 Policy (1000 ms)\n     platform: qemu-swtpm\n" in text
    assert "✘  8 Quote (1000 ms)\n     code: quote.magic\n" in text
    assert "· 10 Channel\n" in text


def test_the_table_shows_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    report = failed()
    table = report.render(color=False)
    assert "✘ Quote" in table
    assert "quote.magic" in table
    assert "\x1b" not in table
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert report.render() == report.text()


def test_the_table_takes_no_markup_from_the_wire() -> None:
    report = Report()
    with report.check(6) as detail:
        detail["error"] = "[bold]not markup[/bold]"
    assert "[bold]not markup[/bold]" in report.render(color=False)
