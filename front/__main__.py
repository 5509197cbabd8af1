"""`python3 -I -m front`: serve the API until the container is stopped."""

from __future__ import annotations

import argparse
import asyncio
import logging
import secrets
import sys
import time
from typing import TYPE_CHECKING

from aiohttp import web

from front.api import Api
from front.dialect import KINDS, dialect
from front.limits import Limits
from front.upstream import Upstream
from front.work import Settings, Work

if TYPE_CHECKING:
    from collections.abc import Sequence


def parser() -> argparse.ArgumentParser:
    """The command line: all settings, so that all of them are in the measured manifest."""
    made = argparse.ArgumentParser(prog="front", description="The API in front of a model server.")
    made.add_argument("--listen", required=True, metavar="HOST:PORT", help="where to serve")
    made.add_argument("--kind", required=True, choices=KINDS, help="what the model server is")
    made.add_argument("--server", required=True, metavar="ADDRESS", help="unix:PATH or http://…")
    made.add_argument("--model", required=True, help="the model's one name")
    made.add_argument("--max-tokens", required=True, type=int, help="the longest answer")
    made.add_argument("--concurrent", required=True, type=int, help="requests at a time")
    made.add_argument("--waiting", type=int, default=16, help="requests that wait")
    made.add_argument("--prompt-characters", type=int, default=65536, help="the longest prompt")
    made.add_argument("--time-s", type=float, default=600.0, help="a request's time, in seconds")
    made.add_argument("--embeddings", action="store_true", help="the model makes vectors, no text")
    return made


async def serve(arguments: argparse.Namespace) -> None:
    """Serve until cancelled."""
    settings = Settings(
        model=arguments.model,
        limits=Limits(
            max_tokens=arguments.max_tokens,
            prompt_characters=arguments.prompt_characters,
            time_s=arguments.time_s,
            concurrent=arguments.concurrent,
            waiting=arguments.waiting,
        ),
        embeddings=arguments.embeddings,
    )
    upstream = Upstream(arguments.server, dialect(arguments.kind, arguments.model))
    api = Api(
        settings,
        Work(settings, upstream, clock=time.monotonic),
        seconds=lambda: int(time.time()),
        identity=lambda: secrets.token_hex(12),
    )
    # Who goes away ends the work: the handler is cancelled, and with it the server's request.
    runner = web.AppRunner(api.application(), access_log=None, handler_cancellation=True)
    await runner.setup()
    host, _, port = arguments.listen.rpartition(":")
    try:
        await web.TCPSite(runner, host, int(port)).start()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def main(argv: Sequence[str] | None = None) -> int:
    """Serve; 0 when interrupted."""
    arguments = parser().parse_args(argv)
    logging.basicConfig(stream=sys.stderr, format="%(message)s")
    # The framework's messages may repeat a request.
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL + 1)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)
    try:
        asyncio.run(serve(arguments))
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
