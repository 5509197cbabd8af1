from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from app_disk.image import Image, ImageError
from app_disk.layer import write_layer
from app_disk.oci_image import read_image
from app_disk.oci_layout import ImageLayout, LayoutError, find_layouts
from supply_chain.digest import Sha256, sha256_bytes, sha256_tree
from tests.unit.app_disk.oci import TAR, Built, directory, file, layer, link

NAME = "registry.example/web"
LOWER = layer(
    directory("./"),
    directory("etc"),
    file("etc/one", b"1"),
    file("etc/two", b"2"),
    directory("srv"),
    directory("srv/old"),
    file("srv/old/page", b"old"),
    file("srv/was-file", b"file"),
    link("bin", "usr/bin"),
    directory("usr/bin"),
    file("usr/bin/tool", b"tool", mode=0o4755, uid=7, gid=8),
    link("usr/bin/same", "usr/bin/tool", tarfile.LNKTYPE),
)
UPPER = layer(
    file("etc/.wh.two"),
    file("etc/one", b"changed", mode=0o600),
    file("srv/new", b"kept"),
    file("srv/.wh..wh..opq"),
    directory("srv/was-file"),
    file("a/rather/long/name/" + "x" * 200, b"long"),
)


def read(built: Built, tmp_path: Path, digest: Sha256 | None = None) -> Image:
    place = tmp_path / "layout"
    found = built.write(place)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return read_image(ImageLayout(place), NAME, digest or found, scratch)


def test_layers_are_laid_over_each_other(tmp_path: Path) -> None:
    image = read(Built([LOWER, UPPER]), tmp_path)
    write_layer(image.layer, tmp_path / "root")

    found = {
        entry.path.as_posix(): (entry.mode, entry.uid, entry.gid) for entry in image.layer.entries
    }
    assert found == {
        "a": (0o755, 0, 0),
        "a/rather": (0o755, 0, 0),
        "a/rather/long": (0o755, 0, 0),
        "a/rather/long/name": (0o755, 0, 0),
        "a/rather/long/name/" + "x" * 200: (0o644, 0, 0),
        "bin": (0o777, 0, 0),
        "etc": (0o755, 0, 0),
        "etc/one": (0o600, 0, 0),
        "srv": (0o755, 0, 0),
        "srv/new": (0o644, 0, 0),
        "srv/was-file": (0o755, 0, 0),
        "usr": (0o755, 0, 0),
        "usr/bin": (0o755, 0, 0),
        "usr/bin/same": (0o4755, 7, 8),
        "usr/bin/tool": (0o4755, 7, 8),
    }
    root = tmp_path / "root"
    assert (root / "etc/one").read_bytes() == b"changed"
    assert (root / "usr/bin/same").read_bytes() == b"tool"
    assert (root / "bin").readlink() == Path("usr/bin")
    status = (root / "usr/bin/tool").stat()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o4755, 7, 8)


def test_the_image_keeps_its_own_name_and_configuration(tmp_path: Path) -> None:
    built = Built([LOWER], zipped=False)
    digest, files = built.files()
    image = read(built, tmp_path)

    assert image.reference == f"{NAME}@{digest}"
    assert image.manifest == files[f"blobs/sha256/{digest.hex}"]
    assert image.config == files[f"blobs/sha256/{image.image_id.hex}"]


def test_a_directory_and_an_archive_give_the_same(tmp_path: Path) -> None:
    built = Built([LOWER, UPPER])
    digest = built.archive(tmp_path / "image.tar")
    scratch = tmp_path / "other"
    scratch.mkdir()
    one = read(built, tmp_path)
    two = read_image(ImageLayout(tmp_path / "image.tar"), NAME, digest, scratch)
    for name, image in (("a", one), ("b", two)):
        write_layer(image.layer, tmp_path / name)

    assert one.layer.digest == two.layer.digest
    assert sha256_tree(tmp_path / "a") == sha256_tree(tmp_path / "b")


def test_capabilities_of_files_are_left_out(tmp_path: Path) -> None:
    """They do nothing without new privileges; every other attribute is refused below."""
    capable = file("ping", pax_headers={"SCHILY.xattr.security.capability": "1"})
    image = read(Built([layer(capable)]), tmp_path)

    assert [entry.path for entry in image.layer.entries] == [PurePosixPath("ping")]


# Each member makes one layer bad; the words say what it was refused for.
BAD_MEMBERS: dict[str, tuple[tuple[tarfile.TarInfo, bytes], str]] = {
    "absolute": (file("/etc/passwd"), "expected a path inside it"),
    "upwards": (file("a/../../etc/passwd"), "expected a path inside it"),
    "device": (file("null", type=tarfile.CHRTYPE), "expected a file, directory or link"),
    "disk": (file("sda", type=tarfile.BLKTYPE), "expected a file, directory or link"),
    "pipe": (file("pipe", type=tarfile.FIFOTYPE), "expected a file, directory or link"),
    "hard link outwards": (
        link("passwd", "../etc/passwd", tarfile.LNKTYPE),
        "expected a path inside it",
    ),
    "hard link to nothing": (
        link("one", "absent", tarfile.LNKTYPE),
        "expected a link to a file",
    ),
    "through a link": (file("bin/x"), "expected directories above it"),
    "below a file": (file("etc/one/x"), "expected directories above it"),
    "unknown user": (file("x", uid=65536), "expected a user and a group below"),
    "unknown group": (file("x", gid=1 << 20), "expected a user and a group below"),
    "attribute": (
        file("x", pax_headers={"SCHILY.xattr.user.note": "1"}),
        "expected no extended attributes",
    ),
    "whiteout of nothing": (file("etc/.wh."), "expected a whiteout of a name"),
    "other whiteout": (file("etc/.wh..wh.aufs"), "expected a whiteout of a name"),
}


@pytest.mark.parametrize("name", BAD_MEMBERS)
def test_what_a_layer_must_not_hold_is_refused(tmp_path: Path, name: str) -> None:
    member, words = BAD_MEMBERS[name]

    with pytest.raises(ImageError, match=words) as caught:
        read(Built([LOWER, layer(member)]), tmp_path)

    assert caught.value.code == "app_disk.image"


OTHER = "ab" * 32


def _config(**changes: object) -> Callable[[Built], None]:
    return lambda built: built.config.update(changes)


def _manifest(**changes: object) -> Callable[[Built], None]:
    return lambda built: built.manifest.update(changes)


def _layers(media_type: str, size: int = 0) -> Callable[[Built], None]:
    def spoil(built: Built) -> None:
        _, files = built.files()
        blob = next(data for data in files.values() if data[:2] == b"\x1f\x8b")
        described = {
            "mediaType": media_type,
            "digest": str(sha256_bytes(blob)),
            "size": len(blob) + size,
        }
        built.manifest["layers"] = [described]

    return spoil


def _blob(what: Callable[[bytes], bool], data: bytes) -> Callable[[Built], None]:
    def spoil(built: Built) -> None:
        _, files = built.files()
        name = next(key for key, value in files.items() if "blobs/" in key and what(value))
        built.blobs[name.rpartition("/")[2]] = data

    return spoil


def _no_layer(built: Built) -> None:
    built.layers = []


# Each of these spoils one thing about an image that is read when it is left alone.
SPOILT: dict[str, tuple[Callable[[Built], None], str, str]] = {
    "other machine": (_config(architecture="arm64"), "app_disk.image", "linux/amd64"),
    "other system": (_config(os="windows"), "app_disk.image", "linux/amd64"),
    "volume": (
        _config(config={"Volumes": {"/data": {}}}),
        "app_disk.image",
        "expected an image without VOLUME",
    ),
    "other diff id": (
        _config(rootfs={"type": "layers", "diff_ids": [f"sha256:{OTHER}"]}),
        "app_disk.image",
        "expected the diff id",
    ),
    "one diff id too many": (
        _config(rootfs={"type": "layers", "diff_ids": [f"sha256:{OTHER}"] * 2}),
        "app_disk.image",
        "expected a diff id for each layer",
    ),
    "other hash": (
        _config(rootfs={"type": "layers", "diff_ids": [f"sha512:{OTHER}"]}),
        "app_disk.image",
        "configuration",
    ),
    "no layer": (
        _no_layer,
        "app_disk.image",
        "expected a diff id for each layer",
    ),
    "index": (
        _manifest(mediaType="application/vnd.oci.image.index.v1+json"),
        "app_disk.image",
        "in this index",
    ),
    "docker": (
        _manifest(mediaType="application/vnd.docker.distribution.manifest.v2+json"),
        "app_disk.image",
        "expected the manifest of an image",
    ),
    "old schema": (_manifest(schemaVersion=1), "app_disk.image", "manifest"),
    "zstd": (_layers(f"{TAR}+zstd"), "app_disk.image", "dest-compress-format gzip"),
    "not gzip": (_layers(TAR), "app_disk.image", "expected the diff id"),
    "longer layer": (_layers(f"{TAR}+gzip", 1), "app_disk.image_layout", "got other bytes"),
    "shorter layer": (_layers(f"{TAR}+gzip", -1), "app_disk.image_layout", "got other bytes"),
    "changed layer": (
        _blob(lambda data: data[:2] == b"\x1f\x8b", b"\x1f\x8b"),
        "app_disk.image_layout",
        "got other bytes",
    ),
    "changed configuration": (
        _blob(lambda data: b"rootfs" in data, b"{}"),
        "app_disk.image_layout",
        "got other bytes",
    ),
    "changed manifest": (
        _blob(lambda data: b"schemaVersion" in data, b"{}"),
        "app_disk.image_layout",
        "got other bytes",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_an_image_that_is_not_what_it_says_is_refused(tmp_path: Path, name: str) -> None:
    spoil, code, words = SPOILT[name]
    built = Built([LOWER])
    spoil(built)

    with pytest.raises(ImageError, match=words) as caught:
        read(built, tmp_path)

    assert caught.value.code == code


def test_a_layer_that_is_no_tar_is_refused(tmp_path: Path) -> None:
    built = Built([b"no tar at all"])

    with pytest.raises(ImageError, match="expected a tar stream") as caught:
        read(built, tmp_path)

    assert caught.value.code == "app_disk.image"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("oci-layout", None),
        ("oci-layout", b"{}"),
        ("oci-layout", b'{"imageLayoutVersion": "2.0.0"}'),
        ("oci-layout", b"\xff"),
    ],
)
def test_a_folder_that_is_no_layout_is_refused(
    tmp_path: Path, name: str, data: bytes | None
) -> None:
    Built([LOWER]).write(tmp_path / "images" / "web")
    assert len(find_layouts(tmp_path / "images")) == 1
    path = tmp_path / "images" / "web" / name
    path.unlink() if data is None else path.write_bytes(data)

    with pytest.raises(LayoutError) as caught:
        find_layouts(tmp_path / "images")

    assert caught.value.code == "app_disk.image_layout"


@pytest.mark.parametrize("name", ["notes.txt", "image.tar"])
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"notes")

    with pytest.raises(LayoutError) as caught:
        find_layouts(tmp_path)

    assert caught.value.code == "app_disk.image_layout"


def test_what_skopeo_writes_is_read(tmp_path: Path) -> None:
    if shutil.which("skopeo") is None:
        pytest.skip("needs skopeo")
    digest = Built([LOWER, UPPER]).write(tmp_path / "made")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    policy = tmp_path / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    subprocess.run(
        [
            "skopeo",
            f"--policy={policy}",
            "copy",
            "--preserve-digests",
            f"oci:{tmp_path / 'made'}",
            f"oci-archive:{tmp_path / 'image.tar'}",
        ],
        check=True,
        capture_output=True,
    )

    image = read_image(ImageLayout(tmp_path / "image.tar"), NAME, digest, scratch)

    assert image.digest == digest
