"""Which requests are taken, and how the others are refused: nothing is asked of the server."""

from __future__ import annotations

import json

import pytest

from front.errors import ApiError
from front.generate import GenerateRequest
from front.request import Body, ChatRequest, CompletionRequest, EmbeddingRequest, parse_body
from front.task import Message

_URL = {"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}}


def chat(**message: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": "Hi"} | message]}


def test_a_completion_becomes_a_task() -> None:
    body = {"prompt": "Once", "max_tokens": 3, "temperature": 0, "seed": 7, "stop": "."}
    task = parse_body(CompletionRequest, json.dumps(body).encode()).task(64)

    assert task.prompt == "Once"
    assert (task.sampling.max_tokens, task.sampling.temperature) == (3, 0)
    assert (task.sampling.seed, task.sampling.stop) == (7, (".",))


def test_the_parts_of_a_message_become_one_text() -> None:
    parts = [{"type": "text", "text": "Good "}, {"type": "text", "text": "day"}]
    asked = parse_body(ChatRequest, json.dumps(chat(content=parts)).encode())

    assert asked.task(9).prompt == (Message(role="user", content="Good day"),)


@pytest.mark.parametrize(("longest", "expected"), [(64, 16), (8, 8)])
def test_the_usual_number_of_tokens_is_never_beyond_the_limit(longest: int, expected: int) -> None:
    for asked in (
        parse_body(CompletionRequest, b'{"prompt":"x"}'),
        parse_body(GenerateRequest, b'{"text_input":"x"}'),
    ):
        assert asked.task(longest).sampling.max_tokens == expected


@pytest.mark.parametrize(
    ("model", "body", "param"),
    [
        (CompletionRequest, {"prompt": "x", "lora": [{"id": 0, "scale": 1}]}, "lora"),
        (CompletionRequest, {"prompt": "x", "adapter": "mine"}, "adapter"),
        (CompletionRequest, {"prompt": "x", "cache_prompt": True}, "cache_prompt"),
        (CompletionRequest, {"prompt": "x", "id_slot": 0}, "id_slot"),
        (CompletionRequest, {"prompt": "x", "grammar": "root ::= x"}, "grammar"),
        (CompletionRequest, {"prompt": "x", "timings_per_token": True}, "timings_per_token"),
        (CompletionRequest, {"prompt": "x", "logprobs": 5}, "logprobs"),
        (CompletionRequest, {"prompt": "x", "max_tokens": 2, "best_of": 4}, "best_of"),
        (ChatRequest, chat() | {"tools": []}, "tools"),
        (ChatRequest, chat() | {"chat_template": "{{ x }}"}, "chat_template"),
        (ChatRequest, chat() | {"response_format": {"type": "json_object"}}, "response_format"),
        (ChatRequest, chat(content=[_URL]), "messages.0.content.0.image_url"),
        (ChatRequest, chat(name="x"), "messages.0.name"),
        (EmbeddingRequest, {"input": "x", "dimensions": 4}, "dimensions"),
        (GenerateRequest, {"text_input": "x", "image_url_input": "http://x"}, "image_url_input"),
        (GenerateRequest, {"text_input": "x", "lora_path": "/etc"}, "lora_path"),
        (GenerateRequest, {"text_input": "x", "lora_task_id": 1}, "lora_task_id"),
        (GenerateRequest, {"text_input": "x", "parameters": {}}, "parameters"),
    ],
)
def test_a_field_that_is_not_known_is_refused_by_name(
    model: type[Body], body: dict[str, object], param: str
) -> None:
    with pytest.raises(ApiError) as caught:
        parse_body(model, json.dumps(body).encode())
    assert (caught.value.code, caught.value.param) == ("unknown_field", param)


@pytest.mark.parametrize(
    ("model", "body", "param"),
    [
        (CompletionRequest, {}, "prompt"),
        (CompletionRequest, {"prompt": ""}, "prompt"),
        (CompletionRequest, {"prompt": ["a", "b"]}, "prompt"),
        (CompletionRequest, {"prompt": [1, 2]}, "prompt"),
        (CompletionRequest, {"prompt": "x", "max_tokens": 0}, "max_tokens"),
        (CompletionRequest, {"prompt": "x", "max_tokens": "3"}, "max_tokens"),
        (CompletionRequest, {"prompt": "x", "max_tokens": True}, "max_tokens"),
        (CompletionRequest, {"prompt": "x", "temperature": -1}, "temperature"),
        (CompletionRequest, {"prompt": "x", "temperature": 2.5}, "temperature"),
        (CompletionRequest, {"prompt": "x", "top_p": 0}, "top_p"),
        (CompletionRequest, {"prompt": "x", "seed": -1}, "seed"),
        (CompletionRequest, {"prompt": "x", "n": 2}, "n"),
        (CompletionRequest, {"prompt": "x", "stream": "yes"}, "stream"),
        (CompletionRequest, {"prompt": "x", "stop": ["a"] * 17}, "stop"),
        (CompletionRequest, {"prompt": "x", "stop": [""]}, "stop"),
        (ChatRequest, {"messages": []}, "messages"),
        (ChatRequest, chat(role="tool"), "messages.0.role"),
        (ChatRequest, chat(content=None), "messages.0.content"),
        (ChatRequest, chat(content=[{"type": "input_audio", "text": "x"}]), "messages.0.content"),
        (EmbeddingRequest, {"input": []}, "input"),
        (EmbeddingRequest, {"input": "x", "encoding_format": "hex"}, "encoding_format"),
        (GenerateRequest, {"max_tokens": 3}, "text_input"),
        (GenerateRequest, {"text_input": "x", "bad_words": 3}, "bad_words"),
    ],
)
def test_a_value_that_is_not_taken_is_refused_by_its_field(
    model: type[Body], body: dict[str, object], param: str
) -> None:
    with pytest.raises(ApiError) as caught:
        parse_body(model, json.dumps(body).encode())
    assert caught.value.code == "invalid_value"
    assert caught.value.param is not None
    assert caught.value.param.startswith(param)


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"prompt":"\xff"}', b"{'prompt': 1}", b'{"prompt":"x","top_p":NaN}']
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        parse_body(CompletionRequest, body)
    assert caught.value.code in {"invalid_json", "invalid_value"}
    assert caught.value.status == 400


def test_a_body_that_is_no_object_is_refused() -> None:
    with pytest.raises(ApiError) as caught:
        parse_body(CompletionRequest, b'["prompt"]')
    assert (caught.value.code, caught.value.param) == ("invalid_value", None)


@pytest.mark.parametrize("model", [CompletionRequest, GenerateRequest])
def test_more_tokens_than_the_limit_are_refused(
    model: type[CompletionRequest | GenerateRequest],
) -> None:
    body = json.dumps({"prompt": "x", "max_tokens": 65})
    body = body if model is CompletionRequest else body.replace("prompt", "text_input")
    asked = parse_body(model, body.encode())

    assert asked.task(65).sampling.max_tokens == 65
    with pytest.raises(ApiError) as caught:
        asked.task(64)
    assert (caught.value.code, caught.value.param) == ("too_many_tokens", "max_tokens")


def test_no_refusal_repeats_a_value_or_prints_a_strange_name() -> None:
    secret = "my secret prompt"
    for body in (
        {"prompt": [secret, secret]},
        {"prompt": "x", "seed": secret},
        {"prompt": "x", "stream": secret},
    ):
        with pytest.raises(ApiError) as caught:
            parse_body(CompletionRequest, json.dumps(body).encode())
        assert secret not in str(caught.value)
        assert caught.value.__cause__ is None
    with pytest.raises(ApiError) as caught:
        parse_body(CompletionRequest, json.dumps({"prompt": "x", "\x1b[2J" + secret: 1}).encode())
    assert (caught.value.code, caught.value.param) == ("unknown_field", "?")


@pytest.mark.parametrize("field", ["bad_words", "stop_words"])
@pytest.mark.parametrize(
    "words", [["x" * 100, "y" * 100, "z" * 100], "a\nb", [f"{i}" for i in range(33)]]
)
def test_words_beyond_the_limits_are_refused(field: str, words: object) -> None:
    with pytest.raises(ApiError) as caught:
        parse_body(GenerateRequest, json.dumps({"text_input": "x", field: words}).encode()).task(9)
    assert caught.value.code == "invalid_value"
    assert str(caught.value.param).startswith(field)


@pytest.mark.parametrize("streaming", [True, False])
def test_the_field_stream_must_agree_with_the_path(streaming: bool) -> None:
    for said in (None, streaming):
        body = json.dumps({"text_input": "x", "stream": said}).encode()
        parse_body(GenerateRequest, body).check_stream(streaming=streaming)
    body = json.dumps({"text_input": "x", "stream": not streaming}).encode()
    with pytest.raises(ApiError) as caught:
        parse_body(GenerateRequest, body).check_stream(streaming=streaming)
    assert (caught.value.code, caught.value.param) == ("invalid_value", "stream")
