"""Where and from what a release is built: a checkout with its lock, its specifications, its cache.

Made once by whoever starts, and passed down as a value: the steps are bound to one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from app_disk.application import App
from app_disk.source import APPS, DEFAULT_APP, app_directory, manifest_files, read_app
from deploy.qemu.machine import Firmware, MachineProfile
from engine.spec import EngineSpec, read_spec
from os_image.spec import OsImageSpec
from os_image.spec import read_spec as read_os_spec
from supply_chain.attest.config import CHAIN_NAME, ChainConfig, read_chain
from supply_chain.attest.signing import Signer, signer
from supply_chain.attest.trust import LOCAL, LOCAL_IDENTITY, sigstore_named
from supply_chain.digest import Sha256
from supply_chain.errors import BuildError
from supply_chain.inputs import fetch, fetch_inputs
from supply_chain.inputs.lock import LOCK_NAME, Lock, read_lock
from supply_chain.inputs.locked import LockedInputs
from supply_chain.inputs.store import Store
from supply_chain.inputs.tree import Tree
from supply_chain.passphrase import given_passphrase
from supply_chain.progress import Progress
from supply_chain.workspace import Workspace

SOURCES = "source/"
"""Where a release keeps the lock and the specifications that it was built from."""

_FIRMWARE = Path("usr/share/OVMF")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where and from what a release is built."""

    workspace: Workspace
    lock: Lock
    engine: EngineSpec
    os_image: OsImageSpec
    machine: MachineProfile
    chain: ChainConfig
    """Who owns the layout, who may carry out its steps, and how long it holds."""
    app: Path
    """The directory of the application, with its Kubernetes manifests; inside the checkout."""
    environ: Mapping[str, str]
    """Settings: mirrors, proxies, pip's options; only fetching reads them."""
    progress: Progress
    clock: Callable[[], datetime]
    offline: bool = False
    """Whether nothing may be fetched or installed."""

    sigstore: str = LOCAL
    """Which Sigstore signs; see `supply_chain.attest.trust.sigstore_named`."""

    def signer(self, identity: str = LOCAL_IDENTITY) -> contextlib.AbstractContextManager[Signer]:
        """Return who signs here, for the length of a block.

        Args:
            identity: Who that is, if the local Sigstore is used.

        Raises:
            BuildError: there is nobody to sign as.
        """
        return signer(
            self.workspace.state,
            identity=identity,
            public=sigstore_named(self.sigstore),
            passphrase=given_passphrase(self.environ),
        )

    @property
    def application(self) -> App:
        """What the application's manifests say.

        Raises:
            ManifestError: they ask for what a guest does not do.
        """
        return read_app(self.app)

    @property
    def release_name(self) -> str:
        """What a release of this site is called: as its model, or as an application without one."""
        application = self.application
        return self.engine.name if application.needs_engine else application.name

    @property
    def inputs(self) -> LockedInputs:
        """The inputs that the lock names, as far as they were fetched."""
        return LockedInputs.at(self.workspace, self.lock)

    @property
    def store(self) -> Store:
        """The fetched inputs."""
        return self.inputs.store

    def fetch(self, *names: str) -> None:
        """Every input of some sets and wheels is in the store, or of all when none is named.

        Raises:
            FetchError: one cannot be had, or none may be asked for.
        """
        fetch(
            self.lock,
            names,
            self.store,
            self.progress,
            environ=self.environ,
            offline=self.offline,
        )

    def fetch_inputs(self, digests: Collection[Sha256]) -> None:
        """The inputs with these digests are in the store, as far as the lock has them.

        Raises:
            FetchError: one cannot be had, or none may be asked for.
        """
        fetch_inputs(
            (item for item in self.lock.inputs() if item.sha256 in digests),
            self.store,
            self.progress,
            lock=self.lock,
            environ=self.environ,
            offline=self.offline,
        )

    def reads(self, inputs: Mapping[str, Sha256]) -> tuple[Path, ...]:
        """Return where a step finds its locked inputs: their files, and the roots made of them."""
        return (self.workspace.trees, *(self.store.path(digest) for digest in inputs.values()))

    def tree(self, name: str) -> Tree:
        """Return the unpacked root of one set of the lock."""
        return self.inputs.tree(name)

    @property
    def firmware(self) -> Firmware:
        """The locked firmware."""
        folder = self.tree("firmware").root / _FIRMWARE
        return Firmware(code=folder / "OVMF_CODE_4M.fd", variables=folder / "OVMF_VARS_4M.fd")


def read_site(
    root: Path,
    *,
    environ: Mapping[str, str],
    progress: Progress,
    clock: Callable[[], datetime],
    app: str = DEFAULT_APP,
    debug: bool | None = None,
    sigstore: str = LOCAL,
    offline: bool = False,
) -> Site:
    """Return the site of a checkout, with the lock and the specs that are in it.

    Args:
        root: The checkout.
        environ: The process's environment; settings start with `BLINDLLAMA_`.
        progress: Told about everything that takes time.
        clock: The time, with its zone.
        app: An application of `app_disk/apps` by name, or its directory inside the checkout.
        debug: Build a debug image, or not; None leaves it to `os-image.toml`.
        sigstore: Which Sigstore signs: `local`, `public`, or a trust configuration file.
        offline: Fetch and install nothing.

    Raises:
        BuildError: the lock or a spec is missing or malformed, or there is no such application.
    """
    return Site(
        workspace=Workspace.at(root, environ),
        lock=read_lock(root / LOCK_NAME),
        engine=read_spec(root / "engine" / "engine.toml"),
        os_image=read_os_spec(root / "os_image" / "os-image.toml", debug=debug),
        machine=MachineProfile(),
        chain=read_chain(root / CHAIN_NAME),
        app=find_app(root, app),
        environ=environ,
        progress=progress,
        clock=clock,
        sigstore=sigstore,
        offline=offline,
    )


def find_app(root: Path, app: str) -> Path:
    """Return the directory of an application: one of `app_disk/apps` by its name, or a path.

    A release holds its sources by their place in the checkout, so that another checkout can make it
    again: a directory elsewhere has no such place.

    Raises:
        BuildError: there is none, or it is not inside the checkout.
    """
    found = (root / app_directory(app, root)).resolve()
    if not found.is_relative_to(root.resolve()) or not (found / "manifests").is_dir():
        names = ", ".join(sorted(path.name for path in (root / APPS).iterdir()))
        raise BuildError(
            f"application {app}: expected one of {names}, or a directory with manifests/ inside "
            f"{root}, got {found}"
        )
    return root / found.relative_to(root.resolve())


def source_files(site: Site) -> dict[str, Path]:
    """Return what a user may change without touching code, by its path in a release."""
    root = site.workspace.root
    chosen = (
        root / LOCK_NAME,
        root / "engine" / "engine.toml",
        root / "os_image" / "os-image.toml",
        *manifest_files(site.app),
    )
    return {f"{SOURCES}{path.relative_to(root).as_posix()}": path for path in chosen}
