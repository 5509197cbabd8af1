"""What the API answers, against a model server that a test drives."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

from front.work import Settings
from tests.simulators.model_server import ModelServer
from tests.unit.front.conftest import LIMITS, MODEL, SETTINGS, Serve, Served, error_of, events

TEXT = " Paris. It"
PROMPT = {"prompt": "The capital of France is"}
CHAT = {"messages": [{"role": "user", "content": "Capital of France?"}]}
GENERATE = "/v2/models/ensemble/generate"
USAGE = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}

Posted = tuple[int, bytes, dict[str, str]]
_Answer = TypeVar("_Answer")


def asked(
    serve: Serve,
    ask: Callable[[Served], Coroutine[Any, Any, _Answer]],
    server: ModelServer | None = None,
    *,
    settings: Settings = SETTINGS,
    present: bool = True,
) -> _Answer:
    async def run() -> _Answer:
        async with serve(server, settings=settings, present=present) as served:
            return await ask(served)

    return asyncio.run(run())


def test_a_completion_holds_what_the_model_said_and_nothing_else_of_the_server(
    serve: Serve,
) -> None:
    status, body, _ = asked(serve, lambda api: api.post("/v1/completions", PROMPT))

    assert status == 200
    assert json.loads(body) == {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1000,
        "model": MODEL,
        "choices": [{"text": TEXT, "index": 0, "logprobs": None, "finish_reason": "length"}],
        "usage": USAGE,
    }


def test_a_completion_is_streamed_word_by_word(serve: Serve) -> None:
    body = PROMPT | {"stream": True, "stream_options": {"include_usage": True}}
    status, answer, headers = asked(serve, lambda api: api.post("/v1/completions", body))

    *chunks, last, usage, mark = events(answer)
    assert (status, headers["Content-Type"].partition(";")[0]) == (200, "text/event-stream")
    assert [chunk["choices"][0]["text"] for chunk in chunks] == [" Paris", ".", " It"]
    assert last["choices"] == [
        {"text": "", "index": 0, "logprobs": None, "finish_reason": "length"}
    ]
    assert (usage["choices"], usage["usage"], mark) == ([], USAGE, "[DONE]")
    assert b"timings" not in answer
    assert b"cached" not in answer
    assert b"fingerprint" not in answer


def test_a_word_is_sent_on_before_the_next_one_is_there(serve: Serve) -> None:
    async def ask(api: Served) -> bytes:
        body = json.dumps(PROMPT | {"stream": True}).encode()
        async with api.client.post(api.url + "/v1/completions", data=body) as response:
            first = await response.content.readline()
            api.server.release.set()
            return first + await response.read()

    # Nothing would ever come if the API waited for the end: the server holds until it was read.
    answer = asked(serve, ask, server=ModelServer(holds_after=1))
    assert len(events(answer)) == 5


def test_a_chat_is_answered_whole_and_streamed(serve: Serve) -> None:
    async def ask(api: Served) -> tuple[bytes, bytes]:
        whole = await api.post("/v1/chat/completions", CHAT | {"max_completion_tokens": 3})
        return whole[1], (await api.post("/v1/chat/completions", CHAT | {"stream": True}))[1]

    server = ModelServer()
    whole, streamed = asked(serve, ask, server=server)
    choice = json.loads(whole)["choices"][0]
    assert choice["message"] == {"role": "assistant", "content": TEXT}
    assert choice["finish_reason"] == "length"
    deltas = [event["choices"][0]["delta"] for event in events(streamed)[:-1]]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert "".join(delta.get("content", "") for delta in deltas) == TEXT
    assert [path for path, _ in server.asked] == ["/v1/chat/completions"] * 2
    assert [body["max_tokens"] for _, body in server.asked] == [3, LIMITS.max_tokens]


def test_the_reference_api_answers_whole_and_streamed(serve: Serve) -> None:
    async def ask(api: Served) -> tuple[bytes, bytes]:
        body = {"text_input": "What?", "max_tokens": 20, "bad_words": "", "stop_words": ""}
        whole = await api.post(GENERATE, body)
        return whole[1], (await api.post(f"{GENERATE}_stream", body | {"stream": True}))[1]

    server = ModelServer()
    whole, streamed = asked(serve, ask, server=server)
    assert json.loads(whole) == {
        "model_name": "ensemble",
        "model_version": "1",
        "text_output": TEXT,
    }
    assert "".join(event["text_output"] for event in events(streamed)) == TEXT
    (_, first), _ = server.asked
    assert (first["temperature"], first["max_tokens"], first["cache_prompt"]) == (0.0, 20, False)
    assert not {"stop", "grammar"} & set(first)


def test_words_reach_the_server_as_stops_and_as_a_grammar(serve: Serve) -> None:
    server = ModelServer()
    body = {"text_input": "What?", "bad_words": 'Paris, "a, b"', "stop_words": ["\n", "."]}
    status, _, _ = asked(serve, lambda api: api.post(GENERATE, body), server=server)

    ((_, sent),) = server.asked
    assert status == 200
    assert sent["stop"] == ["\n", "."]
    assert sent["grammar"].startswith("root ::= s0\n")


def test_the_one_model_is_listed(serve: Serve) -> None:
    status, body = asked(serve, lambda api: api.get("/v1/models"))

    assert status == 200
    assert [entry["id"] for entry in json.loads(body)["data"]] == [MODEL]


def test_a_model_of_vectors_serves_embeddings_and_no_text(serve: Serve) -> None:
    async def ask(api: Served) -> tuple[Posted, Posted, Posted, tuple[int, bytes]]:
        return (
            await api.post("/v1/embeddings", {"input": ["a", "b"]}),
            await api.post("/v1/embeddings", {"input": "a", "encoding_format": "base64"}),
            await api.post("/v1/completions", PROMPT),
            await api.get("/health"),
        )

    settings = Settings(model=MODEL, limits=LIMITS, embeddings=True)
    plain, packed, text, health = asked(serve, ask, settings=settings)
    answer = json.loads(plain[1])
    assert [entry["embedding"] for entry in answer["data"]] == [[0.25, -0.5], [1.25, -0.5]]
    assert answer["usage"] == {"prompt_tokens": 4, "total_tokens": 4}
    assert json.loads(packed[1])["data"][0]["embedding"] == "AACAPgAAAL8="
    assert (text[0], error_of(text[1])["code"]) == (404, "not_found")
    assert health[0] == 200


@pytest.mark.parametrize(
    "path", ["/props", "/slots", "/metrics", "/completion", "/tokenize", "/v1/embeddings", "/"]
)
def test_no_other_page_of_the_server_is_there(serve: Serve, path: str) -> None:
    async def ask(api: Served) -> tuple[tuple[int, bytes], Posted]:
        return await api.get(path), await api.post(path, {"input": "x"})

    server = ModelServer()
    got, posted = asked(serve, ask, server=server)
    assert (got[0], posted[0]) == (404, 404)
    assert error_of(got[1])["code"] == error_of(posted[1])["code"] == "not_found"
    assert server.asked == []


def test_another_method_is_refused(serve: Serve) -> None:
    status, body = asked(serve, lambda api: api.get("/v1/completions"))

    assert (status, error_of(body)["code"]) == (405, "method_not_allowed")


def test_a_body_beyond_the_limit_is_refused(serve: Serve) -> None:
    server = ModelServer()
    status, body, _ = asked(
        serve, lambda api: api.post("/v1/completions", b" " * (1 << 20) + b"{}"), server=server
    )

    assert (status, error_of(body)["code"], server.asked) == (413, "body_too_large", [])


def test_a_prompt_beyond_the_limit_is_refused_before_it_waits(serve: Serve) -> None:
    server = ModelServer()
    body = {"prompt": "x" * (LIMITS.prompt_characters + 1)}
    status, answer, _ = asked(serve, lambda api: api.post("/v1/completions", body), server=server)

    assert (status, error_of(answer)["code"]) == (400, "prompt_too_long")
    assert server.asked == []


def test_a_prompt_beyond_the_context_is_refused_with_its_tokens(serve: Serve) -> None:
    error = {"type": "exceed_context_size_error", "n_prompt_tokens": 901, "n_ctx": 512}
    server = ModelServer(refusal=(400, {"error": error}))
    # Streamed too: the status is not sent before the server has taken the request.
    body = PROMPT | {"stream": True}
    status, answer, _ = asked(serve, lambda api: api.post("/v1/completions", body), server=server)

    assert (status, error_of(answer)["code"]) == (400, "context_length_exceeded")
    assert error_of(answer)["message"] == "prompt; expected at most 512 tokens; got 901"


@pytest.mark.parametrize(
    ("refusal", "status", "code"),
    [
        ((400, {"error": {"message": "The capital"}}), 400, "invalid_value"),
        ((500, {"error": {"message": "The capital"}}), 502, "server_failed"),
        ((503, {}), 502, "server_failed"),
    ],
)
def test_what_the_server_says_about_a_refusal_is_not_repeated(
    serve: Serve, refusal: tuple[int, dict[str, Any]], status: int, code: str
) -> None:
    server = ModelServer(refusal=refusal)
    found, body, _ = asked(serve, lambda api: api.post("/v1/completions", PROMPT), server=server)

    assert (found, error_of(body)["code"]) == (status, code)
    assert b"capital" not in body


def test_a_server_that_is_not_there_is_said_to_come_back(serve: Serve) -> None:
    status, body, headers = asked(
        serve, lambda api: api.post("/v1/completions", PROMPT), present=False
    )

    assert (status, error_of(body)["code"]) == (503, "server_unavailable")
    assert headers["Retry-After"] == "5"


@pytest.mark.parametrize("broken", ["breaks_after", "ends_after"])
def test_an_answer_that_breaks_off_is_never_taken_for_a_whole_one(
    serve: Serve, broken: str
) -> None:
    async def ask(api: Served) -> tuple[Posted, Posted]:
        whole = await api.post("/v1/completions", PROMPT)
        return whole, await api.post("/v1/completions", PROMPT | {"stream": True})

    server = ModelServer()
    setattr(server, broken, 2)
    whole, streamed = asked(serve, ask, server=server)
    assert (whole[0], error_of(whole[1])["code"]) == (502, "server_failed")
    *pieces, last = events(streamed[1])
    assert [piece["choices"][0]["text"] for piece in pieces] == [" Paris", "."]
    assert last["error"]["code"] == "server_failed"
