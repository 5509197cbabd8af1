"""The reference's API: Triton's generate extension with the ensemble of TensorRT-LLM.

Decoding is greedy, as that ensemble does it unless it is asked for more. The answer holds the
continuation without the prompt, and ends before a stop word.

Source: Triton Inference Server, protocol/extension_generate.md; TensorRT-LLM backend, the model
`ensemble`.
"""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from front.errors import ApiError, Code
from front.request import Body, Tokens, bounded
from front.task import Sampling, Task
from front.words import word_list

if TYPE_CHECKING:
    from collections.abc import Sequence

    from front.task import Finish, Usage

MODEL = "ensemble"
"""The one name by which the reference's clients ask."""

_DEFAULT_TOKENS = 16
_WORDS = 32
_CHARACTERS = 256
"""Of all bad words together: the grammar that forbids them has a rule for each."""

_Words = (
    Annotated[str, Field(max_length=4096)]
    | Annotated[tuple[Annotated[str, Field(max_length=256)], ...], Field(max_length=_WORDS)]
)


class GenerateRequest(Body):
    """`/v2/models/ensemble/generate` and `generate_stream`."""

    text_input: Annotated[str, Field(min_length=1)]
    max_tokens: Tokens | None = None
    bad_words: _Words = ""
    """Texts that the answer must not contain."""
    stop_words: _Words = ""
    """Texts before which the answer ends."""
    stream: bool | None = None
    """The reference's clients say it beside the path; it must agree with that."""

    def task(self, longest: int) -> Task:
        """What is to be generated; `longest` is the most tokens that may be asked for.

        Raises:
            ApiError: `too_many_tokens`, or `invalid_value` for too many words.
        """
        wanted = self.max_tokens or min(_DEFAULT_TOKENS, longest)
        return Task(
            prompt=self.text_input,
            sampling=Sampling(
                max_tokens=bounded(wanted, longest, "max_tokens"),
                temperature=0.0,
                seed=0,
                stop=_words("stop_words", self.stop_words),
                bad_words=_words("bad_words", self.bad_words),
            ),
        )

    def check_stream(self, *, streaming: bool) -> None:
        """Nothing, if the field `stream` agrees with the path.

        Raises:
            ApiError: `invalid_value`.
        """
        if self.stream not in {None, streaming}:
            raise ApiError(
                Code.INVALID_VALUE,
                f"stream; expected {str(streaming).lower()} at this path",
                param="stream",
            )


class GenerateAnswer:
    """An answer in the form of Triton's generate extension."""

    def first(self) -> bytes:
        """Nothing comes before the first piece."""
        return b""

    def piece(self, text: str) -> bytes:
        """The event of one piece of text."""
        return b"data: " + _json(self._document(text)) + b"\n\n"

    def last(self, finish: Finish, usage: Usage | None) -> bytes:  # noqa: ARG002 - other forms tell
        """Nothing comes after the last piece: the stream ends."""
        return b""

    def whole(self, text: str, finish: Finish, usage: Usage | None) -> bytes:  # noqa: ARG002 - likewise
        """The body of an answer that is not streamed."""
        return _json(self._document(text))

    def _document(self, text: str) -> dict[str, Any]:
        return {"model_name": MODEL, "model_version": "1", "text_output": text}


def _words(field: str, given: str | Sequence[str]) -> tuple[str, ...]:
    try:
        words = word_list(given)
    except csv.Error:
        raise ApiError(
            Code.INVALID_VALUE, f"{field}; expected words with commas between them", param=field
        ) from None
    if len(words) > _WORDS or sum(map(len, words)) > _CHARACTERS:
        raise ApiError(
            Code.INVALID_VALUE,
            f"{field}; expected at most {_WORDS} words of {_CHARACTERS} characters together",
            param=field,
        )
    return words


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode("ascii")
