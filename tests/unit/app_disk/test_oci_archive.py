from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from app_disk.build import write_root
from app_disk.image import PAUSE_NAME, PAUSE_TAG, SERVER_NAME, Image
from app_disk.oci_archive import write_archive
from app_disk.oci_image import read_image
from app_disk.oci_layout import ImageLayout
from app_disk.source import read_app
from supply_chain.digest import sha256_bytes, sha256_file, sha256_tree
from tests.unit.app_disk.conftest import ImageMaker
from tests.unit.app_disk.oci import Built, file, layer


@pytest.fixture(params=["made", "brought"])
def image(request: pytest.FixtureRequest, make_image: ImageMaker, tmp_path: Path) -> Image:
    """An image made from packages, and one of two layers that an application brings."""
    if request.param == "made":
        return make_image("localhost/one")
    digest = Built([layer(file("a", b"1")), layer(file(".wh.a"), file("b", b"2"))]).write(
        tmp_path / "layout"
    )
    (tmp_path / "scratch").mkdir()
    layout = ImageLayout(tmp_path / "layout")
    return read_image(layout, "registry.example/two", digest, tmp_path / "scratch")


def test_an_archive_holds_the_image_by_its_digest(image: Image, tmp_path: Path) -> None:
    write_archive(image, tmp_path / "one.tar")
    write_archive(image, tmp_path / "two.tar")

    assert sha256_file(tmp_path / "one.tar") == sha256_file(tmp_path / "two.tar")
    with tarfile.open(tmp_path / "one.tar") as archive:
        files = {name: archive.extractfile(name) for name in archive.getnames()}
        data = {name: stream.read() for name, stream in files.items() if stream is not None}
    (described,) = json.loads(data["index.json"])["manifests"]
    assert described["digest"] == str(image.digest)
    assert described["annotations"] == {"io.containerd.image.name": image.reference}
    wanted = {str(image.image_id), str(image.digest)}
    wanted |= {found["digest"] for found in json.loads(image.manifest)["layers"]}
    blobs = {name: found for name, found in data.items() if name.startswith("blobs/")}
    assert {f"sha256:{name.rpartition('/')[2]}" for name in blobs} == wanted
    assert all(sha256_bytes(found).hex == name[-64:] for name, found in blobs.items())


def test_skopeo_reads_it(image: Image, tmp_path: Path) -> None:
    if shutil.which("skopeo") is None:
        pytest.skip("needs skopeo")
    write_archive(image, tmp_path / "one.tar")
    completed = subprocess.run(
        ["skopeo", "inspect", "--raw", f"oci-archive:{tmp_path / 'one.tar'}"],
        check=True,
        capture_output=True,
    )

    assert completed.stdout == image.manifest


def test_a_disk_for_k3s_has_archives_and_no_store(
    manifests: Path, make_image: ImageMaker, tmp_path: Path
) -> None:
    images = [make_image(SERVER_NAME), make_image(PAUSE_NAME, PAUSE_TAG)]
    airgap = tmp_path / "airgap.tar"
    airgap.write_bytes(b"k3s's own")
    for name, archive in (("podman", None), ("k3s", airgap)):
        write_root(tmp_path / name, read_app(manifests), images=images, engine=None, airgap=archive)

    found = {path.name for path in (tmp_path / "k3s" / "images").iterdir()}
    assert found == {"localhost_llama-server.tar", "k3s.tar"}
    assert (tmp_path / "k3s" / "images" / "k3s.tar").read_bytes() == b"k3s's own"
    # All else is the same: manifests, policies, routes.
    for name in ("podman", "k3s"):
        shutil.rmtree(tmp_path / name / "images")
    assert sha256_tree(tmp_path / "podman") == sha256_tree(tmp_path / "k3s")
