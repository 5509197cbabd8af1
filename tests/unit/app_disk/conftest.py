"""What the tests of the application's disk share: its manifests, and small images."""

from __future__ import annotations

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
def manifests(checkout: Path) -> Path:
    """The directory of the default application."""
    return checkout / "app_disk" / "apps" / "llm"


@pytest.fixture
def documents(manifests: Path) -> Documents:
    """The default application's objects: Deployment, Ingress, NetworkPolicy, Service."""
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
