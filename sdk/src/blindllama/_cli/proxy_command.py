"""`blindllama proxy`: the ten checks, then a local server for programs that speak OpenAI's API."""

from __future__ import annotations

import argparse
import re

from blindllama._cli.connect import connect_and_tell
from blindllama._cli.output import Output
from blindllama.errors import UsageError

__all__ = ["run"]

_LISTEN = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]+):([0-9]{1,5})")


def run(options: argparse.Namespace, output: Output) -> None:
    """Verify the guest, then pass requests on until interrupted.

    Raises:
        Error: as `verify_and_connect`: nothing listens before all ten checks have passed.
    """
    host, port = _parse_listen(options.listen)
    remote = options.allow_remote
    with (
        connect_and_tell(options, output) as session,
        session.proxy(host=host, port=port, log=output.note, allow_remote=remote) as proxy,
    ):
        output.note(f"listening: {proxy.url}/v1")
        output.line(name="listening", url=f"{proxy.url}/v1")
        proxy.serve()


def _parse_listen(text: str) -> tuple[str, int]:
    match = _LISTEN.fullmatch(text)
    if match is None:
        raise UsageError(f"--listen; expected ADDRESS:PORT, such as 127.0.0.1:8080; got {text}")
    return match[1].strip("[]"), int(match[2])
