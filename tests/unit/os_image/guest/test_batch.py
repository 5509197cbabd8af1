from __future__ import annotations

import asyncio

import pytest

from blindllama._tpm.nonce_tree import NoncePath as SdkNoncePath
from blindllama._tpm.nonce_tree import nonce_tree_root
from os_image.guest.batch import Batcher
from os_image.guest.errors import BusyError, TpmError
from os_image.guest.nonce_tree import NoncePath


class SlowQuoter:
    """Answers with the root that it was given, when the test lets it."""

    def __init__(self) -> None:
        self.roots: list[bytes] = []
        self.gate = asyncio.Semaphore(0)

    async def __call__(self, root: bytes) -> bytes:
        self.roots.append(root)
        await self.gate.acquire()
        return root


def nonce(number: int) -> bytes:
    return number.to_bytes(32, "big")


def root_of(number: int, path: NoncePath) -> bytes:
    claimed = SdkNoncePath(index=path.index, leaves=path.leaves, siblings=path.siblings)
    return nonce_tree_root(nonce(number), claimed)


def test_a_caller_alone_waits_for_nobody() -> None:
    async def scenario() -> None:
        quoter = SlowQuoter()
        quoter.gate.release()
        root, path = await Batcher(quoter).attest(nonce(1))
        assert path.leaves == 1
        assert root_of(1, path) == root

    asyncio.run(scenario())


def test_callers_that_arrive_during_a_quote_share_the_next() -> None:
    async def scenario() -> None:
        quoter = SlowQuoter()
        batcher = Batcher(quoter)
        first = asyncio.create_task(batcher.attest(nonce(0)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        others = [asyncio.create_task(batcher.attest(nonce(n))) for n in range(1, 8)]
        await asyncio.sleep(0)
        quoter.gate.release()
        assert (await first)[1].leaves == 1
        quoter.gate.release()
        answers = await asyncio.gather(*others)
        assert len(quoter.roots) == 2
        for number, (root, path) in enumerate(answers, start=1):
            assert root == quoter.roots[1]
            assert root_of(number, path) == root
        assert {path.leaves for _, path in answers} == {7}

    asyncio.run(scenario())


def test_a_caller_that_goes_away_takes_nobody_with_it() -> None:
    async def scenario() -> None:
        quoter = SlowQuoter()
        batcher = Batcher(quoter)
        gone, stays = (asyncio.create_task(batcher.attest(nonce(n))) for n in (1, 2))
        await asyncio.sleep(0)
        gone.cancel()
        quoter.gate.release()
        root, path = await stays
        assert root_of(2, path) == root
        assert gone.cancelled() or not gone.done()

    asyncio.run(scenario())


def test_a_failed_quote_is_everybodys_and_the_next_one_works() -> None:
    async def scenario() -> None:
        quotes = 0

        async def failing_once(root: bytes) -> bytes:
            nonlocal quotes
            quotes += 1
            if quotes == 1:
                raise TpmError("the TPM is away")
            return root

        batcher = Batcher(failing_once)
        with pytest.raises(TpmError) as caught:
            await batcher.attest(nonce(1))
        assert caught.value.code == "guest.tpm"
        root, path = await batcher.attest(nonce(2))
        assert root_of(2, path) == root

    asyncio.run(scenario())


def test_overload_is_refused_at_once() -> None:
    async def scenario() -> None:
        quoter = SlowQuoter()
        batcher = Batcher(quoter, limit=2)
        first = asyncio.create_task(batcher.attest(nonce(0)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting = [asyncio.create_task(batcher.attest(nonce(n))) for n in (1, 2)]
        await asyncio.sleep(0)
        with pytest.raises(BusyError) as caught:
            await batcher.attest(nonce(3))
        assert caught.value.code == "guest.busy"
        quoter.gate.release()
        quoter.gate.release()
        await asyncio.gather(first, *waiting)

    asyncio.run(scenario())


def test_the_tpm_works_while_answers_are_given() -> None:
    """The next quote has begun before anybody is told of the last one."""

    async def scenario() -> None:
        order: list[str] = []
        begun, gate = asyncio.Event(), asyncio.Semaphore(0)

        async def quote(root: bytes) -> bytes:
            order.append("quote")
            begun.set()
            await gate.acquire()
            return root

        async def caller(number: int) -> None:
            await batcher.attest(nonce(number))
            order.append("answer")

        batcher = Batcher(quote)
        callers = [asyncio.create_task(caller(0))]
        await begun.wait()
        callers += [asyncio.create_task(caller(number)) for number in (1, 2)]
        await asyncio.sleep(0)
        gate.release()
        await callers[0]
        gate.release()
        await asyncio.gather(*callers)
        assert order == ["quote", "quote", "answer", "answer", "answer"]

    asyncio.run(scenario())
