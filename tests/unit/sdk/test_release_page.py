"""The page of a release: all that was verified is in it, and nothing that was not."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from blindllama.errors import UsageError
from blindllama.page import release_page
from blindllama.release import VerifiedRelease, verify_release
from blindllama.report import Report
from tests.simulators.release_folder import made_folder
from tests.unit.sdk.test_report_html import HOSTILE, Page

BILL_PATH = "sbom/os-image.cdx.json"


def bill(*components: dict[str, object]) -> bytes:
    return json.dumps({"bomFormat": "CycloneDX", "components": components}).encode()


BILL = bill(
    {"type": "library", "name": "libc6", "version": "2.41", "licenses": [{"expression": "LGPL"}]},
    {"type": "file", "name": "etc/hosts"},
    {"type": "library", "name": "named", "licenses": [{"license": {"name": HOSTILE[0]}}]},
    {"type": "library", "name": HOSTILE[1], "licenses": [{"license": {"id": "MIT"}}]},
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[VerifiedRelease, bytes, Report]:
    folder = tmp_path_factory.mktemp("release")
    signed = made_folder(folder, more={BILL_PATH: BILL}, bundles=lambda *_: {})
    evidence = (folder / "release" / "evidence.json").read_bytes()
    report = Report()
    return (
        verify_release(evidence, signed.policy, datetime.now(UTC), report=report),
        evidence,
        report,
    )


def page_of(made: tuple[VerifiedRelease, bytes, Report], *, with_bill: bytes = BILL) -> str:
    release, evidence, report = made
    return release_page(
        report,
        release=release,
        evidence=evidence,
        bills_of_materials={"b": with_bill},
        built=[("engine", 2.0), ("measure", 8.0)],
    )


def test_every_artefact_and_register_is_there(
    made: tuple[VerifiedRelease, bytes, Report],
) -> None:
    words = " ".join(Page(page_of(made)).words)
    release = made[0]
    for name, digest in (*release.artifacts.items(), *release.files.items()):
        assert name in words
        assert digest in words
    for value in release.expected.values.values():
        assert value.hex() in words
    for events in release.expected.events.values():
        for event in events:
            assert event.digest.hex() in words
            assert event.source in words
    assert release.signer in words


def test_what_was_not_verified_is_not_there() -> None:
    page = Page(release_page(Report()))
    words = " ".join(page.words)
    assert "What was signed" not in words
    assert "What is measured" not in words
    assert "script" not in page.tags()
    assert "✔" not in words


def test_the_picture_says_in_words_what_it_shows(
    made: tuple[VerifiedRelease, bytes, Report],
) -> None:
    words = "".join(Page(page_of(made)).words)
    assert "release: passed, guest: not run, you: not run" in words


def test_components_stay_text(made: tuple[VerifiedRelease, bytes, Report]) -> None:
    text = page_of(made)
    page = Page(text)
    words = "".join(page.words)
    for shown in ("libc6", "2.41", "LGPL", "etc/hosts", "MIT", HOSTILE[0], HOSTILE[1]):
        assert shown in words
    assert page.tags().count("script") == 1
    assert "img" not in page.tags()
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name in {"src", "href"}]


def test_bars_are_in_proportion(made: tuple[VerifiedRelease, bytes, Report]) -> None:
    text = page_of(made)
    assert '<th scope="row">engine</th><td>2.000</td>' in text.replace("\n", "")
    assert '<rect width="25.00" height="8"/>' in text
    assert '<rect width="100.00" height="8"/>' in text


def test_a_bill_of_another_release(made: tuple[VerifiedRelease, bytes, Report]) -> None:
    with pytest.raises(UsageError, match="expected a file of"):
        page_of(made, with_bill=bill())


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"components": [{"name": "x"}]}', bill({})])
def test_a_file_of_the_release_that_is_no_bill(
    made: tuple[VerifiedRelease, bytes, Report], tmp_path: Path, content: bytes
) -> None:
    signed = made_folder(tmp_path, more={BILL_PATH: content}, bundles=lambda *_: {})
    evidence = (tmp_path / "release" / "evidence.json").read_bytes()
    release = verify_release(evidence, signed.policy, datetime.now(UTC))
    assert hashlib.sha256(content).hexdigest() in release.files.values()
    with pytest.raises(UsageError, match="expected CycloneDX"):
        release_page(
            Report(), release=release, evidence=evidence, bills_of_materials={"b": content}
        )
