from __future__ import annotations

from pathlib import Path

import pytest

from deploy.qemu.console import LINES, console_tail, has_panicked, last_words


@pytest.fixture
def console(tmp_path: Path) -> Path:
    return tmp_path / "console.log"


def test_the_last_lines_are_plain_text(console: Path) -> None:
    assert console_tail(console) == []
    console.write_bytes(b"old\n" * 9000 + b"\x1b[2J\x1b[01;01Hfirst\r\n\r\n\x07second \xff\n")
    assert console_tail(console, 2) == ["first", "second �"]
    assert len(console_tail(console)) == LINES


def test_what_it_ended_with_is_told_without_what_follows(console: Path) -> None:
    said = "[    4.1] blindllama: the root disk could not be opened"
    console.write_text("\n".join(["[    1.0] something", said, *["[    5.0]  trace"] * 30]))
    assert last_words(console) == [said]
    console.write_text("\n".join(["[    5.0]  trace"] * 30))
    assert last_words(console) == ["[    5.0]  trace"] * LINES


def test_a_panic_is_known() -> None:
    assert has_panicked(["a", "[ 3.1] Kernel panic - not syncing: dm-verity device corrupted"])
    assert not has_panicked(["a", "no panic"])
