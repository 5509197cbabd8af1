"""The call of the first BlindLlama, for programs that were written for it.

    from blindllama import completion

    text = completion.create(
        session=session, model="…", text_input="What is machine learning?",
        max_tokens=20, bad_words="", stop_words="",
    )

It takes a verified session where the first one kept what it trusted inside the package, and asks
at the path that the first one asked at. Nothing that is asked for is passed over: what the guest's
server cannot do is refused.

Source: Triton Inference Server, protocol/extension_generate.md.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel, ConfigDict

from blindllama._status import require_ok
from blindllama._strict_json import parse_json, parse_model
from blindllama.errors import UsageError
from blindllama.session import AttestedSession

__all__ = ["create"]

_PATH: Final = "/v2/models/ensemble/generate"
_LIMIT_BYTES: Final = 1 << 24
_STEP: Final = 10


class _Generated(BaseModel):
    """What is needed of an answer; servers say more."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    text_output: str


def create(
    *,
    session: AttestedSession,
    text_input: str,
    model: str | None = None,
    max_tokens: int = 20,
    bad_words: str | Sequence[str] = "",
    stop_words: str | Sequence[str] = "",
) -> str:
    """Return the model's continuation of a text, without white space around it.

    Args:
        session: With the guest; `verify_and_connect` makes it.
        text_input: The prompt.
        model: Its name; refused where the guest serves another. None takes whatever is verified.
        max_tokens: The longest answer, in tokens.
        bad_words: Texts that the answer must not contain, in the same form as `stop_words`.
        stop_words: Texts before which the answer ends: several, or one text with commas between
            them. The first BlindLlama kept the stop word at the end of its answer.

    Raises:
        UsageError: an empty prompt, another model, or what the guest's server cannot do.
        BusyError: the guest's server has no time now.
        NetworkError: the guest's server failed.
        Error: as for every request of the session.
    """
    if not text_input:
        raise UsageError("text_input; expected a prompt; got nothing")
    if max_tokens < 1:
        raise UsageError(f"max_tokens; expected at least 1; got {max_tokens}")
    if model is not None:
        _require_model(session, model)
    body = {
        "text_input": text_input,
        "max_tokens": max_tokens,
        "bad_words": _words(bad_words),
        "stop_words": _words(stop_words),
    }
    return _generated(session, body).strip()


def _generated(session: AttestedSession, body: object) -> str:
    with session.post(_PATH, json=body, stream=True) as response:
        require_ok(response, "completion")
        with session._carrier.translated():  # noqa: SLF001 - of this package
            content = response.raw.read(_LIMIT_BYTES + 1)
            value = parse_json(content, limit=_LIMIT_BYTES, step=_STEP, what="completion")
            return parse_model(value, _Generated, step=_STEP, what="completion").text_output


def _words(words: str | Sequence[str]) -> list[str]:
    """Return the words of a text with commas between them, quoted as in CSV, or of a sequence."""
    listed = (
        next(csv.reader([words], skipinitialspace=True), []) if isinstance(words, str) else words
    )
    return [word for word in listed if word]


def _require_model(session: AttestedSession, model: str) -> None:
    """Refuse a model that the guest does not serve: its server would answer with the one it has."""
    served = session.models()
    if model not in served:
        raise UsageError(f"model; expected {' or '.join(served) or 'none'}; got {model}")
