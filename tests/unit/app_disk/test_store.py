from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

import pytest

from app_disk.image import Image, ImageError
from app_disk.store import link_name, write_store
from supply_chain.digest import sha256_bytes, sha256_tree
from tests.unit.app_disk.conftest import ImageMaker

# The fields that podman 5.4.2 wrote when it loaded an image of one layer.
PODMAN_IMAGE = {
    "id", "digest", "names", "names-history", "layer", "metadata", "big-data-names",
    "big-data-sizes", "big-data-digests", "created",
}  # fmt: skip
PODMAN_LAYER = {
    "id", "created", "compressed-diff-digest", "compressed-size", "diff-digest", "diff-size",
    "uidset", "gidset",
}  # fmt: skip


@pytest.fixture
def images(make_image: ImageMaker) -> list[Image]:
    return [make_image("localhost/two"), make_image("localhost/one")]


def test_the_store_is_the_same_every_time(images: list[Image], tmp_path: Path) -> None:
    write_store(images, tmp_path / "a")
    write_store(images[::-1], tmp_path / "b")

    assert sha256_tree(tmp_path / "a") == sha256_tree(tmp_path / "b")


def test_images_are_found_by_digest(images: list[Image], tmp_path: Path) -> None:
    write_store(images, tmp_path / "store")
    home = tmp_path / "store" / "overlay-images"
    records = json.loads((home / "images.json").read_bytes())

    assert [record["names"] for record in records] == [
        [images[1].reference],
        [images[0].reference],
    ]
    for record in records:
        assert set(record) <= PODMAN_IMAGE
        for key in record["big-data-names"]:
            name = key if key.isalnum() else "=" + base64.b64encode(key.encode()).decode()
            data = (home / record["id"] / name).read_bytes()
            assert len(data) == record["big-data-sizes"][key]
            assert str(sha256_bytes(data)) == record["big-data-digests"][key]


def test_a_layer_is_kept_once_and_has_its_short_link(images: list[Image], tmp_path: Path) -> None:
    write_store(images, tmp_path / "store")
    records = json.loads((tmp_path / "store/overlay-layers/layers.json").read_bytes())
    overlay = tmp_path / "store" / "overlay"

    # Two images share one layer here.
    assert [record["id"] for record in records] == [images[0].layer.digest.hex]
    assert set(records[0]) == PODMAN_LAYER
    link = (overlay / records[0]["id"] / "link").read_text("ascii")
    assert (overlay / "l" / link).resolve() == overlay / records[0]["id"] / "diff"
    assert (overlay / "l" / link / "usr/bin/program").read_bytes() == b"#!/bin/true\n"


def test_a_read_only_store_has_its_lock_files(images: list[Image], tmp_path: Path) -> None:
    write_store(images, tmp_path / "store")

    for name in ("storage.lock", "overlay-images/images.lock", "overlay-layers/layers.lock"):
        assert (tmp_path / "store" / name).read_bytes() == b""


def test_one_image_under_two_names_is_refused(make_image: ImageMaker, tmp_path: Path) -> None:
    image = make_image("localhost/one")

    with pytest.raises(ImageError) as caught:
        write_store([image, replace(image, name="localhost/two")], tmp_path / "store")

    assert caught.value.code == "app_disk.image"


def test_link_names_look_like_podmans() -> None:
    names = {link_name(f"{number:064x}") for number in range(100)}

    assert len(names) == 100
    assert all(len(name) == 26 and name.isalnum() and name.isupper() for name in names)
