from __future__ import annotations

import json
from typing import Any

import pytest

from app_disk.application import App, parse_app
from app_disk.manifest import Fault, ManifestError, load_yaml
from app_disk.render import (
    config_files,
    kubernetes_manifest,
    memory_volumes,
    pod_manifest,
    with_digests,
)
from tests.unit.app_disk.conftest import Documents, set_at

NAME = "localhost/llama-server"
REFERENCE = f"{NAME}@sha256:{'ab' * 32}"
CONTAINER = "0/spec/template/spec/containers/0"


def _parse(documents: Documents) -> App:
    return parse_app([json.dumps(document) for document in documents])


def _container(document: dict[str, Any]) -> dict[str, Any]:
    container: dict[str, Any] = document["spec"]["template"]["spec"]["containers"][0]
    return container


def test_the_disk_gets_images_by_digest(documents: Documents) -> None:
    rendered = with_digests(_parse(documents), {NAME: REFERENCE, "localhost/other": "unused"})
    objects = load_yaml(kubernetes_manifest(rendered).decode())

    assert _container(objects[0])["image"] == REFERENCE
    _container(objects[0])["image"] = NAME
    assert objects == documents


def test_rendering_is_deterministic_and_stable(documents: Documents) -> None:
    once = kubernetes_manifest(with_digests(_parse(documents), {NAME: REFERENCE}))
    again = kubernetes_manifest(with_digests(parse_app([once.decode()]), {NAME: REFERENCE}))

    assert once == again


@pytest.mark.parametrize(
    "image",
    [
        "localhost/absent",
        f"{NAME}:latest",
        f"{NAME}@sha256:{'cd' * 32}",
        f"{NAME}:1@sha256:{'ab' * 32}",
        f"elsewhere.example/llama-server@sha256:{'ab' * 32}",
        "",
    ],
)
def test_an_image_that_is_not_on_the_disk_is_refused(documents: Documents, image: str) -> None:
    _container(documents[0])["image"] = image

    with pytest.raises(ManifestError) as caught:
        with_digests(_parse(documents), {NAME: REFERENCE})

    assert caught.value.fault is Fault.IMAGE


@pytest.fixture
def configured(documents: Documents) -> Documents:
    """The default application with a ConfigMap, a value of it, and memory."""
    volumes = documents[0]["spec"]["template"]["spec"]["volumes"]
    volumes += [
        {"name": "pages", "configMap": {"name": "pages"}},
        {"name": "sockets", "emptyDir": {"medium": "Memory", "sizeLimit": "64Ki"}},
    ]
    _container(documents[0])["volumeMounts"] += [
        {"name": "pages", "mountPath": "/srv", "readOnly": True},
        {"name": "sockets", "mountPath": "/run/sockets"},
    ]
    reference = {"configMapKeyRef": {"name": "pages", "key": "index.html"}}
    set_at(
        documents,
        f"{CONTAINER}/env",
        [{"name": "LITERAL", "value": "1"}, {"name": "PAGE", "valueFrom": reference}],
    )
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "pages"},
        "data": {"index.html": "Grüße\n", "other.txt": ""},
    }
    return [*documents, config]


def test_a_config_map_is_files_of_the_disk(configured: Documents) -> None:
    assert config_files(_parse(configured)) == {
        "config/pages/index.html": "Grüße\n".encode(),
        "config/pages/other.txt": b"",
    }


def test_podman_is_left_nothing_to_interpret(configured: Documents) -> None:
    app = _parse(configured)
    (pod,) = app.workloads
    (document,) = load_yaml(pod_manifest(app, pod).decode())

    assert (document["kind"], document["metadata"]) == (
        "Pod",
        {"name": "llm", "labels": {"app": "llm"}},
    )
    assert document["spec"]["volumes"] == [
        {"name": name, "hostPath": {"path": path, "type": "Directory"}}
        for name, path in (
            ("engine", "/run/app/engine"),
            ("pages", "/run/app/config/pages"),
            ("sockets", "/run/pod/volumes/sockets"),
        )
    ]
    # It is in a user namespace before podman is.
    assert "hostUsers" not in document["spec"]
    (container,) = document["spec"]["containers"]
    assert container["env"] == [
        {"name": "LITERAL", "value": "1"},
        {"name": "PAGE", "value": "Grüße\n"},
    ]
    # Everything else is word for word what the source says.
    source = _container(configured[0])
    assert {**container, "env": source["env"]} == source
    assert memory_volumes(pod) == {"sockets": 65536}


def test_a_config_map_that_nobody_uses_is_refused(configured: Documents) -> None:
    configured[-1]["metadata"]["name"] = "other"
    configured.append({**configured[-1], "metadata": {"name": "pages"}})

    with pytest.raises(ManifestError) as caught:
        _parse(configured)

    assert caught.value.fault is Fault.CONFIG


@pytest.mark.parametrize("key", ["../x", ".hidden", "a/b", ""])
def test_a_key_that_is_no_file_name_is_refused(configured: Documents, key: str) -> None:
    configured[-1]["data"][key] = ""

    with pytest.raises(ManifestError) as caught:
        _parse(configured)

    assert caught.value.fault is Fault.VALUE
