"""The passphrase of the keys on this machine: from the environment, or from whoever sits there.

It is never an argument of a command, which every user of the machine could read, and never logged.
"""

from __future__ import annotations

from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING

from supply_chain.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

VARIABLE = "BLINDLLAMA_PASSPHRASE"


def ask_at_terminal(prompt: str) -> str:
    """What a person answers, unseen.

    Raises:
        OSError: There is no terminal; `getpass` alone would echo what is typed elsewhere.
    """
    with Path("/dev/tty").open("r+b", buffering=0):
        return getpass(prompt)


def given_passphrase(environ: Mapping[str, str]) -> bytes | None:
    """The passphrase in the environment, or None where there is none.

    Raises:
        BuildError: It is set and empty, which protects nothing.
    """
    text = environ.get(VARIABLE)
    if text == "":
        raise BuildError(f"{VARIABLE} is empty; set it to a passphrase, or unset it")
    return None if text is None else text.encode()


def new_passphrase(
    environ: Mapping[str, str], *, ask: Callable[[str], str] = ask_at_terminal
) -> bytes | None:
    """The passphrase for a new key; without one in the environment, a person is asked twice.

    Returns:
        None when the person wants none.

    Raises:
        BuildError: The two answers differ, or there is nobody to ask.
    """
    given = given_passphrase(environ)
    if given is not None:
        return given
    first = _asked("passphrase of the new key (nothing: no encryption): ", ask)
    if first != _asked("the same again: ", ask):
        raise BuildError("the two passphrases differ; nothing was changed, run it again")
    return first.encode() or None


def known_passphrase(
    environ: Mapping[str, str], what: str, *, ask: Callable[[str], str] = ask_at_terminal
) -> bytes:
    """The passphrase of an encrypted key; without one in the environment, a person is asked.

    Raises:
        BuildError: There is nobody to ask.
    """
    given = given_passphrase(environ)
    return _asked(f"passphrase of {what}: ", ask).encode() if given is None else given


def _asked(prompt: str, ask: Callable[[str], str]) -> str:
    try:
        return ask(prompt)
    except (EOFError, OSError) as exc:
        raise BuildError(f"there is no terminal to ask for a passphrase; set {VARIABLE}") from exc
