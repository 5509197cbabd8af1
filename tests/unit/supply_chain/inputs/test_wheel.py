from __future__ import annotations

from pathlib import Path

import pytest

from supply_chain import inputs
from supply_chain.digest import sha256_bytes
from supply_chain.errors import DigestMismatchError, FetchError
from supply_chain.inputs.lock import Wheel
from supply_chain.inputs.store import Store
from supply_chain.inputs.wheel import resolve_wheel
from supply_chain.progress import SilentProgress
from tests.unit.supply_chain.inputs.samples import build_wheel, lock_of

FILENAME = "a_model-1.2-py3-none-any.whl"
DATA = build_wheel("a_model", "1.2", {"a_model/weights.gguf": b"weights"})
WHEEL = Wheel(
    name="a-model", version="1.2", filename=FILENAME, size=len(DATA), sha256=sha256_bytes(DATA)
)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Settings that make a directory pip's only source; they reach pip as a user's would."""
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / FILENAME).write_bytes(DATA)
    (tmp_path / "pip.conf").write_text("[global]\nno-index = true\n")
    return {
        "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"),
        "PIP_FIND_LINKS": str(tmp_path / "links"),
        "PIP_NO_INDEX": "1",
        "HOME": str(tmp_path),
    }


def fetch(wheel: Wheel, store: Store, environ: dict[str, str]) -> None:
    inputs.fetch(lock_of(wheels=(wheel,)), (), store, SilentProgress(), environ=environ)


def test_pip_brings_the_wheel_once(environ: dict[str, str], tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    fetch(WHEEL, store, environ)
    assert store.path(WHEEL.sha256).read_bytes() == DATA
    # The second time, a pip without any source would fail.
    fetch(WHEEL, store, environ | {"PIP_FIND_LINKS": ""})


def test_other_bytes_are_refused_with_both_digests(environ: dict[str, str], tmp_path: Path) -> None:
    evil = build_wheel("a_model", "1.2", {"a_model/weights.gguf": b"Weights"})
    (tmp_path / "links" / FILENAME).write_bytes(evil)
    with pytest.raises(DigestMismatchError) as caught:
        fetch(WHEEL, Store(tmp_path / "store"), environ)
    assert caught.value.code == "build.digest_mismatch"
    assert caught.value.name == "a-model==1.2"
    assert (caught.value.expected, caught.value.got) == (WHEEL.sha256, sha256_bytes(evil))
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []


def test_a_version_that_nobody_has(environ: dict[str, str], tmp_path: Path) -> None:
    missing = WHEEL.model_copy(update={"version": "9.9"})
    with pytest.raises(FetchError) as caught:
        fetch(missing, Store(tmp_path / "store"), environ)
    assert caught.value.code == "build.fetch"
    assert "a-model==9.9" in str(caught.value)


def test_a_new_wheel_is_pinned_by_what_the_registry_serves(
    environ: dict[str, str], tmp_path: Path
) -> None:
    store = Store(tmp_path / "store")
    found = resolve_wheel("a-model", "1.2", store, environ=environ, progress=SilentProgress())
    assert found == WHEEL
    assert store.has(WHEEL.sha256)
