"""A release, and evidence of a guest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.simulators.signed_release import SignedRelease, make_signed_release


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> SignedRelease:
    return make_signed_release(tmp_path_factory.mktemp("state"), sequence=7)


@pytest.fixture
def guest(checkout: Path) -> Path:
    return checkout / "tests/golden/evidence-v1.json"


@pytest.fixture
def document(guest: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(guest.read_bytes())
    return loaded
