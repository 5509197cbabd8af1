"""A step runs once for equal inputs, again for any difference, and never leaves half a product."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from supply_chain import process
from supply_chain.confinement import UndeclaredReadError
from supply_chain.digest import sha256_bytes
from supply_chain.errors import BuildError
from supply_chain.inputs.tree import Bind, Tree
from supply_chain.step import Step, StepResult, run_step

NOW = datetime(2026, 1, 2, tzinfo=UTC)

pytestmark = pytest.mark.root


class Kitchen:
    """A step with a counter, so that a test sees whether it ran."""

    def __init__(self, root: Path) -> None:
        """Make the source folder that the step's key covers."""
        self.root = root
        self.code = root / "code"
        self.code.mkdir()
        (self.code / "recipe.py").write_text("salt = 1\n")
        self.runs = 0

    def cook(self, out: Path) -> None:
        """Write the one product."""
        self.runs += 1
        (out / "soup").write_text("soup")

    def step(self, build: Callable[[Path], None] | None = None) -> Step:
        """Return the declared step."""
        return Step(
            name="soup",
            inputs={"leek": sha256_bytes(b"leek")},
            after=(),
            products=("soup",),
            code={"code": self.code},
            parameters={"salt": 1},
            build=build or self.cook,
        )

    def run(self, step: Step, earlier: dict[str, StepResult] | None = None) -> StepResult:
        """Run a step in this kitchen."""
        return run_step(
            step, earlier=earlier or {}, build_root=self.root / "build", clock=lambda: NOW
        )


@pytest.fixture
def kitchen(tmp_path: Path) -> Kitchen:
    """Return a kitchen in a folder of its own."""
    return Kitchen(tmp_path)


def test_an_equal_run_is_kept(kitchen: Kitchen) -> None:
    """The second run reads the first one's products and says that it did not rebuild."""
    first, second = kitchen.run(kitchen.step()), kitchen.run(kitchen.step())
    assert (first.rebuilt, second.rebuilt, kitchen.runs) == (True, False, 1)
    assert first == second
    assert first.products == {"soup/soup": sha256_bytes(b"soup")}
    assert first.materials == {"inputs/leek": sha256_bytes(b"leek")}


def test_a_changed_input_runs_again(kitchen: Kitchen) -> None:
    """Another digest of an input is another run."""
    kitchen.run(kitchen.step())
    kitchen.run(replace(kitchen.step(), inputs={"leek": sha256_bytes(b"onion")}))
    assert kitchen.runs == 2


def test_a_changed_parameter_runs_again(kitchen: Kitchen) -> None:
    """Another parameter is another run."""
    kitchen.run(kitchen.step())
    kitchen.run(replace(kitchen.step(), parameters={"salt": 2}))
    assert kitchen.runs == 2


def test_changed_code_runs_again(kitchen: Kitchen) -> None:
    """Another line in a source file is another run."""
    kitchen.run(kitchen.step())
    (kitchen.code / "recipe.py").write_text("salt = 2\n")
    kitchen.run(kitchen.step())
    assert kitchen.runs == 2


def test_compiled_python_does_not_count_as_code(kitchen: Kitchen) -> None:
    """Importing the source must not make it look changed."""
    kitchen.run(kitchen.step())
    (kitchen.code / "__pycache__").mkdir()
    (kitchen.code / "__pycache__" / "recipe.pyc").write_bytes(b"\0")
    kitchen.run(kitchen.step())
    assert kitchen.runs == 1


def test_compiled_python_counts_where_it_can_be_imported_by_itself(kitchen: Kitchen) -> None:
    kitchen.run(kitchen.step())
    (kitchen.code / "recipe.pyc").write_bytes(b"\0")
    assert kitchen.run(kitchen.step()).rebuilt
    (kitchen.code / "recipe.pyc").write_bytes(b"\1")
    assert kitchen.run(kitchen.step()).rebuilt


def test_a_changed_link_or_mode_runs_again(kitchen: Kitchen) -> None:
    """Links and executable bits are copied into images, so they are code as well."""
    link = kitchen.code / "files" / "link"
    link.parent.mkdir()
    link.symlink_to("nowhere")
    kitchen.run(kitchen.step())
    link.unlink()
    link.symlink_to("elsewhere")
    kitchen.run(kitchen.step())
    assert kitchen.runs == 2
    script = link.with_name("script")
    script.write_text("")
    kitchen.run(kitchen.step())
    script.chmod(0o755)
    kitchen.run(kitchen.step())
    assert kitchen.runs == 4


def test_a_damaged_product_is_made_again(kitchen: Kitchen) -> None:
    """The cache trusts bytes, never a record of them."""
    first = kitchen.run(kitchen.step())
    first.path("soup").write_text("soup, with a hair in it")
    again = kitchen.run(kitchen.step())
    assert (kitchen.runs, again.path("soup").read_text()) == (2, "soup")


def test_a_damaged_record_is_made_again(kitchen: Kitchen) -> None:
    """A record cut short by a crash is no record."""
    first = kitchen.run(kitchen.step())
    (first.folder / "step.json").write_text('{"key": "')
    kitchen.run(kitchen.step())
    assert kitchen.runs == 2


def test_a_failed_run_keeps_the_last_good_products(kitchen: Kitchen) -> None:
    """An exception half way leaves what stood before, and nothing beside it."""

    def burn(out: Path) -> None:
        (out / "soup").write_text("so")
        raise OSError(28, "No space left on device")

    good = kitchen.run(kitchen.step())
    with pytest.raises(OSError, match="No space"):
        kitchen.run(replace(kitchen.step(burn), parameters={"salt": 2}))
    assert good.path("soup").read_text() == "soup"
    assert [path.name for path in (kitchen.root / "build").iterdir()] == ["soup"]


def test_an_undeclared_product_is_refused(kitchen: Kitchen) -> None:
    """Nothing leaves a step that its declaration does not name."""

    def spill(out: Path) -> None:
        kitchen.cook(out)
        (out / "crumbs").write_text("")

    with pytest.raises(BuildError, match="crumbs"):
        kitchen.run(kitchen.step(spill))


def test_a_step_takes_the_products_of_earlier_ones(kitchen: Kitchen) -> None:
    """Products of the steps named in `after` become materials under their own names."""
    soup = kitchen.run(kitchen.step())
    meal = replace(kitchen.step(), name="meal", after=("soup",))
    result = kitchen.run(meal, {"soup": soup})
    assert result.materials["soup/soup"] == sha256_bytes(b"soup")
    with pytest.raises(BuildError, match="soup"):
        kitchen.run(meal)


def test_a_step_reaches_no_network_and_no_server_of_the_machine(kitchen: Kitchen) -> None:
    """Neither elsewhere, nor the machine's own loopback; nor does a program that it starts."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        program = f"import socket; socket.create_connection(('127.0.0.1', {port}), timeout=5)"
        tried: list[object] = []

        def call(out: Path) -> None:
            for address in (("192.0.2.1", 80), ("127.0.0.1", port)):
                with socket.socket() as attempt:
                    attempt.settimeout(5)
                    tried.append(attempt.connect_ex(address))
            child = process.run([sys.executable, "-c", program], check=False)
            tried.append(b"ConnectionRefusedError" in child.stderr)
            kitchen.cook(out)

        kitchen.run(kitchen.step(call))
        assert tried == [errno.ENETUNREACH, errno.ECONNREFUSED, True]
        # And the machine has its network back.
        socket.create_connection(("127.0.0.1", port), timeout=5).close()


def test_a_step_that_needs_the_network_fails_with_its_own_error(kitchen: Kitchen) -> None:
    """What a step raises comes out as it was raised, and the network is there again after it."""
    before = Path("/proc/thread-self/ns/net").readlink()

    def call(out: Path) -> None:
        assert Path("/proc/thread-self/ns/net").readlink() != before
        socket.create_connection(("192.0.2.1", 80), timeout=5)

    with pytest.raises(OSError, match="unreachable"):
        kitchen.run(kitchen.step(call))
    assert Path("/proc/thread-self/ns/net").readlink() == before


def test_a_step_has_a_loopback_of_its_own(kitchen: Kitchen) -> None:
    """A server and its client inside of one step find each other: an emulator may need that."""

    def call(out: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), timeout=5).close()
        kitchen.cook(out)

    assert kitchen.run(kitchen.step(call)).rebuilt


def test_a_step_works_in_its_own_folder(kitchen: Kitchen, checkout: Path) -> None:
    """So a relative path leads to nothing but what the step has made."""

    def cook(out: Path) -> None:
        assert Path.cwd() == out
        assert not Path("pyproject.toml").exists()
        kitchen.cook(out)

    before = Path.cwd()
    assert (checkout / "pyproject.toml").exists()
    assert kitchen.run(kitchen.step(cook)).rebuilt
    assert Path.cwd() == before


@pytest.mark.parametrize("how", ["open", "os.open", "a tree's program"])
def test_a_step_that_reads_what_it_does_not_declare_fails(kitchen: Kitchen, how: str) -> None:
    """Whatever is on the machine besides: not an input, no earlier product, not its code."""
    secret = kitchen.root.parent / f"{kitchen.root.name}-elsewhere" / "salt"
    secret.parent.mkdir()
    secret.write_text("from a shop")

    def season(out: Path) -> None:
        if how == "open":
            secret.read_text()
        elif how == "os.open":
            os.close(os.open(secret, os.O_RDONLY))
        else:
            Tree(kitchen.code).run(["true"], binds=[Bind(host=secret, inside="/salt")])
        kitchen.cook(out)

    with outside_of_temporary_files(kitchen), pytest.raises(UndeclaredReadError) as caught:
        kitchen.run(kitchen.step(season))
    assert caught.value.code == "build.undeclared_read"
    assert str(caught.value).startswith(f"step soup reads {secret}: expected an input of the lock")
    assert secret.read_text() == "from a shop"  # nobody looks any more


def test_a_step_reads_its_inputs_its_code_and_the_products_before_it(kitchen: Kitchen) -> None:
    """And follows links to them; a module may be imported from anywhere."""
    leek = kitchen.root / "store" / "leek"
    leek.parent.mkdir()
    leek.write_text("leek")
    (kitchen.root / "link").symlink_to(leek)
    soup = kitchen.run(kitchen.step())

    def serve(out: Path) -> None:
        assert (kitchen.root / "link").read_text() == "leek"
        assert (kitchen.code / "recipe.py").read_text()
        (out / "soup").write_text(soup.path("soup").read_text())
        import tests.simulators.file_server  # noqa: F401, PLC0415 - the import is the test

        # As shutil removes a folder: by names relative to it, which are not those of this folder.
        (out / "pot" / "recipe.py").mkdir(parents=True)
        shutil.rmtree(out / "pot")

    meal = replace(kitchen.step(serve), name="meal", after=("soup",), reads=(leek,))
    with outside_of_temporary_files(kitchen):
        assert kitchen.run(meal, {"soup": soup}).path("soup").read_text() == "soup"


@contextlib.contextmanager
def outside_of_temporary_files(kitchen: Kitchen) -> Iterator[None]:
    """Temporary files may be read, and a test's are among them: they have a place of their own."""
    before, tempfile.tempdir = tempfile.tempdir, str(kitchen.root / "tmp")
    try:
        yield
    finally:
        tempfile.tempdir = before
