"""Programs of the host that a build or a boot needs: installed when possible, named when not.

Nothing here shapes an artefact: such tools come from the lock.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from supply_chain import process
from supply_chain.errors import BuildError, CommandError, MissingToolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from supply_chain.progress import Progress

BUILD_PROGRAMS = ("dpkg-deb", "unshare")
"""What unpacks and runs the locked tools; nothing of it shapes an artefact."""
TPM_PROGRAMS = ("swtpm", "swtpm_setup", "tpm2_createprimary")
"""What makes and runs a software TPM."""
BOOT_PROGRAMS = ("qemu-system-x86_64", *TPM_PROGRAMS)
"""What boots a guest."""

PACKAGES = {
    "apt-get": "apt",
    "chromium": "chromium",
    "dpkg-deb": "dpkg",
    "gcc": "gcc",
    "openssl": "openssl",
    "pkg-config": "pkg-config",
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "skopeo": "skopeo",
    "swtpm": "swtpm",
    "swtpm_setup": "swtpm-tools",
    "tpm2_checkquote": "tpm2-tools",
    "tpm2_createprimary": "tpm2-tools",
    "tpm2_nvdefine": "tpm2-tools",
    "tpm2_startup": "tpm2-tools",
    "unshare": "util-linux",
}
"""Which Debian package holds a program."""
FILES = {
    "Python.h": "python3-dev",
    "debian-archive-keyring.gpg": "debian-archive-keyring",
    "tss2_esys.h": "libtss2-dev",
}
"""Which Debian package holds a file that is needed and no program, by the file's name."""

_NONINTERACTIVE = {"DEBIAN_FRONTEND": "noninteractive"}


def missing_packages(tools: Iterable[str], *, search_path: str = process.SEARCH_PATH) -> list[str]:
    """The Debian packages of those programs and files that are not there, sorted.

    Args:
        tools: Names of programs, or absolute paths of files that a package brings.
        search_path: Where programs are looked for.

    Raises:
        MissingToolError: A program is missing and nobody knows its package.
    """
    packages = set()
    for tool in tools:
        if tool.startswith("/"):
            there, package = Path(tool).exists(), FILES.get(Path(tool).name)
        else:
            there = shutil.which(tool, path=search_path) is not None
            package = PACKAGES.get(tool)
        if there:
            continue
        if package is None:
            raise MissingToolError(tool)
        packages.add(package)
    return sorted(packages)


def require(tools: Iterable[str], progress: Progress, *, offline: bool = False) -> None:
    """All of these programs are installed, if need be by apt.

    Args:
        tools: Names of programs, or absolute paths of files that a package brings.
        progress: Told about an installation.
        offline: Install nothing.

    Raises:
        MissingToolError: Some are missing, and nothing may be installed or apt failed; the text has
            the one line to run for all of them.
    """
    wanted = tuple(tools)
    packages = missing_packages(wanted)
    if not packages:
        return
    prefix = None if offline else _become_root()
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    if prefix is None:
        raise not_installed(packages)
    with progress.step(f"installing {', '.join(packages)}"):
        # sudo drops the environment, so what apt must know goes behind it.
        settings = [f"{key}={value}" for key, value in _NONINTERACTIVE.items()]
        try:
            process.run([*prefix, "env", *settings, "apt-get", "update", "--quiet"])
            process.run([*prefix, "env", *settings, *install])
        except CommandError as exc:
            raise not_installed(packages, exc) from exc
    if still := missing_packages(wanted):
        raise not_installed(still)


def not_installed(packages: Sequence[str], failure: CommandError | None = None) -> MissingToolError:
    """Return the error about packages that are missing, with what apt said when it had failed."""
    line = f"sudo apt-get install --yes --no-install-recommends {' '.join(packages)}"
    said = failure.stderr.decode(errors="replace").splitlines() if failure else []
    reasons = [text for text in said if text.startswith("E: ")]
    return MissingToolError(", ".join(packages), remedy="\n".join([line, *reasons]))


def require_root() -> None:
    """Return when this process may run the locked tools.

    Raises:
        BuildError: It is not root.
    """
    if os.geteuid() != 0:
        raise BuildError(
            "building needs root, to run the locked tools in a root of their own: "
            "run the same command with sudo"
        )


def _become_root() -> list[str] | None:
    if os.geteuid() == 0:
        return []
    try:
        process.run(["sudo", "-n", "true"])
    except (CommandError, MissingToolError):
        return None
    return ["sudo", "-n"]
