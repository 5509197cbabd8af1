"""What a guest says on its serial console, as a person may read it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LINES = 20
"""As many lines as fit beside an error."""
_TAIL_BYTES = 16384
_CONTROL = re.compile(rb"\x1b\[[0-9;?=]*[A-Za-z]|[\x00-\x08\x0b-\x1f]")
_PANIC = "Kernel panic"
_LAST_WORDS = ("blindllama: ", "device-mapper: verity: ", "systemd[1]: ", "Oops: ", _PANIC)


def console_tail(console: Path, lines: int = LINES) -> list[str]:
    """The last lines of a guest's console, without the terminal's control sequences.

    Args:
        console: The file that QEMU writes; none is as good as an empty one.
        lines: How many at most; they come from its last 16 KiB.
    """
    try:
        with console.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            raw = file.read()
    except FileNotFoundError:
        return []
    text = _CONTROL.sub(b"", raw).decode(errors="replace")
    return [line.rstrip() for line in text.splitlines() if line.strip()][-lines:]


def last_words(console: Path) -> list[str]:
    """What the console says about why the guest stopped, without the traces that follow it."""
    tail = console_tail(console, _TAIL_BYTES)
    said = [line for line in tail if any(word in line for word in _LAST_WORDS)]
    return said or tail[-LINES:]


def has_panicked(lines: Sequence[str]) -> bool:
    """Whether these lines tell of the end of a kernel."""
    return any(_PANIC in line for line in lines)
