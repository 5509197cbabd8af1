"""Bills of materials: valid, the same for the same content, and about what really is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from supply_chain.digest import sha256_bytes
from supply_chain.inputs.deb import PackedFile, read_tree
from supply_chain.inputs.store import Store
from supply_chain.sbom.debian import Inventory, Packages
from supply_chain.sbom.document import SbomError, file_part, hash_of, package_part, sbom_document
from tests.unit.supply_chain.inputs.samples import build_deb, package

DIGEST = sha256_bytes(b"disk")


def subject(digest: str = DIGEST.hex) -> Component:
    """Something that has parts."""
    hashes = [HashType(alg=HashAlgorithm.SHA_256, content=digest)]
    return Component(name="disk", type=ComponentType.FILE, bom_ref="disk", hashes=hashes)


def parts() -> list[Component]:
    """A package and a file."""
    return [
        package_part(package(b"deb", "tool", version="1:2.0-3"), licence="MIT", properties={}),
        file_part("etc/x", DIGEST, properties={"blindllama:part": "root"}),
    ]


def test_a_document_is_valid_and_names_each_part_by_digest() -> None:
    data = sbom_document(subject(), parts())

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(data.decode()) is None
    document: dict[str, Any] = json.loads(data)
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    file, tool = document["components"]
    assert tool["purl"] == "pkg:deb/debian/tool@1:2.0-3?arch=amd64&distro=trixie"
    assert tool["hashes"] == [{"alg": "SHA-256", "content": sha256_bytes(b"deb").hex}]
    assert tool["licenses"] == [{"license": {"id": "MIT", "acknowledgement": "declared"}}]
    assert (file["name"], file["hashes"][0]["content"]) == ("etc/x", DIGEST.hex)
    (whole,) = (entry for entry in document["dependencies"] if entry["ref"] == "disk")
    assert whole["dependsOn"] == sorted([file["bom-ref"], tool["bom-ref"]])


def test_the_order_of_parts_and_the_time_do_not_matter() -> None:
    assert sbom_document(subject(), parts()) == sbom_document(subject(), reversed(parts()))
    document = json.loads(sbom_document(subject(), parts()))
    assert document["metadata"]["timestamp"] == "2026-01-01T00:00:00+00:00"


def test_another_content_has_another_serial_number() -> None:
    documents = [
        json.loads(sbom_document(*given))
        for given in ((subject(), parts()), (subject("0" * 64), parts()), (subject(), parts()[:1]))
    ]
    assert len({document["serialNumber"] for document in documents}) == len(documents)


def test_a_document_that_the_schema_refuses_is_not_made() -> None:
    with pytest.raises(SbomError, match=r"CycloneDX 1\.6") as caught:
        sbom_document(subject("not a digest"), parts())
    assert caught.value.code == "build.sbom"


def test_every_file_is_counted_once_for_where_it_is_from(tmp_path: Path) -> None:
    """The same bytes in the same place are the package's; other bytes there are ours."""
    store = Store(tmp_path / "store")
    kept, gone = (
        build_deb(tmp_path, name, {f"usr/lib/{name}/{file}": f"{name} {file}" for file in files})
        for name, files in (("kept", ("a.py", "b", "c")), ("gone", ("d",)))
    )
    packages = []
    for name, data in (("kept", kept), ("gone", gone)):
        packages.append(package(data, name))
        store.put(data, packages[-1].sha256)
    root = tmp_path / "root"
    cache = root / "usr/lib/kept/__pycache__"
    cache.mkdir(parents=True)
    (cache / "a.cpython-313.pyc").write_bytes(b"compiled from a.py")
    (cache.parent / "b").write_text("kept b")
    (cache.parent / "c").write_text("changed")
    (root / "own").write_text("ours")

    inventory = Inventory()
    inventory.add_tree(read_tree(root), Packages.read(packages, store), part="root")
    found = {part.name: part for part in inventory.parts()}

    assert set(found) == {"kept", "usr/lib/kept/c", "own"}
    properties = {entry.name: entry.value for entry in found["kept"].properties}
    assert properties == {
        "blindllama:files-in-package": "3",
        "blindllama:files-in-root": "2",
    }
    assert list(found["own"].hashes) == [hash_of(sha256_bytes(b"ours"))]


def test_a_link_belongs_to_a_package_only_as_the_package_has_it(tmp_path: Path) -> None:
    link = tmp_path / "x-root" / "usr" / "bin" / "x"
    link.parent.mkdir(parents=True)
    link.symlink_to("y")
    data = build_deb(tmp_path, "x", {})
    store = Store(tmp_path / "store")
    store.put(data, package(data, "x").sha256)
    packages = Packages.read([package(data, "x")], store)

    for target, names in (("y", ["x"]), ("z", [])):
        inventory = Inventory()
        files = {"usr/bin/x": PackedFile(digest=None, target=target)}
        inventory.add_tree(files, packages, part="root")
        assert [part.name for part in inventory.parts()] == names
