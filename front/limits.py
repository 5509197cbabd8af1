"""What one request may ask for, and how many may ask at the same time."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from front.errors import ApiError, Code

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds of a request; all of them are in the measured manifest."""

    max_tokens: int
    """The longest answer that may be asked for, in tokens."""
    prompt_characters: int
    """The longest prompt or chat; the server counts its tokens as well."""
    time_s: float
    """From a request's arrival to its last byte, waiting included."""
    concurrent: int
    """Requests that the server computes at the same time."""
    waiting: int
    """Requests that wait for their turn; one more is sent away."""


class Deadline:
    """The end of one request's time."""

    def __init__(self, seconds: float) -> None:
        """Begin now; must be made inside a running event loop."""
        self._seconds = seconds
        self._at = asyncio.get_running_loop().time() + seconds

    @contextlib.asynccontextmanager
    async def within(self) -> AsyncIterator[None]:
        """A block that ends in time.

        Raises:
            ApiError: `time_limit`; the block was ended.
        """
        try:
            async with asyncio.timeout_at(self._at):
                yield
        except TimeoutError:
            raise ApiError(
                Code.TIME_LIMIT,
                f"expected to be done within {self._seconds:g} s; ask for fewer tokens",
            ) from None


class Gate:
    """Lets so many requests through at a time, in the order in which they came."""

    def __init__(self, limits: Limits) -> None:
        self._turns = asyncio.Semaphore(limits.concurrent)
        self._concurrent = limits.concurrent
        self._room = limits.waiting
        self.inside = 0
        """Requests that the server computes now."""
        self.waiting = 0
        """Requests that wait for their turn."""

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """One request's turn, for the length of a block.

        Raises:
            ApiError: `overloaded`; as many wait as may.
        """
        if self._turns.locked() and self.waiting >= self._room:
            raise ApiError(
                Code.OVERLOADED,
                f"expected at most {self._concurrent} requests at a time and {self._room} waiting, "
                "got one more; try again later",
            )
        self.waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self.waiting -= 1
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1
            self._turns.release()
