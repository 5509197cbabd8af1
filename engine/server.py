"""How llama-server is started: one list of arguments for the guest and for native runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from engine.spec import EngineSpec

PROGRAM = "/usr/bin/llama-server"


def server_argv(spec: EngineSpec, *, model: PurePosixPath, host: str, port: int) -> list[str]:
    """The command of the model server, without any choice left to the machine.

    The answer to a greedy request is then a function of the model, the CPU variant and this list.

    Args:
        spec: The engine that is served.
        model: The model's path where the server runs.
        host: The address to listen on.
        port: The TCP port to listen on.

    Source: llama.cpp, tools/server/README.md.
    """
    server = spec.server
    return [
        PROGRAM,
        "--model",
        str(model),
        "--alias",
        spec.name,
        "--host",
        host,
        "--port",
        str(port),
        "--ctx-size",
        str(server.context_tokens),
        "--parallel",
        str(server.slots),
        "--threads",
        str(server.threads),
        "--threads-batch",
        str(server.threads),
        # A cached prefix answers twenty times faster and so tells what others have asked.
        "--no-cache-prompt",
        "--cache-ram",
        "0",
        "--ctx-checkpoints",
        "0",
        # The slots page shows the prompts and answers of others.
        "--no-slots",
        "--no-webui",
        # Warnings and errors only: lengths and timings of requests stay out of the log as well.
        "--verbosity",
        "2",
        # Never fetch a model, whatever a request names.
        "--offline",
        # A run over an empty batch costs seconds under emulation and changes no answer.
        "--no-warmup",
    ]
