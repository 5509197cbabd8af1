"""docs/client.md: its examples run against a guest, and its command serves."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from blindllama.session import AttestedSession
from tests.simulators.attested_server import WORDS
from tests.simulators.openai_server import OpenAiServer
from tests.unit.sdk.connect.conftest import Deployed
from tests.unit.sdk.connect.test_proxy_command import proxy_process

WRITTEN_URL = "https://127.0.0.1:8443"


@pytest.fixture
def page(checkout: Path) -> str:
    return (checkout / "docs" / "client.md").read_text("utf-8")


@pytest.fixture
def release(deployed: Deployed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files where the page says that they are."""
    (tmp_path / "dist" / "release").mkdir(parents=True)
    shutil.copy(deployed.folder / "evidence.json", tmp_path / "dist" / "release")
    shutil.copy(deployed.folder / "policy.toml", tmp_path / "dist")
    monkeypatch.chdir(tmp_path)
    deployed.server.application = OpenAiServer(deployed.server)


def test_the_examples_run(
    page: str, deployed: Deployed, release: None, capsys: pytest.CaptureFixture[str]
) -> None:
    examples = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    for example in examples:
        exec(example.replace(WRITTEN_URL, deployed.server.url), names)  # noqa: S102 - our own page
    session = names["session"]
    assert isinstance(session, AttestedSession)
    session.close()
    assert len(examples) == 6
    text = "".join(WORDS)
    # requests, its stream, openai, its asynchronous stream; then the name of the model.
    assert capsys.readouterr().out == f"{text}\n{text}{text}\n{text}smollm2-135m-instruct\n"
    assert names["text"] == text.strip()
    assert deployed.server.attestations == 1


def test_the_command_serves(page: str, deployed: Deployed, release: None) -> None:
    command = re.search(r"^    blindllama (proxy .*)$", page, re.MULTILINE)
    assert command is not None
    arguments = command[1].replace(WRITTEN_URL, deployed.server.url)
    arguments = arguments.replace("127.0.0.1:8080", "127.0.0.1:0")
    with proxy_process(shlex.split(arguments)) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("verified: ")
