"""Debian packages from the machine's own archive into the store, by digest."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

from supply_chain import process
from supply_chain.errors import FetchError
from supply_chain.inputs.download import NotServedError, download

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from supply_chain.inputs.lock import ArchiveName, DebianPackage, Lock
    from supply_chain.inputs.store import Store
    from supply_chain.progress import Progress

MIRROR_VARIABLE = "BLINDLLAMA_DEBIAN_MIRROR"
"""The base address of the Debian archive; without it, the machine's apt configuration decides."""
SECURITY_VARIABLE = "BLINDLLAMA_DEBIAN_SECURITY_MIRROR"
"""The base of the security archive; without it, the mirror's address with `-security` added."""
SNAPSHOT_VARIABLE = "BLINDLLAMA_SNAPSHOT_MIRROR"
"""The base of the dated archive: `BASE/debian/20260101T000000Z/pool/…` must be its form."""

PARALLEL = 4
"""Downloads at a time: what a public mirror takes kindly."""
_BASE = re.compile(r"(?P<archive>debian(?:-security)?)(?:/\d{8}T\d{6}Z)?$")
_STAMP = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class Archives:
    """Where this machine gets Debian packages."""

    bases: Mapping[ArchiveName, str]
    """The base address of each archive, without a slash at its end."""
    snapshot: str | None = None
    """The base address of the dated snapshot archive, if one is set."""
    proxies: Mapping[str, str] = field(default_factory=dict)
    """Proxies by scheme, from apt's configuration."""

    @classmethod
    def of_machine(cls, environ: Mapping[str, str]) -> Self:
        """The archives that the settings name, else those of the machine's apt configuration.

        Raises:
            FetchError: Neither names a Debian archive.
            MissingToolError: The settings name none, and apt is not installed.
        """
        snapshot = environ.get(SNAPSHOT_VARIABLE, "").rstrip("/") or None
        mirror = environ.get(MIRROR_VARIABLE, "").rstrip("/")
        if mirror:
            security = environ.get(SECURITY_VARIABLE, "").rstrip("/") or f"{mirror}-security"
            return cls(bases={"debian": mirror, "debian-security": security}, snapshot=snapshot)
        # apt's own way of naming another configuration; nothing else reaches it.
        env = {"APT_CONFIG": environ["APT_CONFIG"]} if "APT_CONFIG" in environ else {}
        return cls(bases=_apt_bases(env), snapshot=snapshot, proxies=_apt_proxies(env))

    def urls(self, package: DebianPackage, date: str | None) -> list[str]:
        """The addresses to try for a package, the machine's archive first.

        Args:
            package: The package.
            date: When its suite was published in the state that was locked, if known.
        """
        path = quote(package.pool_path)
        urls = [f"{self.bases[package.archive]}/{path}"]
        if self.snapshot and date:
            # The snapshot archive answers with its last visit before a time, and it visits
            # some hours after a publication: the date itself would give the state before.
            published = datetime.strptime(date, _STAMP).replace(tzinfo=UTC)
            for hours in (8, 24, 0):
                stamp = (published + timedelta(hours=hours)).strftime(_STAMP)
                urls.append(f"{self.snapshot}/{package.archive}/{stamp}/{path}")
        return urls


def fetch_debian(
    packages: Iterable[DebianPackage],
    store: Store,
    *,
    lock: Lock,
    archives: Archives,
    progress: Progress,
) -> None:
    """Every package is in the store; what was there is not asked for.

    Raises:
        DigestMismatchError: The archive serves other bytes; nothing of them is kept.
        FetchError: A package cannot be had; the text says what to do.
    """
    missing = [package for package in packages if not store.has(package.sha256)]
    if not missing:
        return
    size_mib = sum(package.size for package in missing) / (1 << 20)
    title = f"fetching {len(missing)} Debian packages, {size_mib:.0f} MiB"
    with progress.step(title), ThreadPoolExecutor(PARALLEL) as pool:
        tasks = [
            pool.submit(_fetch_one, package, store, lock.date_of(package), archives)
            for package in missing
        ]
        try:
            for task in tasks:
                task.result()
        except BaseException:
            # Without this, the pool would fetch all the rest before the error is seen.
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _fetch_one(package: DebianPackage, store: Store, date: str | None, archives: Archives) -> None:
    part = store.part(package.sha256)
    for url in archives.urls(package, date):
        try:
            download(url, part, size=package.size, proxies=archives.proxies)
        except NotServedError:
            continue
        store.adopt(part, package.sha256, name=package.title)
        return
    where = "the archive" if archives.snapshot is None else "the archive and its snapshots"
    hint = "" if archives.snapshot else f", or set {SNAPSHOT_VARIABLE} to a dated archive"
    raise FetchError(
        f"{package.title} ({package.suite}) is no longer served by {where}: "
        f"run `invoke lock.update` to move to what is{hint}"
    )


def _apt_bases(env: Mapping[str, str]) -> dict[ArchiveName, str]:
    # "What would an update ask for?" understands both formats of sources and needs no lists,
    # unlike indextargets, which is silent about what was never updated.
    argv = ["apt-get", "--option", "Debug::NoLocking=true", "update", "--print-uris"]
    said = process.run(argv, env=env).stdout.decode()
    bases: dict[ArchiveName, str] = {}
    for uri in re.findall(r"^'(https?://[^']+)/dists/[^']+/InRelease' ", said, re.MULTILINE):
        match = _BASE.search(uri)
        if match is not None:
            name: ArchiveName = (
                "debian-security" if match["archive"] == "debian-security" else "debian"
            )
            bases.setdefault(name, uri)
    if "debian" not in bases:
        raise FetchError(
            "apt's configuration names no Debian archive over HTTP: "
            f"set {MIRROR_VARIABLE} to the base address of one"
        )
    bases.setdefault("debian-security", f"{bases['debian']}-security")
    return bases


def _apt_proxies(env: Mapping[str, str]) -> dict[str, str]:
    proxies = {}
    for scheme in ("http", "https"):
        # apt-config prints one shell assignment, or nothing when there is no such setting.
        argv = ["apt-config", "shell", "proxy", f"Acquire::{scheme}::Proxy"]
        value = process.run(argv, env=env).stdout.decode().strip().removeprefix("proxy=").strip("'")
        if value and value != "DIRECT":
            proxies[scheme] = value
    return proxies
