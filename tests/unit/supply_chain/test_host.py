from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from supply_chain.errors import CommandError, MissingToolError
from supply_chain.host import FILES, PACKAGES, missing_packages, not_installed, require
from supply_chain.progress import SilentProgress


def test_what_is_there_needs_no_package(tmp_path: Path) -> None:
    (tmp_path / "tss2_esys.h").touch()
    assert missing_packages(["sh", "cat", str(tmp_path / "tss2_esys.h")]) == []
    require(["sh", "cat"], SilentProgress())


def test_packages_are_named_once_and_sorted(tmp_path: Path) -> None:
    tools = ["swtpm", "tpm2_startup", "tpm2_createprimary", "qemu-img"]
    assert missing_packages(tools, search_path=str(tmp_path)) == [
        "qemu-utils",
        "swtpm",
        "tpm2-tools",
    ]
    assert missing_packages([str(tmp_path / "tss2_esys.h")]) == ["libtss2-dev"]


def test_a_program_that_no_package_is_known_for_is_an_error() -> None:
    with pytest.raises(MissingToolError) as caught:
        missing_packages(["no-such-program-of-blindllama"])
    assert caught.value.code == "build.missing_tool"


def test_every_name_is_that_of_a_debian_package() -> None:
    names = [*PACKAGES.values(), *FILES.values()]
    assert all(name.replace("-", "").replace("2", "").isalnum() for name in names)
    assert all(name == name.lower() for name in names)


def test_what_apt_said_stands_below_the_line_to_run() -> None:
    failure = CommandError(["apt-get"], returncode=100, stderr=b"Reading\nE: Unable to fetch\n")
    error = not_installed(["swtpm", "swtpm-tools"], failure)
    line = "sudo apt-get install --yes --no-install-recommends"
    assert str(error).splitlines() == [
        f"swtpm, swtpm-tools is not installed; run: {line} swtpm swtpm-tools",
        "E: Unable to fetch",
    ]


def test_offline_nothing_is_installed_and_the_line_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FILES, "header.h", "libheader-dev")
    with pytest.raises(MissingToolError) as caught:
        require([str(tmp_path / "header.h")], SilentProgress(), offline=True)
    assert caught.value.remedy.endswith("--no-install-recommends libheader-dev")


def test_a_user_without_rights_is_told_to_take_them() -> None:
    """Asked of a real user without rights: this process when it is one, or a child that becomes one."""
    program = (
        "import os\n"
        "if os.geteuid() == 0: os.setuid(65534)\n"
        "from supply_chain.errors import BuildError\n"
        "from supply_chain.host import require_root\n"
        "try: require_root()\n"
        "except BuildError as exc: print(exc)\n"
    )
    # What is imported first is read with this user's rights: the checkout may be root's alone.
    program = "import supply_chain.host, supply_chain.errors\n" + program
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True
    )
    assert done.stdout.startswith("building needs root")
    assert done.stdout.endswith("run the same command with sudo\n")
