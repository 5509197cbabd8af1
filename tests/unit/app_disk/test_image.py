from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

import pytest

from app_disk.image import ImageError, parse_loader_list, pause_image
from supply_chain.inputs.tree import Tree
from tests.unit.app_disk.conftest import ImageMaker

# What the loader of Debian's llama.cpp 0.7.0 said, shortened.
LISTED = """\
	linux-vdso.so.1 (0x00007f709d55c000)
	libllama-server-impl.so => /usr/lib/x86_64-linux-gnu/llama/libllama-server-impl.so (0x00007f709d000000)
	libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f709ca0a000)
	/lib64/ld-linux-x86-64.so.2 (0x00007f709d55e000)
"""


def test_an_image_has_one_layer_and_one_name_with_a_digest(make_image: ImageMaker) -> None:
    image = make_image("localhost/one")
    manifest = json.loads(image.manifest)
    config = json.loads(image.config)

    assert image.reference == f"localhost/one@{image.digest}"
    assert image.names == (image.reference,)
    assert manifest["config"]["digest"] == str(image.image_id)
    assert manifest["config"]["size"] == len(image.config)
    assert [layer["digest"] for layer in manifest["layers"]] == config["rootfs"]["diff_ids"]
    assert config["config"]["User"] == "65532:65532"


def test_the_same_files_give_the_same_image(make_image: ImageMaker) -> None:
    assert make_image("localhost/one") == make_image("localhost/one")


def test_libraries_are_read_from_the_loaders_answer() -> None:
    assert parse_loader_list(LISTED) == {
        PurePosixPath("/usr/lib/x86_64-linux-gnu/llama/libllama-server-impl.so"),
        PurePosixPath("/lib/x86_64-linux-gnu/libc.so.6"),
        PurePosixPath("/lib64/ld-linux-x86-64.so.2"),
    }


@pytest.mark.parametrize(
    "line",
    [
        "\tlibssl.so.3 => not found\n",
        "\tlibssl.so.3 => relative/libssl.so.3 (0x00007f709d55c000)\n",
        "\tstatically linked\n",
    ],
)
def test_a_library_that_is_missing_is_an_error(line: str) -> None:
    with pytest.raises(ImageError) as caught:
        parse_loader_list(LISTED + line)

    assert caught.value.code == "app_disk.image"


def test_the_pause_image_is_the_static_program_with_its_licence(tmp_path: Path) -> None:
    program = tmp_path / "usr/bin/catatonit"
    licence = tmp_path / "usr/share/doc/catatonit/copyright"
    for path in (program, licence):
        path.parent.mkdir(parents=True)
        path.write_bytes(path.name.encode())

    image = pause_image(Tree(tmp_path))

    assert image.names == (image.reference, "localhost/pause:1")
    files = {str(e.path) for e in image.layer.entries if e.source is not None}
    assert files == {"pause", "usr/share/doc/catatonit/copyright"}


def test_packages_without_the_program_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as caught:
        pause_image(Tree(tmp_path))

    assert caught.value.code == "app_disk.image"


def test_a_link_out_of_the_packages_is_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"of the host")
    link = tmp_path / "root/usr/bin/catatonit"
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)

    with pytest.raises(ImageError) as caught:
        pause_image(Tree(tmp_path / "root"))

    assert caught.value.code == "app_disk.image"
