"""The root file system: files of locked packages that the specification names, and our own.

No script of a package runs. mmdebstrap lays the packages' files into a directory; what is not
named is removed; the project's files are laid over it; the accounts are written. What a package's
script would have done (accounts, links, caches) is either here, in plain sight, or not needed.
"""

from __future__ import annotations

import os
import shutil
import stat
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from os_image import elf
from os_image.repository import read_control, write_repository
from supply_chain.errors import BuildError
from supply_chain.inputs.tree import Bind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from os_image.kernel import Module
    from os_image.spec import OsImageSpec
    from supply_chain.inputs.lock import DebianPackage
    from supply_chain.inputs.store import Store
    from supply_chain.inputs.tree import Tree

HERE = Path(__file__).resolve().parent
GUEST_PYTHON = "usr/lib/python3/dist-packages"
"""Where the guest's own code is, as the package `os_image.guest`: an isolated Python finds it."""
MODULE_LIST = "usr/lib/blindllama/modules"
"""Paths of kernel modules, one per line, in the order in which the initrd loads them."""
UNITS = "usr/lib/systemd/system"
SKELETON = ("dev", "etc", "proc", "run", "sys", "tmp", "var")
"""Directories that are mounted over; what else packages put into the root is removed."""
TOP = frozenset({*SKELETON, "bin", "lib", "lib64", "root", "sbin", "usr"})
_LIBRARIES = ("usr/lib/x86_64-linux-gnu/*", "usr/lib64/*")


class RootfsError(BuildError):
    """What the specification names is not there, or what is there cannot run."""

    code = "os_image.rootfs"


def mmdebstrap_argv(packages: Sequence[DebianPackage], *, target: str, repository: str) -> list[str]:
    """The command that lays the files of these packages into a directory, in one order."""
    return [
        "mmdebstrap",
        "--variant=extract",  # files only: no script of a package runs, as root or otherwise
        "--mode=root",
        "--format=directory",
        "--architectures=amd64",
        # Nothing is run in the target, and nothing of this machine belongs into it.
        "--skip=check/signed-by,chroot/mount,setup/resolv.conf,setup/hostname,cleanup",
        '--aptopt=APT::Sandbox::User "root"',  # the other user may not read the repository
        '--aptopt=Acquire::Languages "none"',
        f"--include={','.join(package.name for package in packages)}",
        "trixie",
        target,
        f"deb [trusted=yes] copy://{repository} ./",
    ]


def extract_packages(
    packages: Sequence[DebianPackage], *, store: Store, tools: Tree, root: Path, work: Path
) -> None:
    """Lay the packages' files into the directory `root`, which must not exist.

    Args:
        packages: What to extract, nothing else is.
        store: Where the packages are.
        tools: Where mmdebstrap and apt are.
        root: The directory to make.
        work: An empty directory for the repository.

    Raises:
        CommandError: mmdebstrap refused.
    """
    write_repository(packages, store, work)
    tools.run(
        mmdebstrap_argv(packages, target=f"/mnt/out/{root.name}", repository="/mnt/repository"),
        binds=[
            Bind(host=work, inside="/mnt/repository"),
            Bind(host=root.parent, inside="/mnt/out", read_only=False),
        ],
    )


def selected(packages: Sequence[DebianPackage], spec: OsImageSpec) -> tuple[DebianPackage, ...]:
    """The locked packages that the specification names.

    Raises:
        RootfsError: The lock does not hold one of them.
    """
    by_name = {package.name: package for package in packages}
    if missing := sorted(spec.packages - by_name.keys()):
        raise RootfsError(f"packages: {', '.join(missing)} not in the set rootfs of the lock")
    return tuple(by_name[name] for name in sorted(spec.packages))


def prune(root: Path, spec: OsImageSpec) -> None:
    """Remove from the directory what the specification does not name.

    Raises:
        RootfsError: A program or unit that the specification names is not there.
    """
    for path in sorted(root.iterdir()):
        if path.name not in TOP:
            _remove(path)
    for pattern in spec.rootfs.remove:
        for path in sorted(root.glob(pattern)):
            _remove(path)
    _prune_programs(root, spec.programs)
    _prune_units(root / UNITS, frozenset(spec.rootfs.units))
    _prune_empty(root / "usr")
    _prune_empty(root / "etc")
    for name in SKELETON:
        (root / name).mkdir(exist_ok=True)


def lay_over(source: Path, root: Path) -> None:
    """Copy a tree of our own files onto the root; directories 0755, files 0644 or 0755.

    The checkout's owners, permission bits beyond "executable", and times do not matter.
    """
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
    """Put the guest's own code, units and files into the root."""
    guest = HERE / "guest"
    for path in sorted(guest.glob("*.py")):
        target = root / GUEST_PYTHON / "os_image" / "guest" / path.name
        write_file(target, path.read_bytes(), root=root)
    for source, target in ((guest / "units", root / UNITS), (guest / "files", root)):
        if source.is_dir():
            lay_over(source, target)


def write_modules(root: Path, release: str, modules: Sequence[Module]) -> None:
    """Put kernel modules into the root, with the list from which the initrd loads them."""
    paths = []
    for module in modules:
        path = f"usr/lib/modules/{release}/{module.name}.ko"
        write_file(root / path, module.content, root=root)
        paths.append(f"/{path}\n")
    write_file(root / MODULE_LIST, "".join(paths).encode(), root=root)


def write_accounts(root: Path, spec: OsImageSpec) -> None:
    """Write the users and groups of the specification, all of them without password or shell."""
    users = sorted(spec.users, key=lambda user: user.uid)
    shell = "/bin/sh" if spec.debug else "/nonexistent"
    passwd = [
        f"{user.name}:*:{user.uid}:{user.uid}::{'/root' if user.uid == 0 else '/nonexistent'}:{shell}\n"
        for user in users
    ]
    members = {group.name: (group.gid, []) for group in spec.groups}
    members |= {user.name: (user.uid, []) for user in users}
    for user in users:
        for name in user.groups:
            members[name][1].append(user.name)
    group = [
        f"{name}:*:{gid}:{','.join(names)}\n"
        for name, (gid, names) in sorted(members.items(), key=lambda item: item[1][0])
    ]
    write_file(root / "etc/passwd", "".join(passwd).encode(), root=root)
    write_file(root / "etc/group", "".join(group).encode(), root=root)


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
    """Leave the packages' own descriptions where scanners look for them."""
    stanzas = []
    for package in packages:
        first, rest = read_control(store.path(package.sha256)).strip().split("\n", 1)
        stanzas.append(f"{first}\nStatus: install ok installed\n{rest}\n")
    write_file(root / "var/lib/dpkg/status", "\n".join(stanzas).encode(), root=root)


def precompile(root: Path, *, tools: Tree) -> None:
    """Compile the Python of the root, whose start is slow under emulation otherwise.

    The compiled files are never compared with their sources: both are read through verity.

    Raises:
        RootfsError: The tools' Python is not the guest's.
        CommandError: A file cannot be compiled.
    """
    name = "usr/bin/python3.13"
    if (tools.root / name).read_bytes() != (root / name).read_bytes():
        raise RootfsError(f"{name}: expected the same file in the sets tools and rootfs of the lock")
    folders = ("usr/lib/python3.13", GUEST_PYTHON)
    tools.run(
        [
            "python3.13",
            "-m",
            "compileall",
            "-q",
            "--invalidation-mode",
            "unchecked-hash",
            "-s",
            "/mnt/root",  # tracebacks name the path in the guest
            "-p",
            "/",
            *(f"/mnt/root/{folder}" for folder in folders),
        ],
        binds=[Bind(host=root, inside="/mnt/root", read_only=False)],
        env={"PYTHONHASHSEED": "0"},  # the order of a compiled set of constants depends on it
    )


def check(root: Path, spec: OsImageSpec) -> None:
    """Make sure that every program finds its libraries and that nothing stayed that must not.

    Raises:
        ElfError: A library is missing.
        RootfsError: A production image has a shell, or a program has special rights.
    """
    programs = []
    for path, status in _files(root):
        if status.st_mode & (stat.S_ISUID | stat.S_ISGID):
            raise RootfsError(f"{path}: expected no set-user-id program, got mode {status.st_mode:o}")
        with (root / path).open("rb") as file:
            if elf.is_elf(file.read(len(elf.MAGIC))) and not path.endswith(".ko"):
                programs.append(path)
    elf.library_closure(root, programs)
    shells = {"sh", "dash", "bash", "busybox", "login", "su", "sulogin", "agetty", "sshd", "perl"}
    found = sorted(path for path, _ in _files(root) if Path(path).name in shells)
    if found and not spec.debug:
        raise RootfsError(f"production image: expected no shell or login, got {', '.join(found)}")


def make_directory(path: Path, root: Path) -> None:
    """Make a directory of the root, and those above it, with the mode 0755 whatever the umask."""
    for step in (*reversed(path.relative_to(root).parents), path.relative_to(root)):
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


def _prune_programs(root: Path, patterns: Sequence[str]) -> None:
    kept = set()
    for path, status in list(_files(root, links=True)):
        if any(fnmatchcase(path, pattern) for pattern in _LIBRARIES):
            continue
        is_link = stat.S_ISLNK(status.st_mode)
        matching = [pattern for pattern in patterns if fnmatchcase(path, pattern)]
        kept.update(matching)
        if matching and not is_link:
            (root / path).chmod(0o755)  # without set-user-id: nobody here may become another
        if not is_link and path.endswith(".py") and not matching:
            (root / path).chmod(0o644)  # a module that can also be run: nothing here runs it
            continue
        beside_programs = Path(path).parent.name in {"bin", "sbin"}
        is_program = beside_programs if is_link else status.st_mode & stat.S_IXUSR
        if is_program and not matching:
            (root / path).unlink()
    if missing := [pattern for pattern in patterns if pattern not in kept]:
        raise RootfsError(f"programs: expected {', '.join(missing)}, found nothing of that name")


def _prune_units(folder: Path, names: frozenset[str]) -> None:
    kept = set()
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            wanted_by = path.suffix in {".wants", ".requires"}
            for inner in sorted(path.iterdir()):
                if not wanted_by or inner.name not in names:
                    _remove(inner)
        elif path.name in names:
            kept.add(path.name)
        else:
            path.unlink()
    if missing := sorted(names - kept):
        raise RootfsError(f"units: expected {', '.join(missing)}, found nothing of that name")


def _prune_empty(folder: Path) -> None:
    for name, _directories, _names in os.walk(folder, topdown=False):
        if not os.listdir(name):  # noqa: PTH208 - os.walk gives strings
            Path(name).rmdir()


def _files(root: Path, *, links: bool = False) -> Iterator[tuple[str, os.stat_result]]:
    for folder, directories, names in os.walk(root):
        directories.sort()
        for name in sorted([*names, *(d for d in directories if (Path(folder) / d).is_symlink())]):
            path = Path(folder) / name
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) or (links and stat.S_ISLNK(status.st_mode)):
                yield str(path.relative_to(root)), status


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
