from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.supply_chain.inputs.samples import build_wheel

ENVIRON = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/nonexistent",
    "PIP_NO_INDEX": "1",
}


def do(root: Path, *argv: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(root / "do"), *argv],
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRON | environ,
    )


@pytest.fixture
def copy(checkout: Path, tmp_path: Path) -> Path:
    return copy_of(checkout, tmp_path / "a checkout")


@pytest.fixture(scope="module")
def ready(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy whose environment is made."""
    root = copy_of(checkout, tmp_path_factory.mktemp("ready") / "a checkout")
    assert do(root, "true").returncode == 0
    return root


def copy_of(checkout: Path, root: Path) -> Path:
    """A checkout with the launcher and no requirements, so that it needs no network."""
    (root / "requirements").mkdir(parents=True)
    (root / "sdk/src/blindllama").mkdir(parents=True)
    shutil.copy(checkout / "do", root / "do")
    (root / "requirements/dev.txt").touch()
    (root / "sdk/src/blindllama/__init__.py").touch()
    (root / "sdk/src/blindllama/_cli.py").write_text(
        "import sys\n\n\ndef main() -> int:\n    print(sys.argv[1:])\n    return 5\n"
    )
    return root


def test_the_environment_is_made_once_and_again_when_it_is_stale(copy: Path) -> None:
    where = ("python", "-c", "import sys; print(sys.prefix)")
    first = do(copy, *where)
    assert first.returncode == 0, first.stderr
    assert first.stdout.strip() == str(copy / ".venv")
    assert "ready" in first.stderr

    again = do(copy, *where)
    assert (again.stdout, again.stderr) == (first.stdout, "")

    # What was interrupted has no stamp, and what is stale has another one.
    (copy / ".venv/complete").unlink()
    assert "ready" in do(copy, "true").stderr
    (copy / "requirements/dev.txt").write_text("# another requirement\n")
    assert "ready" in do(copy, "true").stderr
    assert do(copy, "true").stderr == ""


def test_the_checkout_and_the_sdk_are_importable_and_callable(ready: Path) -> None:
    found = do(ready, "python", "-c", "import blindllama; print(blindllama.__file__)")
    assert found.stdout.strip() == str(ready / "sdk/src/blindllama/__init__.py")
    called = do(ready, "blindllama", "ask", "a b")
    assert (called.returncode, called.stdout) == (5, "['ask', 'a b']\n")


def test_modules_of_the_caller_do_not_take_over(ready: Path, tmp_path: Path) -> None:
    (tmp_path / "blindllama.py").write_text("raise SystemExit('taken over')")
    done = do(ready, "python", "-c", "import blindllama", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr


def test_a_failed_installation_is_not_taken_for_whole(copy: Path) -> None:
    (copy / "requirements/dev.txt").write_text("no-such-package==1 --hash=sha256:" + "0" * 64)
    done = do(copy, "echo", "reached")
    assert done.returncode == 1
    assert "no-such-package" in done.stderr
    assert done.stdout == ""
    assert not (copy / ".venv/complete").exists()


def test_a_requirement_without_a_hash_is_refused(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "a_model-1-py3-none-any.whl").write_bytes(build_wheel("a_model", "1", {}))
    (copy / "requirements/dev.txt").write_text("a-model==1")
    done = do(copy, "echo", "reached", PIP_FIND_LINKS=str(tmp_path))
    assert done.returncode == 1
    assert "Hashes are required" in done.stderr
    assert done.stdout == ""


def test_without_a_command_it_says_how(copy: Path) -> None:
    done = do(copy)
    assert done.returncode == 2
    assert "usage" in done.stderr
    assert not (copy / ".venv").exists()


def test_an_old_python_is_not_enough(copy: Path, tmp_path: Path) -> None:
    path = tmp_path / "bin"
    path.mkdir()
    for name in ("sh", "dirname", "sha256sum", "cat", "flock", "printf"):
        found = shutil.which(name)
        if found is not None:
            (path / name).symlink_to(found)
    (path / "python3").write_text("#!/bin/sh\nexit 1\n")
    (path / "python3").chmod(0o755)
    done = do(copy, "true", PATH=str(path))
    assert done.returncode == 1
    assert "Python 3.11 or newer" in done.stderr


def test_the_python_that_is_asked_for_makes_the_environment(copy: Path, tmp_path: Path) -> None:
    asked = program(tmp_path / "bin/python3", "exit 1")
    path = f"{asked.parent}:{ENVIRON['PATH']}"
    calls = tmp_path / "calls"
    good = program(tmp_path / "good", f'echo >>"{calls}"; exec {sys.executable} "$@"')
    done = do(copy, "python", "-c", "import sys; print(sys.version)", PATH=path, PYTHON=str(good))
    assert (done.returncode, done.stdout.strip()) == (0, sys.version.strip()), done.stderr
    assert calls.exists()

    # It stays when none is asked for, or the same one.
    assert do(copy, "true", PATH=path).stderr == ""
    assert do(copy, "true", PATH=path, PYTHON=sys.executable).stderr == ""


def test_another_python_makes_the_environment_again(copy: Path, tmp_path: Path) -> None:
    assert do(copy, "true", PYTHON=sys.executable).returncode == 0
    other = program(
        tmp_path / "other",
        'case "$*" in *"print(sys.version)"*) echo another version; exit; esac\n'
        f'exec {sys.executable} "$@"',
    )
    done = do(copy, "true", PYTHON=str(other))
    assert done.returncode == 0, done.stderr
    assert "ready" in done.stderr


@pytest.mark.parametrize("body", ["exit 1", None], ids=["old", "missing"])
def test_a_python_that_is_asked_for_and_unfit_is_named(
    copy: Path, tmp_path: Path, body: str | None
) -> None:
    assert do(copy, "true").returncode == 0
    name = tmp_path / "unfit" if body is None else program(tmp_path / "unfit", body)
    done = do(copy, "echo", "reached", PYTHON=str(name))
    assert (done.returncode, done.stdout) == (1, "")
    assert f"PYTHON={name} is none" in done.stderr
    # What was there before is not lost.
    assert do(copy, "true").stderr == ""


def program(path: Path, body: str) -> Path:
    """A shell script at this path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_locked_requirements_hold_hashes_and_no_addresses(checkout: Path) -> None:
    for path in sorted((checkout / "requirements").glob("*.txt")):
        text = path.read_text("utf-8")
        assert "://" not in text, path.name
        pinned = [line for line in text.splitlines() if "==" in line and not line[0].isspace()]
        assert pinned, path.name
        assert all(line.endswith("\\") for line in pinned), path.name
        assert text.count("--hash=sha256:") >= len(pinned), path.name


def test_every_requirement_of_the_sdk_is_locked(checkout: Path) -> None:
    locked = (checkout / "requirements/dev.txt").read_text("utf-8")
    assert os.access(checkout / "do", os.X_OK)
    for name in ("cryptography", "in-toto", "pydantic", "requests", "securesystemslib", "sigstore"):
        assert f"\n{name}==" in f"\n{locked}"
