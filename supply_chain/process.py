"""The one module that starts programs: no shell, a small clean environment, replayable errors."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from supply_chain.errors import CommandError, MissingToolError
from supply_chain.workspace import EPOCH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are looked for; /usr/sbin too, which Debian leaves out for ordinary users."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A program that has ended."""

    argv: tuple[str, ...]
    """The command as it was started."""
    returncode: int
    """The exit status; 0 unless the caller allowed failure."""
    stdout: bytes
    """All that was written to standard output."""
    stderr: bytes
    """All that was written to standard error."""


def clean_env(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of every program that the build starts, and nothing of the caller's.

    Locale, time zone and SOURCE_DATE_EPOCH are fixed since they leak into outputs.
    """
    env = {
        "PATH": SEARCH_PATH,
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "SOURCE_DATE_EPOCH": str(EPOCH),
    }
    env.update(extra or {})
    return env


def run(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    timeout_s: float | None = None,
    check: bool = True,
) -> Completed:
    """What a program answered, once it has ended.

    Args:
        argv: The command, one word per item; the first is looked up in PATH.
        cwd: The directory to run in.
        env: Added to the clean environment.
        stdin: Bytes for its standard input; nothing when None.
        timeout_s: Seconds until it is killed.
        check: Raise when its exit status is not 0.

    Raises:
        CommandError: It failed or took too long; the text ends with the command to replay.
        MissingToolError: There is no such program.
    """
    environment = clean_env(env)
    command = _resolve(argv, environment)
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            input=b"" if stdin is None else stdin,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise CommandError(argv, returncode=None, stderr=exc.stderr or b"") from exc
    if check and done.returncode != 0:
        raise CommandError(argv, returncode=done.returncode, stderr=done.stderr)
    return Completed(
        argv=tuple(argv), returncode=done.returncode, stdout=done.stdout, stderr=done.stderr
    )


def spawn(
    argv: Sequence[str], *, stdout: Path, env: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """A program that keeps running, in a session of its own.

    The session makes its process group equal to its process id, so that the one
    who started it can end it together with its children and nothing else.

    Args:
        argv: The command, one word per item.
        stdout: The file that receives both of its outputs.
        env: Added to the clean environment.

    Raises:
        MissingToolError: There is no such program.
    """
    environment = clean_env(env)
    command = _resolve(argv, environment)
    with stdout.open("wb") as log:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _resolve(argv: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    # subprocess would search the caller's PATH, not the one that is handed down.
    found = shutil.which(os.fspath(argv[0]), path=environment["PATH"])
    if found is None:
        raise MissingToolError(argv[0])
    return [found, *argv[1:]]
