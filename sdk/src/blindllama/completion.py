"""The call of the first BlindLlama, for programs that were written for it.

    from blindllama import completion

    text = completion.create(
        session=session, model="…", text_input="What is machine learning?",
        max_tokens=20, bad_words="", stop_words="",
    )

It takes a verified session where the first one kept what it trusted inside the package. Nothing
that is asked for is passed over: what the guest's server cannot do is refused.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence

from blindllama.errors import UsageError
from blindllama.session import AttestedSession

__all__ = ["create"]


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
        bad_words: Must be empty: the guest's server cannot forbid words. It can make single tokens
            less likely, which forbids other words too.
        stop_words: Texts before which the answer ends: several, or one text with commas between
            them. The first BlindLlama kept the stop word at the end of its answer.

    Raises:
        UsageError: an empty prompt, another model, or words to forbid.
        Error: as for every request of the session.
    """
    if not text_input:
        raise UsageError("text_input; expected a prompt; got nothing")
    if _words(bad_words):
        raise UsageError("bad_words; expected none: the guest's server cannot forbid words")
    if model is not None:
        _require_model(session, model)
    stop = _words(stop_words)
    return session.completion(text_input, max_tokens=max_tokens, stop=stop).strip()


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
