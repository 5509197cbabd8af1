from __future__ import annotations

from collections.abc import Callable

import pytest

from supply_chain.errors import BuildError
from supply_chain.passphrase import (
    VARIABLE,
    given_passphrase,
    known_passphrase,
    new_passphrase,
)


def answers(*texts: str) -> Callable[[str], str]:
    left = list(texts)
    return lambda _prompt: left.pop(0)


def nobody(_prompt: str) -> str:
    raise EOFError


def test_the_environment_goes_first() -> None:
    environ = {VARIABLE: "öpen"}
    assert given_passphrase(environ) == "öpen".encode()
    assert new_passphrase(environ, ask=nobody) == known_passphrase(environ, "x", ask=nobody)


def test_without_one_a_person_is_asked() -> None:
    assert given_passphrase({}) is None
    assert known_passphrase({}, "the key", ask=answers("open")) == b"open"
    assert new_passphrase({}, ask=answers("open", "open")) == b"open"
    assert new_passphrase({}, ask=answers("", "")) is None


def test_a_slip_of_the_finger_is_noticed() -> None:
    with pytest.raises(BuildError, match="the two passphrases differ"):
        new_passphrase({}, ask=answers("open", "close"))


def test_an_empty_one_protects_nothing() -> None:
    with pytest.raises(BuildError, match=f"{VARIABLE} is empty"):
        given_passphrase({VARIABLE: ""})


def test_nobody_to_ask() -> None:
    with pytest.raises(BuildError, match=f"no terminal to ask for a passphrase; set {VARIABLE}"):
        known_passphrase({}, "the key", ask=nobody)
