"""How llama-server and the API in front of it are started: the same in the guest and natively."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from engine.spec import EngineSpec

PROGRAM = "/usr/bin/llama-server"


FRONT = ("/usr/bin/python3", "-I", "-m", "front")
"""The program of the API: an isolated Python, which looks into no environment and no directory."""


def server_argv(
    spec: EngineSpec, *, model: PurePosixPath, host: str, port: int | None = None
) -> list[str]:
    """The command of the model server, without any choice left to the machine.

    The answer to a greedy request is then a function of the model, the CPU variant and this list.

    Args:
        spec: The engine that is served.
        model: The model's path where the server runs.
        host: The address to listen on, or the path of a UNIX socket, which ends in `.sock`.
        port: The TCP port to listen on; None with a socket.

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
        *([] if port is None else ["--port", str(port)]),
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
        *(["--embeddings", "--pooling", "mean"] if server.embeddings else []),
    ]


def front_argv(spec: EngineSpec, *, listen: str, socket: PurePosixPath) -> list[str]:
    """The command of the API in front of that server.

    Args:
        spec: The engine that is served.
        listen: Where it serves, `host:port`.
        socket: The UNIX socket of the model server.
    """
    return [
        *FRONT,
        "--listen",
        listen,
        "--kind",
        "llama-server",
        "--server",
        f"unix:{socket}",
        "--model",
        spec.name,
        "--max-tokens",
        str(spec.server.context_tokens),
        "--concurrent",
        str(spec.server.slots),
        *(["--embeddings"] if spec.server.embeddings else []),
    ]
