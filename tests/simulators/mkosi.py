"""mkosi as Debian publishes it, building an image of the packages that the OS image is of.

It runs in a root of its own, as the locked tools do. The image is what a user would get who asked
mkosi for the same: the same packages, kernel and kind of disk (an EFI system partition with a UKI,
an erofs root of the same compression, its hash tree), and mkosi's own choices for all else, such as
its general-purpose initrd and the scripts of the packages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from supply_chain.inputs.debian import Archives
from supply_chain.inputs.lock import Wish
from supply_chain.inputs.tree import Bind, Tree
from supply_chain.progress import Progress
from tests.simulators.debian_tree import fetch_tree

SUITES = ("trixie", "trixie-updates", "trixie-security")
VERSION = "25"
KERNEL = "linux-image-cloud-amd64"
STUB = "systemd-boot-efi"
"""Brings the EFI stub of a UKI, which mkosi takes from inside the image."""
IMAGE = "image.raw"
_HOME = "/mnt/mkosi"
_PARTITIONS_AT = "source/mkosi.repart"
_ARCHIVES = "source/mkosi.sandbox/etc/apt/sources.list.d/mkosi.sources"
"""Without this file mkosi asks an archive of debugging symbols, too, which few mirrors have."""
_NEEDS = (
    *("mkosi", "apt", "debian-archive-keyring", "ca-certificates", "kmod", "cpio", "zstd"),
    *("systemd", "systemd-repart", "systemd-ukify", STUB, "cryptsetup-bin"),
    *("erofs-utils", "mtools", "dosfstools"),
)
# A FAT32 of less than 512 MiB has too few clusters with mkfs.vfat's own choice of their size.
_PARTITIONS = {
    "00-esp.conf": "Type=esp\nFormat=vfat\nCopyFiles=/efi:/\n"
    "SizeMinBytes=512M\nSizeMaxBytes=512M\n",
    "10-root.conf": "Type=root\nFormat=erofs\nCompression=lz4hc\nCompressionLevel=9\nCopyFiles=/\n"
    "Verity=data\nVerityMatchKey=root\nMinimize=best\n",
    "11-root-verity.conf": "Type=root-verity\nVerity=hash\nVerityMatchKey=root\nMinimize=best\n",
}


class Mkosi:
    """mkosi in the cache, and a directory with its configuration and its own caches beside it.

    Args:
        cache: The project's cache.
        home: An empty directory of the caller's own.
        packages: What the image is of, besides the kernel.
    """

    def __init__(self, cache: Path, home: Path, packages: Sequence[str]) -> None:
        self._tree = Tree(cache / "mkosi" / VERSION)
        self._home = home
        self.image = home / "out" / IMAGE
        """The disk that was built last."""
        for name in ("out", "cache", "packages", "work", _PARTITIONS_AT):
            (home / name).mkdir(parents=True)
        (home / "source/mkosi.conf").write_text(configuration(packages), "utf-8")
        for name, text in _PARTITIONS.items():
            (home / _PARTITIONS_AT / name).write_text(f"[Partition]\n{text}", "utf-8")

    def fetch(self, *, environ: Mapping[str, str], progress: Progress) -> None:
        """The program is in the cache.

        Raises:
            BuildError: The archive does not have it, or is out of reach.
        """
        wish = Wish(suites=SUITES, packages=_NEEDS, essential=True)
        fetch_tree("mkosi", wish, self._tree.root, environ=environ, progress=progress)

    def build_first(self, *, environ: Mapping[str, str], progress: Progress) -> None:
        """The image is built, and its packages are in mkosi's own cache.

        Raises:
            BuildError: The archive is out of reach, or mkosi failed.
        """
        sources = self._home / _ARCHIVES
        sources.parent.mkdir(parents=True)
        sources.write_text(archives_text(Archives.of_machine(environ)), "utf-8")
        with progress.step("a first image by mkosi, which fetches its packages"):
            self._run("never", network=True)

    def build(self) -> None:
        """The image is built from what was fetched, without a network.

        Raises:
            CommandError: mkosi failed.
        """
        self._run("always", network=False)

    def _run(self, cached: str, *, network: bool) -> None:
        binds = [Bind(host=self._home, inside=_HOME, read_only=False)]
        if network:
            binds += [
                Bind(host=path, inside=str(path))
                for path in map(Path, ("/etc/resolv.conf", "/etc/hosts"))
                if path.exists()
            ]
        argv = [
            "mkosi",
            f"--directory={_HOME}/source",
            f"--output-directory={_HOME}/out",
            f"--cache-directory={_HOME}/cache",
            f"--package-cache-dir={_HOME}/packages",
            f"--workspace-directory={_HOME}/work",
            f"--cache-only={cached}",
            *("--force", "build"),
        ]
        self._tree.run(argv, binds=binds, network=network, env={"HOME": "/root"})


def configuration(packages: Sequence[str]) -> str:
    """mkosi.conf for an image of these packages, the kernel and the stub.

    Source: mkosi(1), version 25.
    """
    return (
        "[Distribution]\nDistribution=debian\nRelease=trixie\nArchitecture=x86-64\n"
        "[Output]\nFormat=disk\nOutput=image\nManifestFormat=\nSplitArtifacts=\n"
        "Seed=b1d1a3a0-0002-4000-8000-626c696e646c\n"
        f"[Content]\nPackages={','.join((*packages, KERNEL, STUB))}\n"
        "Bootable=yes\nBootloader=uki\nWithDocs=no\nCleanPackageMetadata=yes\nSourceDateEpoch=0\n"
    )


def archives_text(archives: Archives) -> str:
    """Apt's sources for mkosi: the archives of this machine."""
    suites = {"debian": SUITES[:2], "debian-security": SUITES[2:]}
    return "\n".join(
        f"Types: deb\nURIs: {base}\nSuites: {' '.join(suites[name])}\nComponents: main\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
        for name, base in archives.bases.items()
        if name in suites
    )
