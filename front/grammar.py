"""A grammar of all texts without certain words, for a server that samples by a grammar.

The words make an automaton (Aho and Corasick, 1975) whose states are "how much of a word stands at
the end of the text"; each state is a rule, and the transitions that would complete a word are not
there. So no word can be said, in whichever way it is cut into tokens.

Source: llama.cpp, grammars/README.md (GBNF).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def grammar_without(words: Sequence[str]) -> str:
    """The GBNF grammar, with the start rule `root`, of the texts that contain none of the words.

    Args:
        words: At least one, none of them empty. A rule is made for each character of them.
    """
    prefixes = sorted({word[:end] for word in words for end in range(len(word) + 1)})
    banned = set(words)
    # A text that ends with a whole word is in no state at all.
    states = [text for text in prefixes if not any(text.endswith(word) for word in banned)]
    number = {text: index for index, text in enumerate(states)}
    alphabet = sorted({character for word in words for character in word})
    rules = ["root ::= s0"]
    for state in states:
        # Most characters are the beginning of no word and lead back to the start.
        known = [c for c in alphabet if _next(state, c, banned, number) != ""]
        moves = [
            f"{_quoted(c)} s{number[to]}"
            for c in known
            if (to := _next(state, c, banned, number)) is not None
        ]
        others = "".join(map(_escaped, known))
        rules.append(f"s{number[state]} ::= " + " | ".join([*moves, f"[^{others}] s0", '""']))
    return "\n".join(rules) + "\n"


def _next(state: str, character: str, banned: set[str], number: dict[str, int]) -> str | None:
    """The longest state at the text's end after one more character; None where a word is said."""
    text = state + character
    tails = [text[start:] for start in range(len(text) + 1)]
    if any(tail in banned for tail in tails):
        return None
    return next(tail for tail in tails if tail in number)


def _quoted(character: str) -> str:
    return f'"{_escaped(character)}"'


def _escaped(character: str) -> str:
    """A character as GBNF writes it in literals and classes: letters and digits, or by number."""
    if character.isascii() and character.isalnum():
        return character
    return f"\\U{ord(character):08X}"
