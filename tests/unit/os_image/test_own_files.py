"""Our own files: the same modes and bytes from a checkout of any umask."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from os_image.kernel import Module
from os_image.own_files import (
    MODULE_LIST,
    lay_over,
    write_accounts,
    write_guest,
    write_identity,
    write_modules,
)
from os_image.spec import SPEC_NAME, OsImageSpec, read_spec
from supply_chain.digest import sha256_tree


@pytest.fixture
def spec(checkout: Path) -> OsImageSpec:
    return read_spec(checkout / "os_image" / SPEC_NAME)


def overlay(folder: Path, umask: int) -> Path:
    old = os.umask(umask)
    try:
        source, root = folder / "source", folder / "root"
        (source / "etc" / "x.d").mkdir(parents=True)
        (source / "etc" / "x.d" / "conf").write_text("1\n")
        (source / "run-me").write_text("#!\n")
        (source / "run-me").chmod(0o700)
        (source / "etc" / "link").symlink_to("x.d/conf")
        (source / "__pycache__").mkdir()
        (source / "__pycache__" / "m.cpython-311.pyc").write_bytes(b"")
        root.mkdir(mode=0o755)
        root.chmod(0o755)
        lay_over(source, root)
    finally:
        os.umask(old)
    return root


def test_the_checkout_s_umask_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, two = overlay(tmp_path / "a", 0o022), overlay(tmp_path / "b", 0o077)
    assert sha256_tree(one) == sha256_tree(two)
    assert stat.S_IMODE((two / "etc" / "x.d" / "conf").stat().st_mode) == 0o644
    assert stat.S_IMODE((two / "run-me").stat().st_mode) == 0o755
    assert not list(one.rglob("*.pyc"))


def test_a_file_of_a_package_is_replaced_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("host\n")
    (tmp_path / "source" / "etc").mkdir(parents=True)
    (tmp_path / "source" / "etc" / "conf").write_text("ours\n")
    (tmp_path / "root" / "etc").mkdir(parents=True)
    (tmp_path / "root" / "etc" / "conf").symlink_to(tmp_path / "outside")
    lay_over(tmp_path / "source", tmp_path / "root")
    assert (tmp_path / "outside").read_text() == "host\n"
    assert (tmp_path / "root" / "etc" / "conf").read_text() == "ours\n"


def test_nobody_has_a_password_and_only_debug_has_a_shell(
    tmp_path: Path, spec: OsImageSpec
) -> None:
    write_accounts(tmp_path, spec)
    lines = [line.split(":") for line in (tmp_path / "etc/passwd").read_text().splitlines()]
    assert lines[0] == ["root", "*", "0", "0", "", "/root", "/nonexistent"]
    assert {line[1] for line in lines} == {"*"}
    assert {line[6] for line in lines} == {"/nonexistent"}
    groups = (tmp_path / "etc/group").read_text().splitlines()
    assert "tss:*:101:blindllama" in groups
    assert [int(line.split(":")[2]) for line in groups] == sorted(
        int(line.split(":")[2]) for line in groups
    )
    assert lines[-1][:4] == ["pod15", "*", str(1048576 + 15 * 65536), str(1048576 + 15 * 65536)]
    write_accounts(tmp_path, spec.model_copy(update={"debug": True}))
    assert ":/root:/bin/sh\n" in (tmp_path / "etc/passwd").read_text()


@pytest.mark.parametrize(("debug", "variant"), [(False, "production"), (True, "debug")])
def test_the_image_says_which_one_it_is(
    tmp_path: Path, spec: OsImageSpec, debug: bool, variant: str
) -> None:
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "usr/lib/os-release").write_text("ID=debian\n")
    write_identity(tmp_path, spec.model_copy(update={"debug": debug}))
    text = (tmp_path / "usr/lib/os-release").read_text()
    assert text == f"ID=debian\nIMAGE_ID=blindllama-os\nVARIANT_ID={variant}\n"
    assert (tmp_path / "etc/machine-id").read_bytes() == b""


def test_modules_are_listed_in_the_order_in_which_they_load(tmp_path: Path) -> None:
    modules = [Module(name="b", content=b"2"), Module(name="a", content=b"1")]
    write_modules(tmp_path, "6.12", modules)
    listed = (tmp_path / MODULE_LIST).read_text().splitlines()
    assert listed == ["/usr/lib/modules/6.12/b.ko", "/usr/lib/modules/6.12/a.ko"]
    assert (tmp_path / listed[0].lstrip("/")).read_bytes() == b"2"


def test_the_guest_s_code_is_a_package_of_the_guest_s_python(tmp_path: Path) -> None:
    write_guest(tmp_path)
    folder = tmp_path / "usr/lib/python3/dist-packages/os_image/guest"
    assert (folder / "attest.py").is_file()
    assert (folder / "__init__.py").is_file()
    assert not (folder.parent / "build.py").exists()
