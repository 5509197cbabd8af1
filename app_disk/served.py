"""What manifests say about the model that they serve, compared with the engine that they get.

Name and numbers stand twice, in `engine.toml` and in the manifests, since both are read and signed
for themselves. Where they differ, one of the two would tell a client something else than it gets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app_disk.front_image import FRONT_NAME
from app_disk.image import SERVER_NAME
from app_disk.manifest import Fault, ManifestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from app_disk.application import App

_EMBEDDINGS = "--embeddings"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedEngine:
    """How an engine is to be served, as its `engine.toml` has it."""

    name: str
    """What the API calls the model."""
    context_tokens: int
    """Prompt and answer together, in tokens."""
    slots: int
    """Requests that are computed at the same time."""
    threads: int
    """Threads of computation."""
    embeddings: bool
    """Whether it is served for vectors and not for text."""


def read_served(manifest: Mapping[str, Any]) -> ServedEngine:
    """How an engine is to be served, out of its `manifest.json`.

    Raises:
        KeyError: The manifest lacks a part.
        TypeError: A part has another form.
    """
    server = manifest["server"]
    return ServedEngine(
        name=str(manifest["name"]),
        context_tokens=int(server["context_tokens"]),
        slots=int(server["slots"]),
        threads=int(server["threads"]),
        embeddings=bool(server["embeddings"]),
    )


def check_served(app: App, engine: ServedEngine) -> None:
    """Nothing: the application serves the engine under its name and by its numbers.

    Only the servers that are made here are known; what an image that was brought does with the
    engine, nothing here can tell.

    Raises:
        ManifestError: A container says something else.
    """
    for workload in app.workloads:
        for container in workload.pod.containers:
            argv = (*container.command, *container.args)
            where = f"pod {workload.name}, container {container.name}"
            match container.image.partition("@")[0]:
                case image if image == SERVER_NAME:
                    _check_server(argv, engine, where)
                case image if image == FRONT_NAME:
                    _check_front(argv, engine, where)


def _check_server(argv: Sequence[str], engine: ServedEngine, where: str) -> None:
    expected = {
        "--alias": engine.name,
        "--ctx-size": str(engine.context_tokens),
        "--parallel": str(engine.slots),
        "--threads": str(engine.threads),
        "--threads-batch": str(engine.threads),
    }
    for option, value in expected.items():
        _check_value(argv, option, value, where)
    _check_embeddings(argv, engine, where)


def _check_front(argv: Sequence[str], engine: ServedEngine, where: str) -> None:
    _check_value(argv, "--model", engine.name, where)
    _check_value(argv, "--concurrent", str(engine.slots), where)
    longest = _values(argv, "--max-tokens")
    if len(longest) != 1 or not longest[0].isdecimal() or int(longest[0]) > engine.context_tokens:
        _refuse(where, f"--max-tokens of at most {engine.context_tokens}", "--max-tokens", longest)
    _check_embeddings(argv, engine, where)


def _check_value(argv: Sequence[str], option: str, expected: str, where: str) -> None:
    if (got := _values(argv, option)) != [expected]:
        _refuse(where, f"{option} {expected}", option, got)


def _check_embeddings(argv: Sequence[str], engine: ServedEngine, where: str) -> None:
    if (_EMBEDDINGS in argv) != engine.embeddings:
        wanted, got = ("", "none") if engine.embeddings else ("no ", _EMBEDDINGS)
        raise _error(where, f"{wanted}{_EMBEDDINGS}", got)


def _values(argv: Sequence[str], option: str) -> list[str]:
    """Return the words that follow an option, each time that it is there."""
    return [value for word, value in zip(argv, [*argv[1:], ""], strict=True) if word == option]


def _refuse(where: str, expected: str, option: str, got: Sequence[str]) -> None:
    raise _error(where, expected, " and ".join(f"{option} {value}" for value in got) or "none")


def _error(where: str, expected: str, got: str) -> ManifestError:
    return ManifestError(
        Fault.ENGINE,
        f"{where}: expected {expected}, as engine.toml has it, got {got}; change one of the two",
    )
