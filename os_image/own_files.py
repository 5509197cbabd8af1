"""Our own files in the root file system: units, settings, the guest's code, accounts, identity.

Permission bits and owners are set here and never taken from the checkout, whose umask and user
differ from machine to machine.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

from os_image.guest.numbers import PODS, first_number
from supply_chain.inputs.deb import read_control

if TYPE_CHECKING:
    from collections.abc import Sequence

    from os_image.kernel import Module
    from os_image.spec import OsImageSpec
    from supply_chain.inputs.lock import DebianPackage
    from supply_chain.inputs.store import Store

HERE = Path(__file__).resolve().parent
GUEST_PYTHON = "usr/lib/python3/dist-packages"
"""Where the guest's own code is, as the package `os_image.guest`: an isolated Python finds it."""
MODULE_LIST = "usr/lib/blindllama/modules"
"""Paths of kernel modules, one per line, in the order in which the initrd loads them."""


def lay_over(source: Path, root: Path) -> None:
    """Copy a tree of our own files onto the root; directories 0755, files 0644 or 0755."""
    for path in sorted(source.rglob("*")):
        if path.name == "__pycache__" or path.suffix == ".pyc":
            continue
        target = root / path.relative_to(source)
        if path.is_symlink():
            make_directory(target.parent, root)
            target.unlink(missing_ok=True)
            target.symlink_to(path.readlink())
        elif path.is_dir():
            make_directory(target, root)
        else:
            executable = bool(path.stat().st_mode & stat.S_IXUSR)
            write_file(target, path.read_bytes(), root=root, executable=executable)


def write_guest(root: Path) -> None:
    """Put the guest's own code and files into the root."""
    guest = HERE / "guest"
    for path in sorted(guest.glob("*.py")):
        target = root / GUEST_PYTHON / "os_image" / "guest" / path.name
        write_file(target, path.read_bytes(), root=root)
    lay_over(guest / "files", root)


def write_modules(root: Path, release: str, modules: Sequence[Module]) -> None:
    """Put kernel modules into the root, with the list from which the initrd loads them."""
    paths = []
    for module in modules:
        path = f"usr/lib/modules/{release}/{module.name}.ko"
        write_file(root / path, module.content, root=root)
        paths.append(f"/{path}\n")
    write_file(root / MODULE_LIST, "".join(paths).encode(), root=root)


def write_accounts(root: Path, spec: OsImageSpec) -> None:
    """Write the users and groups of the specification, and those of pods; nobody has a password.

    Source: passwd(5), group(5).
    """
    shell = "/bin/sh" if spec.debug else "/nonexistent"
    users = sorted(spec.users, key=lambda user: user.uid)
    passwd = []
    for user in users:
        home = "/root" if user.uid == 0 else "/nonexistent"
        passwd.append(f"{user.name}:*:{user.uid}:{user.uid}::{home}:{shell}\n")
    pods = {f"pod{index}": first_number(index) for index in range(PODS)}
    passwd += [f"{name}:*:{uid}:{uid}::/nonexistent:/nonexistent\n" for name, uid in pods.items()]
    numbers = {user.name: user.uid for user in users} | {g.name: g.gid for g in spec.groups} | pods
    groups = []
    for name, gid in sorted(numbers.items(), key=lambda item: item[1]):
        members = ",".join(user.name for user in users if name in user.groups)
        groups.append(f"{name}:*:{gid}:{members}\n")
    write_file(root / "etc/passwd", "".join(passwd).encode(), root=root)
    write_file(root / "etc/group", "".join(groups).encode(), root=root)


def write_identity(root: Path, spec: OsImageSpec) -> None:
    """Say in os-release which image this is, after Debian's own lines; empty the machine's id.

    Scanners for vulnerable packages go by Debian's lines and by the list of packages.
    """
    release = root / "usr/lib/os-release"
    variant = "debug" if spec.debug else "production"
    text = release.read_text("utf-8") + f"IMAGE_ID={spec.name}\nVARIANT_ID={variant}\n"
    write_file(release, text.encode(), root=root)
    # Empty and read-only: systemd makes up an id for each boot and keeps it under /run.
    write_file(root / "etc/machine-id", b"", root=root)


def write_package_list(root: Path, packages: Sequence[DebianPackage], store: Store) -> None:
    """Leave the packages' own descriptions where scanners look for them.

    Raises:
        PackageFormatError: A package has no readable description.
    """
    stanzas = []
    for package in packages:
        first, rest = read_control(store.path(package.sha256)).strip().split("\n", 1)
        stanzas.append(f"{first}\nStatus: install ok installed\n{rest}\n")
    write_file(root / "var/lib/dpkg/status", "\n".join(stanzas).encode(), root=root)


def make_directory(path: Path, root: Path) -> None:
    """Make a directory of the root, and those above it, with the mode 0755 whatever the umask."""
    inside = path.relative_to(root)
    for step in (*reversed(inside.parents), inside):
        target = root / step
        if not target.is_dir():
            target.mkdir()
            target.chmod(0o755)


def write_file(path: Path, content: bytes, *, root: Path, executable: bool = False) -> None:
    """Write a file of the root with the mode 0644 or 0755 whatever the umask."""
    make_directory(path.parent, root)
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    path.chmod(0o755 if executable else 0o644)
