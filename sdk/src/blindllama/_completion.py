"""Completions and chats as OpenAI spells them: the request's JSON, and the stream of the answer.

Source: WHATWG HTML, section 9.2.6 (event streams); OpenAI API, `/v1/completions` and
`/v1/chat/completions`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from blindllama._strict_json import JsonValue, parse_json
from blindllama.errors import Code, FormatError, NetworkError, UsageError

__all__ = [
    "CHAT_PATH",
    "COMPLETIONS_PATH",
    "chat_request",
    "chat_texts",
    "completion_request",
    "completion_texts",
]

COMPLETIONS_PATH: Final = "/v1/completions"
CHAT_PATH: Final = "/v1/chat/completions"

_STEP = 10
_LONGEST_LINE_BYTES: Final = 1 << 20
_DATA: Final = b"data:"
_DONE: Final = b"[DONE]"


def completion_request(
    prompt: str, *, max_tokens: int, temperature: float, stop: Sequence[str], seed: int | None
) -> dict[str, JsonValue]:
    """Return the body of a streaming completion request.

    Raises:
        UsageError: `max_tokens` is below 1.
    """
    body = _streamed(max_tokens, temperature) | {"prompt": prompt}
    if stop:
        body["stop"] = list(stop)
    if seed is not None:
        body["seed"] = seed
    return body


def chat_request(
    messages: Sequence[Mapping[str, str]], *, max_tokens: int, temperature: float
) -> dict[str, JsonValue]:
    """Return the body of a streaming chat request.

    Raises:
        UsageError: `max_tokens` is below 1.
    """
    talk: list[JsonValue] = [dict(message) for message in messages]
    return _streamed(max_tokens, temperature) | {"messages": talk}


def _streamed(max_tokens: int, temperature: float) -> dict[str, JsonValue]:
    if max_tokens < 1:
        raise UsageError(f"max_tokens; expected at least 1; got {max_tokens}")
    return {"max_tokens": max_tokens, "temperature": temperature, "stream": True}


def completion_texts(chunks: Iterable[bytes]) -> Iterator[str]:
    """Yield the text of each event of a completion as it arrives.

    Raises:
        NetworkError: the stream ends before its end mark, or the server reports a failure.
        FormatError: `format.*`; the stream is not one of completions.
    """
    for choice in _choices(chunks):
        text = choice.get("text")
        if not isinstance(text, str):
            raise _not_a_completion()
        yield text


def chat_texts(chunks: Iterable[bytes]) -> Iterator[str]:
    """Yield the text of each event of a chat's answer as it arrives.

    The first event may only say who speaks, and the last only why it ended: these have no text.

    Raises:
        NetworkError: the stream ends before its end mark, or the server reports a failure.
        FormatError: `format.*`; the stream is not one of a chat.
    """
    for choice in _choices(chunks):
        delta = choice.get("delta")
        text = delta.get("content") if isinstance(delta, dict) else 0
        if not isinstance(text, str | None):
            raise _not_a_completion()
        if text:
            yield text


def _choices(chunks: Iterable[bytes]) -> Iterator[dict[str, JsonValue]]:
    for line in _lines(chunks):
        if not line.startswith(_DATA):
            continue  # a comment, an event name or the empty line after an event
        data = line[len(_DATA) :].strip()
        if data == _DONE:
            return
        yield _choice(data)
    raise NetworkError("completion: the answer ended before its end mark")


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
        if len(rest) > _LONGEST_LINE_BYTES:
            raise FormatError(
                "line of the completion",
                code=Code.FORMAT_TOO_LARGE,
                step=_STEP,
                expected=f"at most {_LONGEST_LINE_BYTES} bytes",
                got="more",
            )


def _choice(data: bytes) -> dict[str, JsonValue]:
    event = parse_json(data, limit=_LONGEST_LINE_BYTES, step=_STEP, what="completion")
    if isinstance(event, dict) and "error" in event:
        # Its text may repeat the prompt, which has no place in an error message.
        raise NetworkError("completion: the server reports a failure")
    try:
        choice = event["choices"][0]  # type: ignore[index,call-overload]
    except (KeyError, IndexError, TypeError) as exc:
        raise _not_a_completion() from exc
    if not isinstance(choice, dict):
        raise _not_a_completion()
    return choice


def _not_a_completion() -> FormatError:
    return FormatError(
        "event of the completion",
        code=Code.FORMAT_SCHEMA,
        step=_STEP,
        expected='{"choices":[{"text":"…"}]}, or {"delta":{"content":"…"}} in a chat',
    )
