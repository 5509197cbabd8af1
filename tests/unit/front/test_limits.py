"""How many, how long, and who goes away: with counters and events, never with a clock."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace

import pytest

from front.ready import KEPT_S
from tests.simulators.model_server import ModelServer
from tests.unit.front.conftest import LIMITS, Serve, error_of, events

PROMPT = {"prompt": "The capital of France is"}


def test_one_more_than_may_wait_is_sent_away_and_the_others_are_answered(serve: Serve) -> None:
    async def run() -> None:
        async with serve(
            ModelServer(holds_after=1, busy_at=2), limits=replace(LIMITS, concurrent=2, waiting=3)
        ) as api:
            first = [asyncio.create_task(api.post("/v1/completions", PROMPT)) for _ in range(2 + 3)]
            await api.server.busy.wait()
            # The three that wait have no other sign than the refusal of a sixth.
            refused = None
            while refused is None or refused[0] == 200:
                asking = asyncio.create_task(api.post("/v1/completions", PROMPT))
                done, _ = await asyncio.wait({asking}, timeout=0.2)
                if not done:
                    first.append(asking)
                    continue
                refused = asking.result()
            assert (refused[0], error_of(refused[1])["code"]) == (503, "overloaded")
            assert refused[2]["Retry-After"] == "5"
            api.server.release.set()
            answers = await asyncio.gather(*first)
            assert {status for status, _, _ in answers} <= {200, 503}
            assert [status for status, _, _ in answers].count(200) >= 5
            assert api.server.most_inside == 2

    asyncio.run(run())


@pytest.mark.parametrize("streaming", [False, True])
def test_who_goes_away_ends_the_work(serve: Serve, streaming: bool) -> None:
    async def run() -> None:
        async with serve(ModelServer(holds_after=1)) as api:
            body = json.dumps(PROMPT | {"stream": streaming}).encode()
            asking = asyncio.create_task(
                api.client.post(api.url + "/v1/completions", data=body).__aenter__()
            )
            await api.server.said.wait()
            if streaming:
                (await asking).close()
            else:
                asking.cancel()
            await api.server.gone.wait()
            # The turn is free again.
            api.server.holds_after = None
            assert (await api.post("/v1/completions", PROMPT))[0] == 200

    asyncio.run(run())


def test_who_waits_and_goes_away_frees_the_place(serve: Serve) -> None:
    async def run() -> None:
        async with serve(ModelServer(holds_after=1), limits=replace(LIMITS, waiting=1)) as api:
            computing = asyncio.create_task(api.post("/v1/completions", PROMPT))
            await api.server.said.wait()
            for _ in range(3):
                waiting = asyncio.create_task(api.post("/v1/completions", PROMPT))
                done, _ = await asyncio.wait({waiting}, timeout=0.2)
                assert not done
                waiting.cancel()
                await asyncio.wait({waiting})
            api.server.release.set()
            assert (await computing)[0] == 200
            assert len(api.server.asked) == 1

    asyncio.run(run())


@pytest.mark.parametrize("streaming", [False, True])
def test_an_answer_that_takes_too_long_is_ended(serve: Serve, streaming: bool) -> None:
    async def run() -> None:
        async with serve(ModelServer(holds_after=1), limits=replace(LIMITS, time_s=0.3)) as api:
            status, body, _ = await api.post("/v1/completions", PROMPT | {"stream": streaming})
            if streaming:
                # The first word is there or not: how fast this machine is decides nothing.
                *pieces, last = events(body)
                assert [piece["choices"][0]["text"] for piece in pieces] in ([], [" Paris"])
                assert last["error"]["code"] == "time_limit"
            else:
                assert (status, error_of(body)["code"]) == (504, "time_limit")
            await api.server.gone.wait()

    asyncio.run(run())


def test_readiness_is_one_token_that_the_model_has_said(serve: Serve) -> None:
    async def run() -> None:
        async with serve() as api:
            assert (await api.get("/health"))[0] == 200
            ((path, body),) = api.server.asked
            assert (path, body["max_tokens"], body["cache_prompt"]) == ("/v1/completions", 1, False)
            assert (await api.get("/health"))[0] == 200
            assert len(api.server.asked) == 1
            # Once it is old, the model is asked again, and may have gone.
            api.time[0] += KEPT_S
            api.server.refusal = (500, {})
            status, answer = await api.get("/health")
            assert (status, error_of(answer)["code"]) == (503, "server_unavailable")
            assert len(api.server.asked) == 2
            # What anybody was answered counts as well.
            api.server.refusal = None
            assert (await api.post("/v1/completions", PROMPT))[0] == 200
            assert (await api.get("/health"))[0] == 200
            assert len(api.server.asked) == 3

    asyncio.run(run())


def test_a_model_that_says_nothing_is_not_ready(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("front.ready.PATIENCE_S", 0.1)

    async def run() -> None:
        async with serve(ModelServer(holds_after=0)) as api:
            for _ in range(3):
                assert (await api.get("/health"))[0] == 503
            # One token is asked for, however many want to know.
            assert len(api.server.asked) == 1
            api.server.release.set()
            while (await api.get("/health"))[0] != 200:
                pass
            assert len(api.server.asked) == 1

    asyncio.run(run())


def test_a_server_that_computes_for_somebody_is_ready_until_that_takes_too_long(
    serve: Serve,
) -> None:
    async def run() -> None:
        async with serve(limits=replace(LIMITS, time_s=5.0)) as api:
            assert (await api.get("/health"))[0] == 200
            api.server.holds_after = 1
            asking = asyncio.create_task(api.post("/v1/completions", PROMPT))
            await api.server.said.wait()
            api.time[0] += 2 * KEPT_S
            assert (await api.get("/health"))[0] == 200
            assert (await asking)[0] == 504
            api.server.refusal = (500, {})
            assert (await api.get("/health"))[0] == 503

    asyncio.run(run())


def test_nothing_of_a_request_or_of_a_fault_is_logged(
    serve: Serve, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "my secret prompt"

    def fail(*_: object) -> None:
        raise RuntimeError(secret)

    async def run() -> None:
        async with serve() as api:
            await api.post("/v1/completions", {"prompt": secret})
            await api.post("/v1/completions", {"prompt": secret, "seed": secret})
            await api.get(f"/{secret.replace(' ', '-')}")
            monkeypatch.setattr("front.api.parse_body", fail)
            status, body, _ = await api.post("/v1/completions", {"prompt": secret})
            assert (status, error_of(body)["code"]) == (502, "server_failed")
            assert secret.encode() not in body

    with caplog.at_level(logging.DEBUG):
        asyncio.run(run())
    # The fault is told by its kind.
    assert "failed: RuntimeError" in caplog.text
    assert "secret" not in caplog.text
