"""The root file system: files of locked packages that the specification names, and our own.

No script of a package runs. mmdebstrap lays the packages' files into a directory; what is not
named is removed; the project's files are laid over it; the accounts are written. What a package's
script would have done (accounts, links, caches) is either here, in plain sight, or not needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from os_image.k3s import lay_k3s
from os_image.own_files import (
    GUEST_PYTHON,
    HERE,
    lay_over,
    write_accounts,
    write_guest,
    write_identity,
    write_modules,
    write_package_list,
)
from os_image.prune import RootfsError, check, prune
from os_image.read_ahead import write_read_ahead
from os_image.repository import write_repository
from supply_chain.inputs.tree import Bind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from os_image.kernel import Kernel
    from os_image.spec import OsImageSpec
    from supply_chain.inputs.lock import DebianPackage
    from supply_chain.inputs.store import Store
    from supply_chain.inputs.tree import Tree

PYTHON = "usr/bin/python3.13"
"""The guest's interpreter, relative to the root."""


def build_rootfs(
    spec: OsImageSpec,
    *,
    packages: Sequence[DebianPackage],
    store: Store,
    tools: Tree,
    kernel: Kernel,
    k3s: Path | None,
    work: Path,
) -> Path:
    """Return the directory `root` in `work`, with everything that the guest's disk will hold.

    Args:
        spec: What stays of the packages.
        packages: The set `rootfs` of the lock.
        store: Where the packages are.
        tools: Where mmdebstrap and Python are.
        kernel: Where its modules are.
        k3s: The program, where it is the runtime.
        work: An empty directory.

    Raises:
        BuildError: Something that the specification names is not there, or a tool refused.
    """
    root, repository = work / "root", work / "repository"
    repository.mkdir()
    chosen = selected(packages, spec)
    extract_packages(chosen, store=store, tools=tools, root=root, work=repository)
    prune(root, spec)
    lay_over(HERE / "rootfs", root)
    if spec.debug:
        lay_over(HERE / "rootfs_debug", root)
    write_guest(root)
    if k3s is not None:
        lay_k3s(root, k3s)
    early = {module.name for module in kernel.modules(spec.kernel.initrd_modules)}
    modules = kernel.modules(spec.guest_modules)
    write_modules(root, kernel.release, [m for m in modules if m.name not in early])
    write_accounts(root, spec)
    write_identity(root, spec)
    write_package_list(root, chosen, store)
    precompile(root, tools=tools)
    check(root, spec)
    write_read_ahead(root, spec.rootfs.read_ahead)
    return root


def selected(packages: Sequence[DebianPackage], spec: OsImageSpec) -> tuple[DebianPackage, ...]:
    """The locked packages that the specification names, by name.

    Raises:
        RootfsError: The lock does not hold one of them.
    """
    by_name = {package.name: package for package in packages}
    if missing := sorted(spec.packages - by_name.keys()):
        raise RootfsError(
            f"packages: expected {', '.join(missing)} in the set rootfs of the lock, got none"
        )
    return tuple(by_name[name] for name in sorted(spec.packages))


def mmdebstrap_argv(
    packages: Sequence[DebianPackage], *, target: str, repository: str
) -> list[str]:
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
        packages[0].suite.partition("-")[0],
        target,
        # Trusted without a signature: each package was compared with its digest in the lock.
        f"deb [trusted=yes] copy://{repository} ./",
    ]


def extract_packages(
    packages: Sequence[DebianPackage], *, store: Store, tools: Tree, root: Path, work: Path
) -> None:
    """Lay the packages' files into the directory `root`, which must not exist.

    Args:
        packages: What to extract; nothing else is.
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


def precompile(root: Path, *, tools: Tree) -> None:
    """Compile the Python of the root, whose start is slow under emulation otherwise.

    The compiled files are never compared with their sources: both are read through verity.

    Raises:
        RootfsError: The tools' Python is not the guest's.
        CommandError: A file cannot be compiled.
    """
    if (tools.root / PYTHON).read_bytes() != (root / PYTHON).read_bytes():
        raise RootfsError(f"{PYTHON}: expected the same file in the sets tools and rootfs")
    folders = [f"/mnt/root/{name}" for name in ("usr/lib/python3.13", GUEST_PYTHON)]
    options = ["-q", "--invalidation-mode", "unchecked-hash"]
    # Tracebacks name the path in the guest.
    options += ["-s", "/mnt/root", "-p", "/"]
    tools.run(
        [Path(PYTHON).name, "-m", "compileall", *options, *folders],
        binds=[Bind(host=root, inside="/mnt/root", read_only=False)],
        env={"PYTHONHASHSEED": "0"},  # the order of a set among a module's constants
    )
