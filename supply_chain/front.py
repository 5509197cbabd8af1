"""Where errors become what a person reads: one message that says what to do, and exit status 1.

The tasks of every room go through here, so that no condition of the machine (a full disk, no
network, no permission, malformed input) ends in a traceback. What still does is a defect.
"""

from __future__ import annotations

import contextlib
import errno
import functools
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from invoke.exceptions import Exit

from blindllama import Error
from supply_chain.errors import BuildError, CommandError

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")

_DISK_FULL = (
    "free some space (a build from nothing takes 5 GB) and run the same again: "
    "what was finished before still stands"
)
_WHAT_TO_DO = {
    errno.ENOSPC: _DISK_FULL,
    errno.EDQUOT: _DISK_FULL,
    errno.EACCES: "run the same command with sudo, or make this user its owner",
    errno.EPERM: "run the same command with sudo, or make this user its owner",
    errno.EROFS: "make it writable, or move the checkout (BLINDLLAMA_CACHE moves the cache alone)",
}


_HELP = "--help"


def told() -> _Told:
    """End the task with a message for people when what it does fails; also a decorator.

    Raises:
        Exit: With status 1, in the place of each error that is not a defect of ours.
    """
    return _Told()


class _Told(contextlib.ContextDecorator):
    """What `told` says, around a block or a task."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: object
    ) -> None:
        if isinstance(exc, BuildError | Error | OSError):
            raise Exit(message(exc), code=1) from exc

    def __call__(self, task: Callable[P, T]) -> Callable[P, T]:  # type: ignore[override]
        """Around a task: one that takes an argument would take `--help` for it."""
        inside = super().__call__(task)

        @functools.wraps(task)
        def asked(*args: P.args, **kwargs: P.kwargs) -> T:
            if _HELP in args or _HELP in kwargs.values():
                raise Exit(f"{_HELP} goes before this task: ./do invoke {_HELP} TASK", code=1)
            return inside(*args, **kwargs)

        return asked


def message(exc: BuildError | Error | OSError) -> str:
    """Return what a person should read about an error, and what they can do."""
    if isinstance(exc, CommandError) and b"No space left on device" in exc.stderr:
        return f"{exc}\nthe disk is full: {_DISK_FULL}"
    if isinstance(exc, OSError) and exc.errno is not None:
        where = f"{exc.filename}: " if exc.filename is not None else ""
        what = f"{where}{exc.strerror or exc}"
        todo = _WHAT_TO_DO.get(exc.errno)
        return f"{what}; {todo}" if todo else what
    report = getattr(exc, "report", None)
    return "\n".join(filter(None, (report and str(report), str(exc))))


def whole_number(text: str, name: str, *, least: int, most: int) -> int:
    """Return the number that an option says; Invoke's own reading ends in a traceback.

    Raises:
        BuildError: It is none, or out of bounds.
    """
    # isascii: int() also takes the digits of other scripts.
    if text.isascii() and text.isdigit() and least <= int(text[:10]) <= most:
        return int(text)
    raise BuildError(f"--{name}: expected a number from {least} to {most}, got {text!r}")
