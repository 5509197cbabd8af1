"""What each kind of server is asked, and what its answers mean."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from front.dialect import (
    KINDS,
    AnswerFormError,
    Dialect,
    LlamaDialect,
    OpenAiDialect,
    TritonDialect,
    dialect,
    embeddings,
)
from front.errors import ApiError
from front.task import Message, Piece, Sampling, Task, Usage
from tests.simulators.model_server import ModelServer
from tests.unit.front.conftest import Serve, error_of

SAMPLING = Sampling(max_tokens=8, temperature=0.0, seed=0, stop=(".",))
TEXT = Task(prompt="Once", sampling=SAMPLING)
CHAT = Task(prompt=(Message(role="user", content="Hi"),), sampling=SAMPLING)
FORBIDDING = Task(
    prompt="Once", sampling=Sampling(max_tokens=8, temperature=0.0, bad_words=("upon",))
)


def test_each_kind_has_its_dialect() -> None:
    assert [type(dialect(kind, "m")) for kind in KINDS] == [
        LlamaDialect,
        OpenAiDialect,
        TritonDialect,
    ]


@pytest.mark.parametrize(
    ("task", "path", "field"),
    [
        (TEXT, "/v1/completions", {"prompt": "Once"}),
        (CHAT, "/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}]}),
    ],
)
def test_trtllm_serve_is_asked_in_openais_words_alone(
    task: Task, path: str, field: dict[str, Any]
) -> None:
    call = OpenAiDialect("m").generate(task)

    assert call.path == path
    assert call.document == field | {
        "model": "m",
        "max_tokens": 8,
        "temperature": 0.0,
        "top_p": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "stream": True,
        "stream_options": {"include_usage": True},
        "stop": ["."],
        "seed": 0,
    }


def test_llama_server_never_keeps_a_prompt_whatever_the_task() -> None:
    for task in (TEXT, CHAT, FORBIDDING):
        assert LlamaDialect("m").generate(task).document["cache_prompt"] is False
    assert "grammar" in LlamaDialect("m").generate(FORBIDDING).document


def test_triton_is_asked_with_the_inputs_of_the_ensemble() -> None:
    call = TritonDialect().generate(TEXT)

    assert call.path == "/v2/models/ensemble/generate_stream"
    assert call.document == {
        "text_input": "Once",
        "max_tokens": 8,
        "bad_words": [""],
        "stop_words": ["."],
        "stream": True,
        "temperature": 0.0,
        "top_p": 1.0,
        "random_seed": 0,
    }
    assert TritonDialect().generate(FORBIDDING).document["bad_words"] == ["upon"]
    assert TritonDialect().piece({"text_output": " upon", "model_name": "x"}) == Piece(text=" upon")


@pytest.mark.parametrize(("kind", "task"), [("trtllm-serve", FORBIDDING), ("triton", CHAT)])
def test_what_a_kind_of_server_cannot_do_is_refused(kind: str, task: Task) -> None:
    with pytest.raises(ApiError) as caught:
        dialect(kind, "m").generate(task)
    assert (caught.value.code, caught.value.status) == ("not_served", 404)


def test_triton_makes_no_embeddings() -> None:
    with pytest.raises(ApiError) as caught:
        TritonDialect().embed(["x"])
    assert caught.value.code == "not_served"


def test_the_events_of_a_chunk_are_understood() -> None:
    speaks = OpenAiDialect("m").piece
    told = {"prompt_tokens": 1, "completion_tokens": 2}
    assert speaks({"choices": [{"text": "a", "finish_reason": None}]}) == Piece(text="a")
    assert speaks({"choices": [{"delta": {"content": "a"}}]}) == Piece(text="a")
    assert speaks({"choices": [{"delta": {"role": "assistant", "content": None}}]}) == Piece()
    assert speaks({"choices": [{"text": "", "finish_reason": "length"}]}) == Piece(finish="length")
    assert speaks({"choices": [{"delta": {}, "finish_reason": "eos"}]}) == Piece(finish="stop")
    assert speaks({"choices": [], "usage": told}) == Piece(
        usage=Usage(prompt_tokens=1, completion_tokens=2)
    )


@pytest.mark.parametrize(
    ("kind", "event"),
    [
        ("llama-server", {}),
        ("llama-server", {"choices": 3}),
        ("llama-server", {"choices": ["x"]}),
        ("llama-server", {"choices": [{"text": 3}]}),
        ("llama-server", {"choices": [], "usage": {"prompt_tokens": "many"}}),
        ("triton", {}),
        ("triton", {"text_output": ["a"]}),
    ],
)
def test_other_events_are_failures_of_the_server(kind: str, event: dict[str, Any]) -> None:
    with pytest.raises(AnswerFormError):
        dialect(kind, "m").piece(event)


@pytest.mark.parametrize(
    "document", [{}, {"data": [{}]}, {"data": [{"index": 0, "embedding": "x"}]}]
)
def test_other_lists_of_vectors_are_failures_of_the_server(document: dict[str, Any]) -> None:
    with pytest.raises(AnswerFormError):
        embeddings(document)


@pytest.mark.parametrize(
    ("made", "path", "body", "field"),
    [
        (OpenAiDialect("m"), "/v2/models/ensemble/generate", {"bad_words": "x"}, "bad_words"),
        (TritonDialect(), "/v1/chat/completions", {}, "messages"),
    ],
)
def test_a_caller_learns_what_this_server_does_not_do(
    serve: Serve, made: Dialect, path: str, body: dict[str, Any], field: str
) -> None:
    async def run() -> tuple[int, bytes]:
        async with serve(ModelServer(), dialect=made) as api:
            chat = {"messages": [{"role": "user", "content": "Hi"}]}
            whole = body | (chat if field == "messages" else {"text_input": "x"})
            status, answer, _ = await api.post(path, whole)
            assert api.server.asked == []
            return status, answer

    status, answer = asyncio.run(run())
    assert (status, error_of(answer)["code"], error_of(answer)["param"]) == (
        404,
        "not_served",
        field,
    )
