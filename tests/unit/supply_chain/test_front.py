from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from invoke import Context, Exit, Task, task

from blindllama import Error, NetworkError
from supply_chain.errors import BuildError, CommandError, LockError
from supply_chain.front import message, told, whole_number


@task
@told()
def failing(_context: Context, how: str = "lock") -> None:
    """Fail."""
    if how == "lock":
        raise LockError("no set 'x' in the lock")
    if how == "network":
        raise NetworkError("nobody answers")
    if how == "disk":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/build/os.img")
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("lock", "no set 'x' in the lock"),
        ("network", "nobody answers"),
        ("disk", "/build/os.img: No space left on device; free some space"),
    ],
)
def test_a_failure_is_a_message_and_status_1(how: str, said: str) -> None:
    with pytest.raises(Exit) as caught:
        failing(Context(), how)
    assert caught.value.code == 1
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_a_defect_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        failing(Context(), "defect")


def test_a_task_keeps_its_options() -> None:
    assert isinstance(failing, Task)
    assert [argument.name for argument in failing.get_arguments()] == ["how"]
    assert failing.__doc__ == "Fail."


@pytest.mark.parametrize("ways", [(("--help",), {}), ((), {"folder": "--help"})])
def test_help_is_not_taken_for_an_argument(
    ways: tuple[tuple[str, ...], dict[str, str]],
) -> None:
    """Invoke gives a task that has an argument the word itself; the task must not run with it."""
    seen: list[str] = []

    @told()
    def work(folder: str) -> None:
        seen.append(folder)

    args, kwargs = ways
    with pytest.raises(Exit) as caught:
        work(*args, **kwargs)
    assert caught.value.message == "--help goes before this task: ./do invoke --help TASK"
    assert caught.value.code == 1
    assert seen == []
    work("a folder")
    assert seen == ["a folder"]


def test_a_real_full_device_names_what_to_do() -> None:
    with pytest.raises(OSError) as caught, Path("/dev/full").open("wb") as file:
        file.write(b"x")
    assert "free some space" in message(caught.value)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_a_refused_file_names_the_right_user(number: int) -> None:
    said = message(PermissionError(number, os.strerror(number), "/build"))
    assert said.startswith("/build: ")
    assert "sudo" in said


def test_an_error_without_a_number_says_its_text() -> None:
    assert message(OSError("odd")) == "odd"
    assert message(Error("odd")) == "odd"


def test_a_program_that_found_the_disk_full_says_so_last() -> None:
    exc = CommandError(["tar"], returncode=2, stderr=b"tar: x: No space left on device")
    assert message(exc).splitlines()[-1].startswith("the disk is full: free some space")


def test_a_number_is_read_within_its_bounds() -> None:
    assert whole_number("8443", "port", least=0, most=65535) == 8443


@pytest.mark.parametrize("text", ["", "abc", "-1", "65536", "1.5", "٣", "9" * 5000])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(BuildError, match="--port: expected a number from 0 to 65535"):
        whole_number(text, "port", least=0, most=65535)
