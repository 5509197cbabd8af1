"""A thousand signatures at once: none is lost, all verify."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.simulators.signing_workers import check_all_logged, signing

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.sigstore


def test_a_thousand_signatures_in_two_processes(checkout: Path, tmp_path: Path) -> None:
    bundles = signing(checkout, tmp_path, processes=2, count=500, threads=8)
    check_all_logged(tmp_path, bundles, processes=2, count=500)
