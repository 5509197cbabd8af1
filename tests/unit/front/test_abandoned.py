"""The file of a killed server's socket makes room for the next one's."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from front.abandoned import PATIENCE_S, AbandonedSocket
from tests.simulators.model_server import ModelServer, serving
from tests.unit.front.conftest import Serve, error_of

PROMPT = {"prompt": "x"}


def leave(path: Path) -> None:
    """A socket's file whose server is gone."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as gone:
        gone.bind(str(path))


def test_a_file_goes_when_it_has_refused_for_some_time(tmp_path: Path) -> None:
    path, now = tmp_path / "s.sock", [0.0]
    leave(path)
    watched = AbandonedSocket(path, lambda: now[0])

    watched.refused()
    now[0] += PATIENCE_S / 2
    watched.refused()
    assert path.exists()
    now[0] += PATIENCE_S / 2
    watched.refused()
    assert not path.exists()
    watched.refused()


def test_a_new_servers_file_is_given_its_own_time(tmp_path: Path) -> None:
    path, now = tmp_path / "s.sock", [0.0]
    leave(path)
    watched = AbandonedSocket(path, lambda: now[0])
    watched.refused()
    now[0] += 10 * PATIENCE_S
    # The next server has bound, and does not listen yet. (Both files exist at once, so that they
    # are told apart.)
    leave(tmp_path / "next.sock")
    (tmp_path / "next.sock").replace(path)
    watched.refused()
    assert path.exists()


def test_the_api_makes_room_and_answers_again(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("front.abandoned.PATIENCE_S", 0.0)

    async def run() -> None:
        leave(serve.socket)
        async with serve(present=False) as api:
            for _ in range(2):
                status, body, _ = await api.post("/v1/completions", PROMPT)
                assert (status, error_of(body)["code"]) == (503, "server_unavailable")
            assert not serve.socket.exists()
            async with serving(ModelServer(), serve.socket):
                assert (await api.post("/v1/completions", PROMPT))[0] == 200

    asyncio.run(run())
