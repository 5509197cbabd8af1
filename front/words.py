"""Lists of words as the reference's API takes them: a sequence, or one text with commas.

Source: TensorRT-LLM, `to_word_list_format`: a row of CSV.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def word_list(words: str | Sequence[str]) -> tuple[str, ...]:
    """The words of a text with commas between them, quoted as in CSV, or of a sequence.

    Empty words are left out: in the reference, `""` stands for no word at all.
    """
    listed = (
        next(csv.reader([words], skipinitialspace=True), []) if isinstance(words, str) else words
    )
    return tuple(dict.fromkeys(word for word in listed if word))
