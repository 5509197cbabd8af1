"""A step reads what it declares: every file that this process opens meanwhile is looked at.

Python tells its audit hooks of each file before it is opened, and the trees tell of each path that
a locked tool is given. This finds what a build reads by mistake; it is no wall against a build that
means harm, whose own programs could open files without Python.

Source: PEP 578; Python, "Audit events table" (open).
"""

from __future__ import annotations

import contextlib
import os
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from supply_chain.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

GIVEN = "blindllama.given"
"""The audit event of a path that a program of a tree is given."""
_EVENTS = frozenset({"open", GIVEN})
_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc", "/proc", "/sys", "/dev")
"""Where the host's own programs and their settings are; nothing of them shapes an artefact."""
_MODULES = (".py", ".pyc")


class UndeclaredReadError(BuildError):
    """A step reads a file that is neither an input, nor an earlier product, nor its code."""

    code: ClassVar[str] = "build.undeclared_read"


class _Guard:
    """The one hook of this process: a hook cannot be taken back, so it is told when to look."""

    def __init__(self) -> None:
        self._installed = False
        self._step = ""
        self._allowed: tuple[str, ...] = ()

    @contextlib.contextmanager
    def watching(self, step: str, allowed: tuple[str, ...]) -> Iterator[None]:
        if not self._installed:
            sys.addaudithook(self._look)
            self._installed = True
        before = self._step, self._allowed
        self._step, self._allowed = step, allowed
        try:
            yield
        finally:
            self._step, self._allowed = before

    def _look(self, event: str, arguments: tuple[object, ...]) -> None:
        if event not in _EVENTS or not self._step:
            return
        path = arguments[0]
        # A number is a descriptor: it was opened before.
        if not isinstance(path, str | bytes | os.PathLike):
            return
        # A relative path is below a folder that was opened before, or in the step's own.
        name = os.fsdecode(path)
        if not name.startswith("/"):
            return
        real = os.path.realpath(name)
        if real.endswith(_MODULES) or _is_below(real, self._allowed):
            return
        raise UndeclaredReadError(
            f"step {self._step} reads {real}: expected an input of the lock, a product of an "
            "earlier step or its code; if it decides a product, name it in pipeline.py"
        )


_guard = _Guard()


@contextlib.contextmanager
def reading_only(step: str, paths: Iterable[Path]) -> Iterator[None]:
    """Inside the block, a step opens these files and what is below them, and else only programs.

    The hooks are not told which folder a relative path is below; the caller sees to it that the
    working directory is one of the step's own.

    Args:
        step: Its name, for the error.
        paths: Files and folders.

    Raises:
        UndeclaredReadError: It opens another one; raised where that happens.
    """
    python = {Path(sys.prefix), Path(sys.base_prefix), Path(sysconfig.get_path("purelib"))}
    own = (*python, Path(tempfile.gettempdir()), *map(Path, _SYSTEM))
    allowed = tuple({os.path.realpath(path) for path in (*paths, *own)})
    with _guard.watching(step, allowed):
        yield


def _is_below(path: str, roots: Iterable[str]) -> bool:
    return any(path == root or path.startswith(f"{root}/") for root in roots)
