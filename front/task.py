"""What is asked of a model and what it says, in words of no particular server's API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Finish = Literal["stop", "length"]
"""Why an answer ended: the model or a stop word, or the number of tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the next token is chosen, and when to end."""

    max_tokens: int
    """The longest answer, in tokens; at least 1."""
    temperature: float
    """0 always takes the likeliest token."""
    top_p: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None
    """Of the random numbers; None lets the server choose."""
    stop: tuple[str, ...] = ()
    """Texts before which the answer ends."""
    bad_words: tuple[str, ...] = ()
    """Texts that the answer must not contain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One thing to generate."""

    prompt: str | tuple[Message, ...]
    """A text to continue, or a chat to answer."""
    sampling: Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one request. What of them was in some cache is nobody's business."""

    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of an answer."""

    text: str = ""
    finish: Finish | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings:
    """One vector for each text."""

    vectors: tuple[tuple[float, ...], ...]
    prompt_tokens: int
