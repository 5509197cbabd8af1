"""Small Debian packages, wheels and locks, made on the spot."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

from supply_chain import process
from supply_chain.digest import sha256_bytes
from supply_chain.inputs.lock import ArchiveDate, DebianPackage, Lock, Wheel

DATE = "20260102T030405Z"


def build_deb(
    folder: Path, name: str, files: Mapping[str, str], *, depends: str = "", version: str = "1.0"
) -> bytes:
    """A real package of text files, by dpkg-deb."""
    root = folder / f"{name}-root"
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN" / "control").write_text(control(name, depends=depends, version=version))
    (root / "DEBIAN").chmod(0o755)
    process.run(["dpkg-deb", "--root-owner-group", "--build", str(root), str(folder / "out.deb")])
    return (folder / "out.deb").read_bytes()


def control(name: str, *, depends: str = "", version: str = "1.0") -> str:
    """The control file of a package."""
    fields = {
        "Package": name,
        "Version": version,
        "Architecture": "amd64",
        "Maintainer": "Nobody <nobody@example.org>",
        "Depends": depends,
        "Description": "a sample",
    }
    return "".join(f"{key}: {value}\n" for key, value in fields.items() if value)


def package(
    data: bytes, name: str = "sample", *, version: str = "1.0", sets: tuple[str, ...] = ("set",)
) -> DebianPackage:
    """The lock's record of a package with these bytes."""
    return DebianPackage(
        name=name,
        version=version,
        architecture="amd64",
        suite="trixie",
        archive="debian",
        pool_path=f"pool/main/s/{name}_{version.replace(':', '%3a')}+b1_amd64.deb",
        size=len(data),
        sha256=sha256_bytes(data),
        sets=sets,
    )


def lock_of(*debs: DebianPackage, wheels: tuple[Wheel, ...] = ()) -> Lock:
    """A lock of these inputs."""
    date = ArchiveDate(suite="trixie", archive="debian", date=DATE)
    return Lock(version=1, archives=(date,), wheels=wheels, debs=debs)


def build_wheel(name: str, version: str, members: Mapping[str, bytes]) -> bytes:
    """A real wheel with some files, which pip accepts."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    tags = "Wheel-Version: 1.0\nGenerator: sample\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    content = dict(members) | {
        f"{info}/METADATA": metadata.encode(),
        f"{info}/WHEEL": tags.encode(),
        f"{info}/RECORD": b"",
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, data in content.items():
            archive.writestr(zipfile.ZipInfo(path), data)
    return buffer.getvalue()
