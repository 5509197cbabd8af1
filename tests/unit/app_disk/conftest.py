"""What the tests of the application's disk share: its manifests, and small images."""

from __future__ import annotations

import copy
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import pytest

from app_disk.image import Image, build_image
from app_disk.layer import Entry
from app_disk.manifest import load_yaml

Documents = list[dict[str, Any]]


class ImageMaker(Protocol):
    """Makes an image of one program and one link."""

    def __call__(self, name: str, tag: str | None = None) -> Image: ...


REMOVED = object()
"""Given to `set_at` instead of a value: the key goes away."""


def set_at(document: dict[str, Any] | Documents, path: str, value: object) -> None:
    """Change what a path of keys and indexes, joined by /, leads to."""
    here: Any = document
    *steps, last = path.split("/")
    for step in steps:
        here = here[int(step)] if isinstance(here, list) else here[step]
    if value is REMOVED:
        del here[last]
    else:
        here[int(last) if isinstance(here, list) else last] = value


@pytest.fixture
def manifests() -> Path:
    """The directory of a small application: the model's server alone, one route."""
    return Path(__file__).parent / "one_container"


@pytest.fixture
def default_app(checkout: Path) -> Path:
    """The directory of the default application."""
    return checkout / "app_disk" / "apps" / "llm"


@pytest.fixture
def documents(manifests: Path) -> Documents:
    """The small application's objects: Deployment, Ingress, NetworkPolicy, Service."""
    return [
        document
        for path in sorted(manifests.glob("manifests/*.yaml"))
        for document in load_yaml(path.read_text(encoding="utf-8"))
    ]


@pytest.fixture
def make_image(tmp_path: Path) -> ImageMaker:
    """Makes an image of one program and one link."""

    def make(name: str, tag: str | None = None) -> Image:
        program = tmp_path / "program"
        program.write_bytes(b"#!/bin/true\n")
        entries = [
            Entry(path=PurePosixPath("usr/bin/program"), source=program, executable=True),
            Entry(path=PurePosixPath("bin"), target="usr/bin"),
        ]
        return build_image(name, entries, entrypoint=["/usr/bin/program", name], tag=tag)

    return make


STORE_PORTS = [{"port": 5432}]
"""Of the store, for the model; nobody else may."""


def pods_named(app: str) -> dict[str, Any]:
    """Return the peers that have this label."""
    return {"podSelector": {"matchLabels": {"app": app}}}


def client_policy(*blocks: dict[str, Any], port: int = 443) -> dict[str, Any]:
    """Return a policy about who may be a client."""
    rule = {"from": [{"ipBlock": {**block}} for block in blocks], "ports": [{"port": port}]}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "clients", "namespace": "ingress"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [rule]},
    }


@pytest.fixture
def three_pods(documents: Documents) -> Documents:
    """The default application, called llm, a store that it asks, and a third that nobody asks.

    In order: Deployment, Ingress, policy, Service; 4, 5, 6 and 7, 8, 9 without Ingress.
    """
    found = copy.deepcopy(documents)
    for name, address in (("store", "10.89.0.11"), ("third", "10.89.0.12")):
        new = copy.deepcopy([documents[0], documents[2], documents[3]])
        for document in new:
            document["metadata"]["name"] = name
        set_at(new, "0/spec/selector/matchLabels", {"app": name})
        set_at(new, "0/spec/template/metadata/labels", {"app": name})
        set_at(new, "1/spec/podSelector/matchLabels", {"app": name})
        set_at(new, "1/spec/ingress", [])
        set_at(new, "2/spec/selector", {"app": name})
        set_at(new, "2/spec/clusterIP", address)
        found += new
    set_at(found, "2/spec/egress", [{"to": [pods_named("store")], "ports": STORE_PORTS}])
    set_at(found, "5/spec/ingress", [{"from": [pods_named("llm")], "ports": STORE_PORTS}])
    return found
