"""Triton's own server on a CPU before the same model: the same client code talks to it.

Runs where `./do nox -s triton` has installed the wheel.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import httpx
import pytest

from engine.spec import EngineSpec, read_spec
from engine.triton_cpu.server import TritonError, TritonHome, write_repository
from supply_chain.inputs.lock import Lock
from supply_chain.inputs.locked import LockedInputs
from supply_chain.workspace import Workspace
from tests.simulators.native_front import free_port, front, llama, running, write_server_root

PATH = "/v2/models/ensemble/generate"
BODY = {
    "text_input": "The capital of France is",
    "max_tokens": 8,
    "bad_words": "",
    "stop_words": "",
}


def generate(url: str, body: dict[str, object]) -> str:
    """The answer to the reference's request, whoever gives it."""
    answer = httpx.post(url + PATH, json=body, timeout=120, trust_env=False)
    answer.raise_for_status()
    document = answer.json()
    assert set(document) == {"model_name", "model_version", "text_output"}
    return str(document["text_output"])


def stream(url: str, body: dict[str, object]) -> list[str]:
    """The pieces of a streamed answer."""
    pieces = []
    call = {"json": body, "timeout": 120, "trust_env": False}
    with httpx.stream("POST", f"{url}{PATH}_stream", **call) as answer:  # type: ignore[arg-type] # by name
        answer.raise_for_status()
        for line in answer.iter_lines():
            if line:
                document = httpx.Response(200, content=line.removeprefix("data: ")).json()
                pieces.append(str(document["text_output"]))
    return pieces


@pytest.fixture(scope="module")
def spec(checkout: Path) -> EngineSpec:
    return read_spec(checkout / "engine" / "engine.toml")


@pytest.fixture(scope="module")
def urls(
    spec: EngineSpec, checkout: Path, lock: Lock, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """Triton, the API in front of Triton, and the API in front of llama-server: one model."""
    workspace = Workspace.at(checkout, os.environ)
    home = TritonHome.at(workspace.cache / "triton")
    work = tmp_path_factory.mktemp("triton")
    write_server_root(work / "root", LockedInputs.at(workspace, lock), spec)
    home.write_backends(work / "backends")
    port = free_port()
    argv = home.argv(
        repository=work / "models", backends=work / "backends", host="127.0.0.1", port=port
    )
    url = f"http://127.0.0.1:{port}"
    with llama(work / "root", spec, work / "llama.log") as server:
        write_repository(work / "models", socket=PurePosixPath(server.socket), model=spec.name)
        with (
            running(
                argv, work / "triton.log", ready=f"{url}/v2/health/ready", env=home.environment
            ),
            front(spec, url, work / "front-triton.log", kind="triton") as before_triton,
            front(spec, f"unix:{server.socket}", work / "front.log") as before_llama,
        ):
            yield {"triton": url, "API of Triton": before_triton, "API": before_llama}


@pytest.mark.triton
@pytest.mark.root
@pytest.mark.parametrize("server", ["triton", "API of Triton"])
def test_the_same_client_gets_the_same_answers(urls: dict[str, str], server: str) -> None:
    url, expected = urls[server], generate(urls["API"], BODY)

    assert "Paris" in expected
    assert generate(url, BODY) == expected
    pieces = stream(url, BODY | {"stream": True})
    assert "".join(pieces) == expected
    assert len(pieces) > 1


@pytest.mark.triton
@pytest.mark.root
@pytest.mark.parametrize("server", ["triton", "API of Triton"])
def test_words_are_heeded(urls: dict[str, str], server: str) -> None:
    body = BODY | {"max_tokens": 12, "bad_words": "Paris, London", "stop_words": "is"}
    expected = generate(urls["API"], body)

    assert expected
    assert not {"Paris", "London"} & set(expected.split())
    assert generate(urls[server], body) == expected


@pytest.mark.triton
@pytest.mark.root
def test_triton_has_no_input_for_what_callers_may_not_choose(urls: dict[str, str]) -> None:
    for extra in ({"lora_path": ["/etc"]}, {"image_url_input": ["http://127.0.0.1/"]}):
        answer = httpx.post(urls["triton"] + PATH, json=BODY | extra, timeout=60, trust_env=False)
        assert answer.status_code == 400
        answer = httpx.post(urls["API of Triton"] + PATH, json=BODY | extra, trust_env=False)
        assert answer.json()["error"]["code"] == "unknown_field"


@pytest.mark.triton
@pytest.mark.root
def test_the_api_is_ready_since_triton_speaks(urls: dict[str, str]) -> None:
    health = httpx.get(urls["API of Triton"] + "/health", timeout=60, trust_env=False)
    assert health.status_code == 200
    chat = {"messages": [{"role": "user", "content": "Hi"}]}
    answer = httpx.post(
        urls["API of Triton"] + "/v1/chat/completions", json=chat, timeout=60, trust_env=False
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_served")


def test_an_environment_without_triton_is_named(tmp_path: Path) -> None:
    with pytest.raises(TritonError, match="run ./do nox -s triton") as caught:
        TritonHome.at(tmp_path)
    assert caught.value.code == "engine.triton"


def test_a_python_without_a_stub_is_named(tmp_path: Path) -> None:
    packages = tmp_path / "lib" / "python3.99" / "site-packages"
    (packages / "pytriton" / "tritonserver").mkdir(parents=True)
    with pytest.raises(TritonError, match=r"a stub for Python 3\.99") as caught:
        TritonHome.at(tmp_path)
    assert caught.value.code == "engine.triton"


def test_the_repository_is_whole_by_itself(tmp_path: Path) -> None:
    write_repository(tmp_path / "models", socket=PurePosixPath("/run/x.sock"), model="m")

    text = (tmp_path / "models" / "ensemble" / "config.pbtxt").read_text("ascii")
    assert 'parameters { key: "socket" value { string_value: "/run/x.sock" } }' in text
    version = tmp_path / "models" / "ensemble" / "1"
    sources = [path.read_text("utf-8") for path in version.rglob("*.py")]
    # The stub's Python has neither aiohttp nor pydantic.
    assert not any(
        f"import {name}" in text or f"from {name}" in text
        for text in sources
        for name in ("aiohttp", "pydantic")
    )
    shared = {path.stem for path in (version / "front").glob("*.py")}
    needed = {
        line.split()[1].partition(".")[2]
        for text in sources
        for line in text.splitlines()
        if line.strip().startswith("from front.")
    }
    assert needed <= shared
