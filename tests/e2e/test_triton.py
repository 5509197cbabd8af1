"""The optional application: Triton in a guest, released, booted and verified like the default one.

Not in the session `e2e`: its inputs are nobody else's. `./do nox -s triton` runs it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from blindllama import AttestedSession
from building_site import Site
from supply_chain.step import StepResult
from tests.e2e.checkout import another_checkout, released

pytestmark = pytest.mark.triton

GENERATE = "/v2/models/ensemble/generate"
BODY = {
    "text_input": "The capital of France is",
    "max_tokens": 3,
    "bad_words": "",
    "stop_words": "",
}


@pytest.fixture(scope="module")
def checkout(
    site: Site, results: Mapping[str, StepResult], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A checkout of its own."""
    assert results
    return another_checkout(site, tmp_path_factory.mktemp("triton") / "checkout")


@pytest.fixture(scope="module")
def session(checkout: Path) -> Iterator[AttestedSession]:
    """A verified session with the application, made and booted by `invoke release --app triton`."""
    with released(checkout, "--app", "triton", "--tokens", "3", says="Paris") as verified:
        yield verified


def test_the_reference_request_is_answered_by_triton(session: AttestedSession) -> None:
    assert session.report.passed
    answer = session.post(GENERATE, json=BODY)
    assert answer.status_code == 200
    assert "Paris" in answer.json()["text_output"]
    with session.post(f"{GENERATE}_stream", json=BODY, stream=True) as stream:
        pieces = [
            json.loads(line.removeprefix(b"data: "))["text_output"]
            for line in stream.iter_lines()
            if line
        ]
    assert len(pieces) > 1
    assert "".join(pieces) == answer.json()["text_output"]


def test_it_is_triton_since_triton_knows_no_chats(session: AttestedSession) -> None:
    """llama-server would answer; what is refused says who is behind the API."""
    chat = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    answer = session.post("/v1/chat/completions", json=chat)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_served")


@pytest.mark.parametrize(
    "path", ["/v2", "/v2/models/ensemble", "/v2/repository/index", "/v2/logging", "/metrics"]
)
def test_no_page_of_triton_itself_is_reached(session: AttestedSession, path: str) -> None:
    assert session.get(path).status_code == 404
    assert session.post(path, json={}).status_code == 404


def test_the_release_names_the_wheel(checkout: Path, session: AttestedSession, site: Site) -> None:
    wheel = site.lock.wheel("nvidia-pytriton")
    bill = json.loads((checkout / "dist" / "release" / "sbom" / "app-disk.cdx.json").read_bytes())
    (found,) = (one for one in bill["components"] if one["name"] == wheel.name)
    assert found["purl"] == f"pkg:pypi/nvidia-pytriton@{wheel.version}"
    assert found["hashes"] == [{"alg": "SHA-256", "content": wheel.sha256.hex}]
    assert session.report.passed
