"""The release, built again by the code of `invoke reproduce`: the same bytes, by another user."""

from __future__ import annotations

import pytest

from building_site import Site
from reproduce.confirm import read_rebuildable, require_equal
from reproduce.rebuild import STEPS, rebuilt
from standing import Published

pytestmark = pytest.mark.e2e


def test_a_rebuild_elsewhere_is_equal(site: Site, published: Published) -> None:
    """Another folder, user, umask, zone, locale, host name, order of files; one processor."""
    claim, folder = read_rebuildable(published.folder)
    with rebuilt(site, claim, release=folder) as made:
        require_equal(site, claim, made, release=folder)
        assert made.products.keys() >= {
            name for step in STEPS for name in claim.steps[step].products
        }
        assert made.products == {name: claim.products[name] for name in made.products}
        place = made.folder
    assert not place.exists()
