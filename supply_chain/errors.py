"""What can go wrong while building, as a tree of errors with stable codes.

BuildError
├── CommandError          a program that the build runs has failed
├── MissingToolError      a program of the host is not installed
├── LockError             the lock is malformed, stale or lacks an input
├── FetchError            an input cannot be had from where it is published
├── DigestMismatchError   bytes are not those that the lock names
├── NotReproducibleError  two builds of the same inputs differ
└── BootError             a guest did not come up or did not answer
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import ValidationError

    from supply_chain.digest import Sha256

STDERR_LINES = 20
"""How much of a failed program's complaint is repeated in the error."""


def faults(exc: ValidationError) -> str:
    """Return what a schema refused, as one line: where and why, without pydantic's own wording."""
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'all of it'}: "
        + fault["msg"].removeprefix("Value error, ")
        for fault in exc.errors(include_url=False, include_context=False, include_input=False)
    )


class BuildError(Exception):
    """A build step failed; `code` is stable and for programs, the text is for people."""

    code: ClassVar[str] = "build"


class CommandError(BuildError):
    """A program that the build runs exited with an error or took too long."""

    code: ClassVar[str] = "build.command"

    def __init__(
        self, argv: Sequence[str], *, returncode: int | None, stderr: bytes = b"", what: str = ""
    ) -> None:
        """Keep the command and its last words.

        Args:
            argv: The command as it was started.
            returncode: Its exit status; None when it was ended because of its time limit.
            stderr: What it wrote to its standard error.
            what: Replaces the first line of the message.
        """
        self.argv = tuple(argv)
        self.returncode = returncode
        self.stderr = stderr
        if not what:
            what = (
                f"{self.argv[0]} took longer than its time limit"
                if returncode is None
                else f"{self.argv[0]} failed with exit status {returncode}"
            )
        tail = stderr.decode("utf-8", errors="replace").rstrip().splitlines()[-STDERR_LINES:]
        super().__init__("\n".join([what, *tail, f"to replay: {shlex.join(self.argv)}"]))


class MissingToolError(BuildError):
    """A program of the host is needed and not installed."""

    code: ClassVar[str] = "build.missing_tool"

    def __init__(self, tool: str, package: str = "", *, remedy: str = "") -> None:
        """Name the program and what provides it.

        Args:
            tool: The executable that was looked for.
            package: The Debian package that holds it, if known.
            remedy: The one line to run; made from the package when empty.
        """
        self.tool = tool
        self.package = package
        if not remedy and package:
            remedy = f"apt-get install --no-install-recommends {package}"
        self.remedy = remedy
        super().__init__(f"{tool} is not installed" + (f"; run: {remedy}" if remedy else ""))


class LockError(BuildError):
    """The lock is malformed, stale, or does not hold the input that was asked for."""

    code: ClassVar[str] = "build.lock"


class FetchError(BuildError):
    """An input could not be fetched from where it is published."""

    code: ClassVar[str] = "build.fetch"


class DigestMismatchError(BuildError):
    """Bytes do not have the digest that the lock demands; nothing of them is kept."""

    code: ClassVar[str] = "build.digest_mismatch"

    def __init__(self, name: str, expected: Sha256, got: Sha256) -> None:
        """Name the input, the digest expected and the digest got."""
        self.name = name
        self.expected = expected
        self.got = got
        super().__init__(f"{name} has the wrong content: expected {expected}, got {got}")


class NotReproducibleError(BuildError):
    """Two builds of the same inputs gave different bytes."""

    code: ClassVar[str] = "build.not_reproducible"


class BootError(BuildError):
    """A guest did not come up, or did not answer in time."""

    code: ClassVar[str] = "build.boot"
