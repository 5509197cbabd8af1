"""OCI images made from locked packages: one layer, one config, one manifest, no registry.

Source: OCI Image Format Specification 1.1, config.md and manifest.md.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar

from app_disk.layer import Entry, Layer, build_layer
from supply_chain.digest import Sha256, sha256_bytes
from supply_chain.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from supply_chain.inputs.tree import Bind, Tree

CREATED = "2026-01-01T00:00:00Z"
"""The build's EPOCH, as the formats write it."""

SERVER_NAME = "localhost/llama-server"
PAUSE_NAME = "localhost/pause"
PAUSE_TAG = "1"
"""The guest's containers.conf names `localhost/pause:1`: it is measured before this disk is made.
The store is as immutable as the digest, so that the tag cannot come to mean anything else."""

USER = "65532:65532"
"""Nobody in particular: no entry of any user table, no file of the image."""

LOADER = PurePosixPath("/lib64/ld-linux-x86-64.so.2")
_SERVER = PurePosixPath("/usr/bin/llama-server")
_BACKEND = PurePosixPath("/usr/lib/x86_64-linux-gnu/ggml/backends0/libggml-cpu-x64.so")
"""The one CPU variant of the image. ggml takes the best variant of its directory, also when
GGML_BACKEND_PATH names another one; with a single file there is no choice, and answers are the
same on every machine."""
_VIRTUAL = "linux-vdso.so.1"
_MOUNT_POINTS = ("dev", "etc", "models", "proc", "run/server", "sys", "tmp")
_MERGED = {"lib": "usr/lib", "lib64": "usr/lib64"}


class ImageError(BuildError):
    """An image cannot be made from what the packages hold."""

    code: ClassVar[str] = "app_disk.image"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An OCI image of one layer."""

    name: str
    """Registry host and repository, without tag or digest."""
    tag: str | None = None
    """A second name, for configurations that cannot know the digest."""
    layer: Layer
    config: bytes
    """The image configuration; its digest is the image's id."""
    manifest: bytes
    """The image manifest; its digest names the image."""
    origin: Path | None = None
    """The layout that an application brought it in; None when it was made here."""

    @property
    def image_id(self) -> Sha256:
        """Digest of the configuration."""
        return sha256_bytes(self.config)

    @property
    def digest(self) -> Sha256:
        """Digest of the manifest."""
        return sha256_bytes(self.manifest)

    @property
    def reference(self) -> str:
        """The name with the digest: `localhost/name@sha256:…`."""
        return f"{self.name}@{self.digest}"

    @property
    def names(self) -> tuple[str, ...]:
        """All names by which it can be asked for."""
        return (
            (self.reference,) if self.tag is None else (self.reference, f"{self.name}:{self.tag}")
        )


def build_image(
    name: str, entries: Iterable[Entry], *, entrypoint: Sequence[str], tag: str | None = None
) -> Image:
    """The image of these files, the same bytes every time; it runs as nobody in particular.

    Args:
        name: Registry host and repository.
        entries: The files of its one layer.
        entrypoint: The program that a container runs.
        tag: A second name beside the digest.
    """
    layer = build_layer(entries)
    config = _canonical(
        {
            "architecture": "amd64",
            "config": {
                "Entrypoint": list(entrypoint),
                "Env": ["PATH=/usr/bin:/bin"],
                "User": USER,
                "WorkingDir": "/",
            },
            "created": CREATED,
            "history": [{"created": CREATED, "created_by": "blindllama app_disk"}],
            "os": "linux",
            "rootfs": {"diff_ids": [str(layer.digest)], "type": "layers"},
        }
    )
    manifest = _canonical(
        {
            "config": {
                "digest": str(sha256_bytes(config)),
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "size": len(config),
            },
            "layers": [
                {
                    "digest": str(layer.digest),
                    "mediaType": "application/vnd.oci.image.layer.v1.tar",
                    "size": layer.size_bytes,
                }
            ],
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "schemaVersion": 2,
        }
    )
    return Image(name=name, tag=tag, layer=layer, config=config, manifest=manifest)


def server_image(llama: Tree) -> Image:
    """The image of llama-server: the program, what its loader asks for, one CPU variant, licences.

    Raises:
        ImageError: A library that the program needs is in none of the packages.
    """
    return build_image(SERVER_NAME, server_entries(llama), entrypoint=[str(_SERVER)])


def server_entries(llama: Tree) -> tuple[Entry, ...]:
    """The files of the server's image, named as the loader looks for them.

    Raises:
        ImageError: A library that the program needs is in none of the packages.
    """
    programs = (_SERVER, _BACKEND)
    wanted = {LOADER, *programs, *loaded_by(llama, programs)}
    files = [
        Entry(
            path=merged(path),
            source=file_inside(llama.root, path),
            executable=path in {_SERVER, LOADER},
        )
        for path in sorted(wanted)
    ]
    mounts = [Entry(path=PurePosixPath(path)) for path in _MOUNT_POINTS]
    return (*files, *usr_links(), *mounts, *licence_entries(llama.root))


def pause_image(pause: Tree) -> Image:
    """The image of a pod's first container: catatonit, which sleeps and reaps, statically linked.

    Raises:
        ImageError: The packages hold no catatonit.
    """
    program = Entry(
        path=PurePosixPath("pause"),
        source=file_inside(pause.root, PurePosixPath("/usr/bin/catatonit")),
        executable=True,
    )
    licences = licence_entries(pause.root, only="catatonit")
    return build_image(PAUSE_NAME, [program, *licences], entrypoint=["/pause", "-P"], tag=PAUSE_TAG)


def loaded_by(
    tree: Tree,
    programs: Iterable[PurePosixPath],
    *,
    folders: Sequence[PurePosixPath] = (),
    binds: Sequence[Bind] = (),
) -> set[PurePosixPath]:
    """The libraries that programs and libraries of a root ask their loader for.

    Args:
        tree: The root.
        programs: Programs and libraries in it.
        folders: Where else the loader looks: what a package's script would have linked from there.
        binds: What of the host is in it as well.

    Raises:
        ImageError: One is in none of the packages.
    """
    found: set[PurePosixPath] = set()
    where = ["--library-path", ":".join(map(str, folders))] if folders else []
    for program in programs:
        argv = [str(LOADER), *where, "--list", str(program)]
        listed = tree.run(argv, binds=binds).stdout.decode()
        # So the loader says of an extension that needs no library at all.
        if listed.strip() != "statically linked":
            found |= parse_loader_list(listed)
    return found


def parse_loader_list(text: str) -> set[PurePosixPath]:
    """The libraries in the answer of `ld.so --list`, as absolute paths.

    Raises:
        ImageError: A library was not found, or a line has an unknown form.

    Source: ld.so(8), option --list.
    """
    found = set()
    for line in filter(None, map(str.strip, text.splitlines())):
        name, arrow, where = line.partition(" => ")
        path, _, address = (where if arrow else name).rpartition(" ")
        if path == _VIRTUAL:
            continue
        if not path.startswith("/") or not address.startswith("(0x"):
            raise ImageError(
                f"libraries of the server: expected a path and an address, got {line!r}"
            )
        found.add(PurePosixPath(path))
    return found


def usr_links() -> list[Entry]:
    """The links by which libraries below /usr are found at their old places."""
    return [Entry(path=PurePosixPath(path), target=to) for path, to in _MERGED.items()]


def merged(path: PurePosixPath) -> PurePosixPath:
    """The path below /usr that /lib and /lib64 stand for."""
    first, *rest = path.parts[1:]
    return PurePosixPath(_MERGED.get(first, first), *rest)


def file_inside(root: Path, path: PurePosixPath) -> Path:
    """The file that a path leads to inside a root, links followed, never out of it.

    Raises:
        ImageError: There is none.
    """
    base = root.resolve()
    real = (root / path.relative_to("/")).resolve()
    if not real.is_relative_to(base) or not real.is_file():
        raise ImageError(f"{path}: expected a file inside the unpacked packages, got none")
    return real


def licence_entries(root: Path, only: str = "*") -> list[Entry]:
    """The copyright files of the packages: programs are passed on with their terms."""
    texts = sorted(root.glob(f"usr/share/doc/{only}/copyright"))
    return [
        Entry(path=PurePosixPath(text.relative_to(root)), source=text)
        for text in texts
        if text.is_file() and not text.is_symlink()
    ]


def _canonical(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode("ascii")
