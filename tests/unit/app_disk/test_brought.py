from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from app_disk.application import App, parse_app
from app_disk.brought import IMAGES, brought_images, pull_argv, pull_images, read_brought
from app_disk.image import ImageError
from app_disk.locked import app_disk_inputs, build_locked_app_disk
from app_disk.manifest import Fault, ManifestError
from supply_chain.digest import Sha256
from supply_chain.inputs.lock import Lock
from supply_chain.inputs.locked import LockedInputs
from supply_chain.progress import SilentProgress
from supply_chain.sbom.document import SBOM
from supply_chain.workspace import Workspace
from tests.unit.app_disk.conftest import Documents, set_at
from tests.unit.app_disk.oci import Built, file, layer

NAME = "registry.example:5000/team/web"
BUILT = Built([layer(file("web", b"#!web", mode=0o755))])
DIGEST, _ = BUILT.files()


def app_with(documents: Documents, image: str) -> App:
    """The default application with another image."""
    set_at(documents, "0/spec/template/spec/containers/0/image", image)
    return parse_app([json.dumps(document) for document in documents])


@pytest.fixture
def app(documents: Documents) -> App:
    return app_with(documents, f"{NAME}@{DIGEST}")


def test_an_image_by_digest_is_the_applications_own(app: App, lock: Lock) -> None:
    (image,) = brought_images(app)

    assert (image.name, image.digest) == (NAME, DIGEST)
    assert app_disk_inputs(app, lock)[f"image/{NAME}"] == DIGEST


def test_an_image_with_a_recipe_is_not(documents: Documents) -> None:
    assert brought_images(app_with(documents, "localhost/llama-server")) == ()


@pytest.mark.parametrize(
    "image",
    [
        "registry.example/web",
        "registry.example/web:1",
        f"registry.example/web:1@sha256:{'ab' * 32}",
        "registry.example/web@sha256:ab",
        f"registry.example/web@sha512:{'ab' * 64}",
        f"web@sha256:{'ab' * 32}",
        f"registry.example/Web@sha256:{'ab' * 32}",
        f"registry.example/../web@sha256:{'AB' * 32}",
        "",
    ],
)
def test_an_image_by_anything_else_is_refused(documents: Documents, image: str) -> None:
    with pytest.raises(ManifestError) as caught:
        brought_images(app_with(documents, image))

    assert (caught.value.code, caught.value.fault) == ("app_disk.manifest", Fault.IMAGE)


def test_it_is_read_from_its_directory(app: App, tmp_path: Path) -> None:
    (tmp_path / IMAGES).mkdir()
    BUILT.archive(tmp_path / IMAGES / "web.tar")
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    (image,) = read_brought(app, tmp_path, scratch)

    assert image.reference == f"{NAME}@{DIGEST}"


def test_an_image_that_is_not_there_is_named(app: App, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"app-disk\.pull") as caught:
        read_brought(app, tmp_path, tmp_path)

    assert caught.value.code == "app_disk.image"
    assert str(DIGEST) in str(caught.value)


def test_an_image_that_no_manifest_names_is_refused(app: App, tmp_path: Path) -> None:
    BUILT.write(tmp_path / IMAGES / "web")
    Built([layer(file("other"))]).write(tmp_path / IMAGES / "other")
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    with pytest.raises(ImageError, match="expected images in use, got other") as caught:
        read_brought(app, tmp_path, scratch)

    assert caught.value.code == "app_disk.image"


def test_skopeo_is_asked_for_these_bytes_and_no_others(app: App, tmp_path: Path) -> None:
    (image,) = brought_images(app)

    assert pull_argv(image, tmp_path / "x.tar") == [
        "skopeo",
        "copy",
        "--preserve-digests",
        "--override-os=linux",
        "--override-arch=amd64",
        f"docker://{NAME}@{DIGEST}",
        f"oci-archive:{tmp_path / 'x.tar'}",
    ]


def test_what_is_there_is_not_fetched(app: App, tmp_path: Path) -> None:
    BUILT.write(tmp_path / IMAGES / "web")

    assert pull_images(app, tmp_path, SilentProgress()) == ()


@pytest.mark.root
def test_a_disk_holds_it_by_its_own_digest(
    app: App, checkout: Path, lock: Lock, tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to run the locked tools in a root of their own")
    inputs = LockedInputs.at(Workspace.at(checkout, os.environ))
    digests: dict[str, Sha256] = app_disk_inputs(app, lock)
    if not all(inputs.store.has(found) for name, found in digests.items() if "image/" not in name):
        pytest.skip("needs the sets tools and rootfs in the store: invoke inputs.fetch")
    BUILT.write(tmp_path / IMAGES / "web")
    disks = []
    for name in ("one", "two"):
        out = tmp_path / name
        out.mkdir()
        disks.append(
            build_locked_app_disk(
                app,
                directory=tmp_path,
                engine=None,
                inputs=inputs,
                out=out,
                progress=SilentProgress(),
            )
        )

    one, two = disks
    assert one.image.read_bytes() == two.image.read_bytes()
    assert sorted(path.name for path in one.image.parent.iterdir()) == [
        "app-disk.json",
        "app.img",
        SBOM,
    ]
    described = json.loads(one.description.read_bytes())["images"][NAME]
    assert described["reference"] == f"{NAME}@{DIGEST}"
    parts = json.loads((one.image.with_name(SBOM)).read_bytes())["components"]
    (part,) = (found for found in parts if found["name"] == NAME)
    assert part["hashes"] == [{"alg": "SHA-256", "content": DIGEST.hex}]
