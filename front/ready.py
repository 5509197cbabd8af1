"""Whether the server really answers: a completion of one token, shared and remembered for a while."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from front.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

KEPT_S = 30.0
"""How long an answer of the model says that it can give another one."""
PATIENCE_S = 3.0
"""How long who asks is kept waiting. The completion goes on: under emulation it takes longer."""


class Readiness:
    """Remembers when the model last said something, to whomever."""

    def __init__(
        self,
        probe: Callable[[], Awaitable[None]],
        *,
        busy: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        """Nothing was said yet.

        Args:
            probe: A completion of one token; raises `ApiError` when there is none.
            busy: Whether the server computes for somebody. It is then ready if it ever was: that
                request's own time limit finds out whether it hangs.
            clock: Seconds that never go back.
        """
        self._probe, self._busy, self._clock = probe, busy, clock
        self._spoke_at: float | None = None
        self._asking: asyncio.Task[None] | None = None

    def spoke(self) -> None:
        """The model has said something just now."""
        self._spoke_at = self._clock()

    def failed(self) -> None:
        """The model has not answered somebody: what was remembered says nothing any more."""
        self._spoke_at = None

    async def ready(self) -> bool:
        """True when the model said something a moment ago, or does so now."""
        if self._spoke_at is not None and (self._busy() or self._clock() - self._spoke_at < KEPT_S):
            return True
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        await asyncio.wait({self._asking}, timeout=PATIENCE_S)
        return self._asking.done() and self._spoke_at is not None

    async def close(self) -> None:
        """End a completion in flight."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})

    async def _ask(self) -> None:
        try:
            await self._probe()
        except ApiError:
            self.failed()
        else:
            self.spoke()
