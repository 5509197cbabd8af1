"""The image of the API: made from the lock, the same every time, and it serves from within itself."""

from __future__ import annotations

import socket
import time
import urllib.error
import urllib.request
from pathlib import Path, PurePosixPath

import pytest

from app_disk.front_image import FRONT_NAME, PACKAGES, front_image
from app_disk.image import Image, ImageError
from app_disk.layer import write_layer
from engine.server import FRONT
from supply_chain.inputs.lock import Lock
from supply_chain.inputs.store import Store
from supply_chain.inputs.tree import Tree
from supply_chain.process import run, spawn
from tests.conftest import locked_tree

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def tree(lock: Lock, store: Store) -> Tree:
    return locked_tree("front", lock, store)


@pytest.fixture(scope="module")
def image(tree: Tree) -> Image:
    return front_image(tree)


def test_the_image_is_the_same_every_time(image: Image, tree: Tree) -> None:
    assert image.name == FRONT_NAME
    assert front_image(tree).manifest == image.manifest


def test_every_module_is_compiled_once_and_never_compared(image: Image) -> None:
    files = {entry.path: entry for entry in image.layer.entries if not entry.is_directory}
    modules = [path for path in files if path.suffix == ".py"]
    compiled = {path for path in files if path.suffix == ".pyc"}

    assert PurePosixPath(PACKAGES, "front", "api.py") in modules
    assert compiled == {
        path.parent / "__pycache__" / f"{path.stem}.cpython-313.pyc" for path in modules
    }
    # PEP 552: bit 0 says that the file is named by its source's hash, bit 1 that it is compared.
    assert {files[path].data()[4:8] for path in compiled} == {b"\x01\x00\x00\x00"}


def test_no_shell_and_nothing_to_install_with_is_in_the_image(image: Image) -> None:
    programs = {entry.path for entry in image.layer.entries if entry.executable}
    names = {entry.path.name for entry in image.layer.entries}

    assert {path.name for path in programs} == {"python3.13", "ld-linux-x86-64.so.2"}
    assert not {"sh", "bash", "busybox", "pip", "ensurepip", "ctypes_test", "test"} & names


def test_packages_without_python_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as caught:
        front_image(Tree(tmp_path))
    assert caught.value.code == "app_disk.image"


def test_the_api_serves_from_the_image_alone(image: Image, tmp_path: Path) -> None:
    root = tmp_path / "root"
    write_layer(image.layer, root)
    assert b"--listen" in run(["chroot", str(root), *FRONT, "--help"]).stdout

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{probe.getsockname()[1]}"
    options = ["--kind", "llama-server", "--server", "unix:/run/server/x.sock", "--model", "m"]
    options += ["--max-tokens", "8", "--concurrent", "1"]
    process = spawn(
        ["chroot", str(root), *FRONT, "--listen", listen, *options], stdout=tmp_path / "log"
    )
    try:
        assert b'"id":"m"' in _read(f"http://{listen}/v1/models", tmp_path / "log")
        with pytest.raises(urllib.error.HTTPError) as caught:
            _read(f"http://{listen}/health", tmp_path / "log")
        caught.value.close()
        assert caught.value.code == 503
    finally:
        process.terminate()
        process.wait()
    # Nothing was compiled at its start: all of it was there.
    assert {path.name for path in root.rglob("*.pyc")} == {
        entry.path.name for entry in image.layer.entries if entry.path.suffix == ".pyc"
    }


def _read(url: str, log: Path) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + 60
    while True:
        try:
            with opener.open(url, timeout=30) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError:
            raise
        except urllib.error.URLError:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
