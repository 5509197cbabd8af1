"""The model server's time, given out: by turns, within limits, and watched for signs of life."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from front.errors import ApiError, Code
from front.limits import Deadline, Gate, Limits
from front.ready import Readiness
from front.task import Sampling, Task

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

    from front.task import Embeddings, Piece
    from front.upstream import Upstream


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is served, and how much of it at once."""

    model: str
    """The one name under which the model is asked for."""
    limits: Limits
    embeddings: bool = False
    """Whether the model makes vectors; it makes no text then."""


class Work:
    """The work of one model server."""

    def __init__(
        self, settings: Settings, upstream: Upstream, *, clock: Callable[[], float]
    ) -> None:
        """Nothing is asked yet.

        Args:
            settings: What is served.
            upstream: The model server.
            clock: Seconds that never go back.
        """
        self._settings, self._upstream = settings, upstream
        self._gate = Gate(settings.limits)
        self._readiness = Readiness(
            self._say_something, busy=lambda: self._gate.inside > 0, clock=clock
        )

    def deadline(self) -> Deadline:
        """The time of a request that begins now."""
        return Deadline(self._settings.limits.time_s)

    @contextlib.asynccontextmanager
    async def generate(self, task: Task, deadline: Deadline) -> AsyncIterator[AsyncIterator[Piece]]:
        """The pieces of an answer; leaving the block ends the server's work on it.

        Raises:
            ApiError: The task is too long, too many wait, or the server refused or failed.
        """
        prompt = task.prompt
        texts = [prompt] if isinstance(prompt, str) else [turn.content for turn in prompt]
        self._check_length(texts, "prompt")
        async with contextlib.AsyncExitStack() as stack:
            async with deadline.within():
                await stack.enter_async_context(self._gate.turn())
                pieces = await stack.enter_async_context(self._upstream.generate(task))
            yield await stack.enter_async_context(
                contextlib.aclosing(self._watched(pieces, deadline))
            )

    async def embed(self, texts: Sequence[str], deadline: Deadline) -> Embeddings:
        """A vector for each text.

        Raises:
            ApiError: The texts are too long, too many wait, or the server refused or failed.
        """
        self._check_length(texts, "input")
        async with deadline.within(), self._gate.turn():
            found = await self._upstream.embed(texts)
        self._readiness.spoke()
        return found

    async def ready(self) -> bool:
        """Whether the model has said something, if only one token to us."""
        return await self._readiness.ready()

    async def close(self) -> None:
        """Close all connections."""
        await self._readiness.close()
        await self._upstream.close()

    async def _watched(
        self, pieces: AsyncIterator[Piece], deadline: Deadline
    ) -> AsyncGenerator[Piece]:
        while True:
            try:
                async with deadline.within():
                    piece = await anext(pieces, None)
            except ApiError:
                self._readiness.failed()
                raise
            if piece is None:
                return
            self._readiness.spoke()
            yield piece

    async def _say_something(self) -> None:
        if self._settings.embeddings:
            await self._upstream.embed(("x",))
            return
        task = Task(prompt="x", sampling=Sampling(max_tokens=1, temperature=0.0))
        async with self._upstream.generate(task) as pieces:
            async for _ in pieces:
                pass

    def _check_length(self, texts: Sequence[str], param: str) -> None:
        longest = self._settings.limits.prompt_characters
        characters = sum(map(len, texts))
        if characters > longest:
            raise ApiError(
                Code.PROMPT_TOO_LONG,
                f"{param}; expected at most {longest} characters; got {characters}",
                param=param,
            )
