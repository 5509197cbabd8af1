from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindllama._completion import (
    chat_request,
    chat_texts,
    completion_request,
    completion_texts,
)
from blindllama.errors import Code, Error, FormatError, NetworkError, UsageError

DONE = b"data: [DONE]\n\n"


def event(text: str) -> bytes:
    return b"data: " + json.dumps({"choices": [{"text": text}]}).encode() + b"\n\n"


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def test_the_request_streams() -> None:
    body = completion_request("Once", max_tokens=3, temperature=0.5, stop=("\n",), seed=7)
    assert body == {
        "prompt": "Once",
        "max_tokens": 3,
        "temperature": 0.5,
        "stop": ["\n"],
        "seed": 7,
        "stream": True,
    }


def test_the_request_is_as_short_as_possible() -> None:
    body = completion_request("Once", max_tokens=3, temperature=0.0, stop=(), seed=None)
    assert sorted(body) == ["max_tokens", "prompt", "stream", "temperature"]


@pytest.mark.parametrize("tokens", [0, -1])
def test_some_token_must_be_wanted(tokens: int) -> None:
    with pytest.raises(UsageError):
        completion_request("Once", max_tokens=tokens, temperature=0.0, stop=(), seed=None)


@given(st.lists(st.text(), max_size=5), st.lists(st.integers(0, 1000), max_size=8))
def test_texts_do_not_depend_on_the_chunks(texts: list[str], places: list[int]) -> None:
    stream = b"".join(event(text) for text in texts) + DONE
    assert list(completion_texts(cut(stream, places))) == texts


def test_carriage_returns_comments_and_names_are_skipped() -> None:
    stream = b": comment\r\nevent: x\r\n" + event("a").replace(b"\n", b"\r\n") + DONE
    assert list(completion_texts([stream])) == ["a"]


def test_nothing_is_read_after_the_end_mark() -> None:
    assert list(completion_texts([DONE + b"data: garbage\n"])) == []


@pytest.mark.parametrize("stream", [b"", event("a"), event("a") + b"data: [DON"])
def test_an_answer_that_ends_early(stream: bytes) -> None:
    with pytest.raises(NetworkError):
        list(completion_texts([stream]))


def test_t5_a_failure_does_not_repeat_the_prompt() -> None:
    failure = b'data: {"error":{"message":"the secret prompt is too long"}}\n\n'
    with pytest.raises(NetworkError) as caught:
        list(completion_texts([failure]))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"{", Code.FORMAT_NOT_JSON),
        (b"[]", Code.FORMAT_SCHEMA),
        (b'"text"', Code.FORMAT_SCHEMA),
        (b'{"choices":[]}', Code.FORMAT_SCHEMA),
        (b'{"choices":[1]}', Code.FORMAT_SCHEMA),
        (b'{"choices":[{}]}', Code.FORMAT_SCHEMA),
        (b'{"choices":[{"text":1}]}', Code.FORMAT_SCHEMA),
    ],
)
def test_events_of_another_form(data: bytes, code: Code) -> None:
    with pytest.raises(FormatError) as caught:
        list(completion_texts([b"data: " + data + b"\n\n"]))
    assert caught.value.code is code


def turn(delta: object) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": delta}]}).encode() + b"\n\n"


def test_the_request_of_a_chat_has_the_whole_talk() -> None:
    talk = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    body = chat_request(talk, max_tokens=3, temperature=0.5)
    assert body == {"messages": talk, "max_tokens": 3, "temperature": 0.5, "stream": True}
    with pytest.raises(UsageError):
        chat_request(talk, max_tokens=0, temperature=0.5)


def test_a_chat_has_events_without_text() -> None:
    said = [{"role": "assistant", "content": None}, {"content": "a"}, {"content": ""}, {}]
    assert list(chat_texts([b"".join(map(turn, said)) + DONE])) == ["a"]


@pytest.mark.parametrize("delta", [None, "a", 1, {"content": 1}, {"content": ["a"]}])
def test_turns_of_another_form(delta: object) -> None:
    with pytest.raises(FormatError) as caught:
        list(chat_texts([turn(delta) + DONE]))
    assert caught.value.code is Code.FORMAT_SCHEMA


def test_t4_a_line_without_end_is_cut_off() -> None:
    with pytest.raises(FormatError) as caught:
        list(completion_texts(b"x" * 4096 for _ in range(1000)))
    assert caught.value.code is Code.FORMAT_TOO_LARGE


@given(st.binary(max_size=200))
def test_any_stream_gives_texts_or_an_error_of_ours(data: bytes) -> None:
    with suppress(Error):
        assert all(isinstance(text, str) for text in completion_texts([b"data: " + data]))
    with suppress(Error):
        assert all(isinstance(text, str) for text in chat_texts([b"data: " + data]))
