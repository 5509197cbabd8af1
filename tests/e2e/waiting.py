"""Waiting for what a guest does by itself, with a limit that only a fault reaches."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 240.0
_POLL_S = 1.0


def wait_until(true: Callable[[], bool], what: str) -> None:
    """Return when something has come true.

    Raises:
        TimeoutError: It does not.
    """
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(_POLL_S)
