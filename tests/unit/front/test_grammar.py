"""The grammar of texts without words, checked by a reader of GBNF's part that it uses."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from front.grammar import grammar_without
from front.words import word_list

_CHARACTER = r"[A-Za-z0-9]|\\U[0-9A-F]{8}"
_MOVE = re.compile(rf'"({_CHARACTER})" s(\d+)|\[\^((?:{_CHARACTER})*)\] s(\d+)|""')
_RULE = re.compile(r"s(\d+) ::= (.*)")


def accepts(grammar: str, text: str) -> bool:
    """Whether a text is one of the grammar's."""
    first, *lines = grammar.splitlines()
    assert first == "root ::= s0"
    rules: dict[str, tuple[dict[str, str], set[str], str]] = {}
    for line in lines:
        rule = _RULE.fullmatch(line)
        assert rule is not None
        moves: dict[str, str] = {}
        others: set[str] = set()
        to = ""
        alternatives = rule[2].split(" | ")
        assert alternatives[-1] == '""'
        for alternative in alternatives[:-1]:
            move = _MOVE.fullmatch(alternative)
            assert move is not None, alternative
            if move[1] is not None:
                moves[_read(move[1])] = move[2]
            else:
                others, to = set(map(_read, re.findall(_CHARACTER, move[3]))), move[4]
        rules[rule[1]] = moves, others, to
    state = "0"
    for character in text:
        moves, others, to = rules[state]
        if character in moves:
            state = moves[character]
        elif character in others:
            return False
        else:
            state = to
    return True


def _read(spelled: str) -> str:
    return chr(int(spelled[len("\\U") :], base=16)) if len(spelled) > 1 else spelled


_TEXTS = st.text(alphabet='ab"]\\\n-é', max_size=12)
_WORDS = st.lists(st.text(alphabet='ab"]\\\n-é', min_size=1, max_size=4), min_size=1, max_size=4)


@given(words=_WORDS, text=_TEXTS)
def test_a_text_is_in_the_grammar_exactly_if_it_holds_none_of_the_words(
    words: list[str], text: str
) -> None:
    assert accepts(grammar_without(words), text) == (not any(word in text for word in words))


@pytest.mark.parametrize(
    ("given_words", "expected"),
    [
        ("", ()),
        ("Paris", ("Paris",)),
        ("Paris, London", ("Paris", "London")),
        ('"a, b",c', ("a, b", "c")),
        (["a", "", "a", "b, c"], ("a", "b, c")),
    ],
)
def test_words_are_read_as_the_reference_reads_them(
    given_words: str | list[str], expected: tuple[str, ...]
) -> None:
    assert word_list(given_words) == expected
