"""Where an application is: one of the project's by its name, another by its path."""

from __future__ import annotations

from pathlib import Path

import pytest

from app_disk.manifest import Fault, ManifestError
from app_disk.source import APPS, app_directory, read_app


@pytest.mark.parametrize("name", ["hello", "llm"])
def test_the_projects_own_have_names(checkout: Path, name: str) -> None:
    found = app_directory(name, checkout)
    assert found == checkout / APPS / name
    assert read_app(found).name == name


@pytest.mark.parametrize("app", ["./hello", "/srv/hello", "elsewhere"])
def test_any_other_is_a_path(checkout: Path, app: str) -> None:
    assert app_directory(app, checkout) == Path(app)


def test_a_directory_without_manifests_is_refused_by_its_path(
    checkout: Path, tmp_path: Path
) -> None:
    with pytest.raises(ManifestError, match="expected manifests/") as caught:
        read_app(app_directory(str(tmp_path), checkout))
    assert caught.value.fault is Fault.COUNT
    assert str(tmp_path) in str(caught.value)
