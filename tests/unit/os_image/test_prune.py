"""What leaves the root file system, on a small root made by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from os_image.elf import ElfError
from os_image.prune import RootfsError, check, prune
from os_image.spec import SPEC_NAME, OsImageSpec, RootfsSpec, read_spec
from supply_chain.inputs.lock import Lock
from supply_chain.inputs.store import Store
from tests.conftest import locked_tree

UNITS = "usr/lib/systemd/system"


@pytest.fixture
def spec(checkout: Path) -> OsImageSpec:
    named = RootfsSpec(
        packages=("base-files",),
        programs=("usr/bin/wanted", "usr/lib/thing/wanted"),
        units=("wanted.service",),
        remove=("usr/share/doc", "usr/lib/x*"),
        read_ahead=(),
    )
    return read_spec(checkout / "os_image" / SPEC_NAME).model_copy(update={"rootfs": named})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root that holds one of everything; symbolic links are written `path -> target`."""
    root = tmp_path / "root"
    for path in (
        *("usr/bin/wanted", "usr/bin/other", "usr/lib/thing/wanted", "usr/lib/thing/other"),
        *("usr/share/doc/text", "usr/lib/x1/file", "home/user/file", "usr/lib/python3.13/tool.py"),
        *(f"{UNITS}/wanted.service", f"{UNITS}/other.service", f"{UNITS}/wanted.service.d/x.conf"),
        "usr/lib/x86_64-linux-gnu/libc.so.6",
    ):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"data")
        (root / path).chmod(0o644 if path.startswith(UNITS) else 0o4755)
    for path in ("etc", f"{UNITS}/a.target.wants", "tmp"):
        (root / path).mkdir(parents=True)
    (root / UNITS / "a.target.wants" / "wanted.service").symlink_to("../wanted.service")
    (root / UNITS / "a.target.wants" / "other.service").symlink_to("../other.service")
    (root / "usr/bin/alias").symlink_to("wanted")
    (root / "usr/lib/x86_64-linux-gnu/libc.so").symlink_to("libc.so.6")
    return root


def files(root: Path) -> set[str]:
    return {
        str(path.relative_to(root))
        for path in root.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def test_only_what_is_named_stays(root: Path, spec: OsImageSpec) -> None:
    prune(root, spec.model_copy(update={"rootfs": spec.rootfs.model_copy(update={"remove": ()})}))
    assert files(root) == {
        "usr/bin/wanted",
        "usr/lib/thing/wanted",
        "usr/lib/python3.13/tool.py",
        "usr/lib/x86_64-linux-gnu/libc.so.6",
        "usr/lib/x86_64-linux-gnu/libc.so",
        "usr/share/doc/text",
        f"{UNITS}/wanted.service",
        f"{UNITS}/a.target.wants/wanted.service",
    } - {"usr/share/doc/text"}
    assert (root / "usr/bin/wanted").stat().st_mode & 0o7777 == 0o755
    assert (root / "usr/lib/python3.13/tool.py").stat().st_mode & 0o7777 == 0o644
    assert not (root / "home").exists()
    assert (root / "proc").is_dir()


def test_patterns_of_what_goes_are_relative_to_the_root(root: Path, spec: OsImageSpec) -> None:
    (root / "usr/share/doc/text").chmod(0o644)
    prune(root, spec)
    assert not (root / "usr/share").exists()
    assert not (root / "usr/lib/x1").exists()
    assert not (root / "usr/lib/x86_64-linux-gnu").exists()


@pytest.mark.parametrize("absent", ["usr/bin/wanted", f"{UNITS}/wanted.service"])
def test_a_name_that_nothing_has_is_an_error(root: Path, spec: OsImageSpec, absent: str) -> None:
    (root / absent).unlink()
    with pytest.raises(RootfsError, match="found nothing of that name") as caught:
        prune(root, spec)
    assert caught.value.code == "os_image.rootfs"


@pytest.mark.parametrize("shell", ["usr/bin/sh", "usr/sbin/sulogin", "usr/lib/x/perl"])
@pytest.mark.parametrize("as_link", [False, True])
def test_a_shell_is_refused_in_production_only(
    tmp_path: Path, spec: OsImageSpec, shell: str, as_link: bool
) -> None:
    (tmp_path / shell).parent.mkdir(parents=True)
    if as_link:
        (tmp_path / shell).symlink_to("other")
    else:
        (tmp_path / shell).write_bytes(b"")
    check(tmp_path, spec.model_copy(update={"debug": True}))
    with pytest.raises(RootfsError, match="no shell or login") as caught:
        check(tmp_path, spec)
    assert caught.value.code == "os_image.rootfs"


def test_a_program_with_another_user_s_rights_is_refused(tmp_path: Path, spec: OsImageSpec) -> None:
    (tmp_path / "program").write_bytes(b"")
    (tmp_path / "program").chmod(0o4755)
    with pytest.raises(RootfsError, match="set-user-id") as caught:
        check(tmp_path, spec)
    assert caught.value.code == "os_image.rootfs"


def test_a_program_without_its_libraries_is_refused(
    tmp_path: Path, spec: OsImageSpec, lock: Lock, store: Store
) -> None:
    program = locked_tree("initrd", lock, store).root / "usr/sbin/dmsetup"
    (tmp_path / "program").write_bytes(program.read_bytes())
    with pytest.raises(ElfError) as caught:
        check(tmp_path, spec)
    assert caught.value.code == "os_image.elf"
