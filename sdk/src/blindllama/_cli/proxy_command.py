"""`blindllama proxy`: the ten checks, then a local server for programs that speak OpenAI's API."""

from __future__ import annotations

import argparse
import re
import sys

from blindllama._cli.connect import connect
from blindllama._platform.registry import platform_named
from blindllama.errors import UsageError

__all__ = ["run"]

_LISTEN = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]+):([0-9]{1,5})")


def run(options: argparse.Namespace) -> None:
    """Verify the guest, then pass requests on until interrupted.

    Raises:
        Error: as `verify_and_connect`: nothing listens before all ten checks have passed.
    """
    host, port = _parse_listen(options.listen)
    with (
        connect(options) as session,
        session.proxy(host=host, port=port, log=_log, allow_remote=options.allow_remote) as proxy,
    ):
        release = session.release
        _log(f"verified: {release.name} {release.sequence} on {release.platform.value}")
        _log(f"({platform_named(release.platform).limits})")
        _log(f"listening: {proxy.url}/v1")
        proxy.serve()


def _parse_listen(text: str) -> tuple[str, int]:
    match = _LISTEN.fullmatch(text)
    if match is None:
        raise UsageError(f"--listen; expected ADDRESS:PORT, such as 127.0.0.1:8080; got {text}")
    return match[1].strip("[]"), int(match[2])


def _log(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
