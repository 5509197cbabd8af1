"""The specification: the real one, and broken ones made from it by one change each."""

from __future__ import annotations

from pathlib import Path

import pytest

from os_image.spec import SPEC_NAME, SpecError, parse_spec, read_spec


@pytest.fixture
def path(checkout: Path) -> Path:
    return checkout / "os_image" / SPEC_NAME


def test_the_command_line_begins_with_the_root_and_closes_what_no_pcr_covers(path: Path) -> None:
    line = read_spec(path).command_line(root_hash=bytes(32), data_blocks=7)
    words = line.split(" ")
    assert words[:2] == [f"blindllama.root={'00' * 32}", "blindllama.root_blocks=7"]
    assert {"systemd.import_credentials=no", "efi=noruntime"} <= set(words)
    assert {"lockdown=confidentiality", "debugfs=off", "sysctl.kernel.sysrq=0"} <= set(words)
    assert not any(word.startswith(("root=", "roothash=", "init=", "rdinit=")) for word in words)
    assert line.isascii()


def test_a_debug_image_says_so_and_is_another_image(path: Path) -> None:
    production, debug = read_spec(path), read_spec(path, debug=True)
    assert not production.debug
    line = debug.command_line(root_hash=bytes(32), data_blocks=7)
    assert "blindllama.debug=1" in line.split(" ")
    assert "blindllama.debug" not in production.command_line(root_hash=bytes(32), data_blocks=7)
    assert {"dash", "coreutils"} <= debug.packages - production.packages
    assert production.programs == debug.programs[: len(production.programs)]


def test_nobody_of_a_production_image_can_be_given_orders(path: Path) -> None:
    spec = read_spec(path)
    assert (
        not {"dash", "bash", "coreutils", "util-linux", "perl-base", "dpkg", "apt"} & spec.packages
    )
    names = {Path(program).name for program in spec.programs}
    assert not {"sh", "dash", "login", "su", "agetty", "sulogin"} & names
    assert not any("getty" in unit or "rescue" in unit for unit in spec.rootfs.units)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version = 1", "version = 2"),
        ("debug = false", 'debug = "no"'),
        ("debug = false", ""),
        ("debug = false", "debug = false\nsurprise = 1"),
        ("uid = 200", "uid = 201"),
        ("uid = 200", "uid = 101"),
        ('groups = ["tss"]', 'groups = ["absent"]'),
        ('name = "caddy"\nuid', 'name = "Caddy"\nuid'),
        ("version = 1", "version ="),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    with pytest.raises(SpecError) as caught:
        parse_spec(text.replace(old, new, 1))
    assert caught.value.code == "os_image.spec"


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        read_spec(tmp_path / "absent.toml")
    assert caught.value.code == "os_image.spec"
