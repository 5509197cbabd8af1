"""One quote for many callers: those who arrive while a quote is in flight share the next one.

A caller alone waits for nobody: its quote starts at once. The TPM is serial and slow, so the number
of callers that it can serve must not depend on its speed; their nonces become the leaves of a tree
whose root is quoted.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from os_image.guest.errors import BusyError
from os_image.guest.nonce_tree import MAXIMUM_LEAVES, NoncePath, build_nonce_tree

Answer = TypeVar("Answer")
_Callers = dict[asyncio.Future[tuple[Answer, NoncePath]], bytes]
"""The nonces of callers by the promise that each was given, in the order of their coming."""


class Batcher(Generic[Answer]):
    """Collects callers and quotes for all of them; belongs to one event loop."""

    def __init__(
        self, quote: Callable[[bytes], Awaitable[Answer]], *, limit: int = MAXIMUM_LEAVES
    ) -> None:
        """Remembers how to quote.

        Args:
            quote: Makes a quote for a nonce tree's root; called once at a time.
            limit: Callers that may wait for the next quote.
        """
        self._quote = quote
        self._limit = min(limit, MAXIMUM_LEAVES)
        self._waiting: _Callers[Answer] = {}
        self._worker: asyncio.Task[None] | None = None

    async def attest(self, nonce: bytes) -> tuple[Answer, NoncePath]:
        """A quote that was made after this call, and the path of `nonce` to what it signs.

        Raises:
            BusyError: Too many callers wait already.
            GuestError: The quote failed; everybody who shared it learns the same.
        """
        if len(self._waiting) >= self._limit:
            raise BusyError(f"attestation: {self._limit} callers are waiting already")
        answer: asyncio.Future[tuple[Answer, NoncePath]]
        answer = asyncio.get_running_loop().create_future()
        self._waiting[answer] = nonce
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        try:
            return await answer
        finally:
            # Whoever went away while it waited leaves its place to others.
            self._waiting.pop(answer, None)

    async def _work(self) -> None:
        done: _Batch[Answer] | None = None
        try:
            while self._waiting or done is not None:
                # Before the answers: the TPM works already while they are given.
                batch = self._started() if self._waiting else None
                if done is not None:
                    done.deliver()
                if batch is not None:
                    await asyncio.wait({batch.quote})
                done = batch
        finally:
            self._worker = None

    def _started(self) -> "_Batch[Answer]":
        callers, self._waiting = self._waiting, {}
        tree = build_nonce_tree(list(callers.values()))
        quote = asyncio.ensure_future(self._quote(tree.root))
        return _Batch(callers=callers, paths=tree.paths, quote=quote)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch(Generic[Answer]):
    """Callers that share a quote."""

    callers: _Callers[Answer]
    paths: tuple[NoncePath, ...]
    quote: asyncio.Future[Answer]

    def deliver(self) -> None:
        """Gives each caller the quote, which is done, or its failure."""
        error = self.quote.exception()
        for answer, path in zip(self.callers, self.paths, strict=True):
            # A caller that went away has cancelled its future.
            if answer.done():
                continue
            if error is None:
                answer.set_result((self.quote.result(), path))
            else:
                answer.set_exception(error)
