"""OCI layouts made by the tests: layers, configuration, manifest, as a directory or as an archive."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from supply_chain.digest import Sha256, sha256_bytes

TAR = "application/vnd.oci.image.layer.v1.tar"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def file(name: str, content: bytes = b"", **attributes: object) -> tuple[tarfile.TarInfo, bytes]:
    """A file, or whatever `type=` says, of a layer."""
    member = tarfile.TarInfo(name)
    member.mode = 0o644
    member.size = len(content)
    for key, value in attributes.items():
        setattr(member, key, value)
    return member, content


def directory(name: str, mode: int = 0o755) -> tuple[tarfile.TarInfo, bytes]:
    """A directory of a layer."""
    return file(name, type=tarfile.DIRTYPE, mode=mode)


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    """A symbolic link, or a hard one."""
    return file(name, type=kind, linkname=target)


def layer(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """The tar stream of a layer."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member, content in members:
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@dataclass
class Built:
    """The parts of an image, to be spoilt one by one before they are written."""

    layers: Sequence[bytes]
    zipped: bool = True
    config: dict[str, Any] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    """By digest in hex; they replace those that belong there."""

    def files(self) -> tuple[Sha256, dict[str, bytes]]:
        """The digest of the manifest, and the files of the layout."""
        packed = [gzip.compress(one, mtime=0) if self.zipped else one for one in self.layers]
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": ["/bin/true"]},
            "rootfs": {
                "type": "layers",
                "diff_ids": [str(sha256_bytes(one)) for one in self.layers],
            },
            **self.config,
        }
        config_data = json.dumps(config).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": str(sha256_bytes(config_data)),
                "size": len(config_data),
            },
            "layers": [
                {
                    "mediaType": f"{TAR}+gzip" if self.zipped else TAR,
                    "digest": str(sha256_bytes(one)),
                    "size": len(one),
                }
                for one in packed
            ],
            **self.manifest,
        }
        manifest_data = json.dumps(manifest).encode()
        digest = sha256_bytes(manifest_data)
        blobs = {sha256_bytes(one).hex: one for one in (*packed, config_data, manifest_data)}
        index = {
            "schemaVersion": 2,
            "manifests": [
                {"mediaType": MANIFEST, "digest": str(digest), "size": len(manifest_data)}
            ],
        }
        return digest, {
            "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
            "index.json": json.dumps(index).encode(),
            **{f"blobs/sha256/{name}": data for name, data in (blobs | self.blobs).items()},
        }

    def write(self, folder: Path) -> Sha256:
        """The image as a layout in a new directory; return the digest of its manifest."""
        digest, files = self.files()
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return digest

    def archive(self, path: Path) -> Sha256:
        """The image as an archive; return the digest of its manifest."""
        digest, files = self.files()
        with tarfile.open(path, "w") as archive:
            for name, data in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        return digest
