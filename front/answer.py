"""Answers as OpenAI spells them, made from nothing but text, the reason of its end and token counts.

What else a server tells (timings, cached tokens, its version, its settings) does not pass.

Source: OpenAI API reference, the completion object, the chat completion object and their chunks;
WHATWG HTML, section 9.2 (event streams).
"""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from front.task import Embeddings, Finish, Usage

DONE = b"data: [DONE]\n\n"


class Answer(Protocol):
    """The form of one answer, whole or in events."""

    def first(self) -> bytes:
        """What is sent before the first piece."""

    def piece(self, text: str) -> bytes:
        """The event of one piece of text."""

    def last(self, finish: Finish, usage: Usage | None) -> bytes:
        """What is sent after the last piece."""

    def whole(self, text: str, finish: Finish, usage: Usage | None) -> bytes:
        """The body of an answer that is not streamed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionAnswer:
    """A completion."""

    identity: str
    """Random, made here: a server's own numbers would count everybody's requests."""
    created: int
    """Seconds since 1970."""
    model: str
    tells_usage: bool

    def first(self) -> bytes:
        """Nothing comes before the first piece."""
        return b""

    def piece(self, text: str) -> bytes:
        """The event of one piece of text."""
        return _event(self._document([_text_choice(text, None)]))

    def last(self, finish: Finish, usage: Usage | None) -> bytes:
        """The reason, the tokens if they were asked for, and the end mark."""
        return (
            _event(self._document([_text_choice("", finish)]))
            + _usage_event(self._document([]), usage, told=self.tells_usage)
            + DONE
        )

    def whole(self, text: str, finish: Finish, usage: Usage | None) -> bytes:
        """The body of an answer that is not streamed."""
        return _json(self._document([_text_choice(text, finish)]) | _usage(usage))

    def _document(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": f"cmpl-{self.identity}",
            "object": "text_completion",
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatAnswer:
    """The model's turn in a chat."""

    identity: str
    """Random, made here."""
    created: int
    """Seconds since 1970."""
    model: str
    tells_usage: bool

    def first(self) -> bytes:
        """The event that says who speaks."""
        return self._chunk({"role": "assistant", "content": ""}, None)

    def piece(self, text: str) -> bytes:
        """The event of one piece of text."""
        return self._chunk({"content": text}, None)

    def last(self, finish: Finish, usage: Usage | None) -> bytes:
        """The reason, the tokens if they were asked for, and the end mark."""
        empty = self._document("chat.completion.chunk", [])
        return self._chunk({}, finish) + _usage_event(empty, usage, told=self.tells_usage) + DONE

    def whole(self, text: str, finish: Finish, usage: Usage | None) -> bytes:
        """The body of an answer that is not streamed."""
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "logprobs": None,
            "finish_reason": finish,
        }
        return _json(self._document("chat.completion", [choice]) | _usage(usage))

    def _chunk(self, delta: dict[str, str], finish: Finish | None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _event(self._document("chat.completion.chunk", [choice]))

    def _document(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{self.identity}",
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }


def model_list(model: str) -> bytes:
    """The body of `/v1/models`: the one model that is served."""
    entry = {"id": model, "object": "model", "created": 0, "owned_by": "blindllama"}
    return _json({"object": "list", "data": [entry]})


def embedding_list(found: Embeddings, *, model: str, encoding: str) -> bytes:
    """The body of `/v1/embeddings`.

    Args:
        found: The vectors.
        model: The name of the model that is served.
        encoding: `float`, or `base64` of little-endian 32-bit floats.
    """
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": list(vector) if encoding == "float" else _packed(vector),
        }
        for index, vector in enumerate(found.vectors)
    ]
    tokens = found.prompt_tokens
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return _json({"object": "list", "data": data, "model": model, "usage": usage})


def error_event(document: dict[str, Any]) -> bytes:
    """The event of a failure in the middle of a stream; no end mark follows it."""
    return _event(document)


def _packed(vector: tuple[float, ...]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")


def _text_choice(text: str, finish: Finish | None) -> dict[str, Any]:
    return {"text": text, "index": 0, "logprobs": None, "finish_reason": finish}


def _usage(usage: Usage | None) -> dict[str, Any]:
    if usage is None:
        return {}
    return {
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        }
    }


def _usage_event(empty: dict[str, Any], usage: Usage | None, *, told: bool) -> bytes:
    return _event(empty | _usage(usage)) if told and usage is not None else b""


def _event(document: dict[str, Any]) -> bytes:
    return b"data: " + _json(document) + b"\n\n"


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode("ascii")
