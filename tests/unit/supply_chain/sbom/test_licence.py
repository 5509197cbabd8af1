"""A licence is stated where the copyright file leaves no doubt, and nowhere else."""

from __future__ import annotations

import pytest
from cyclonedx.spdx import is_supported_id

from supply_chain.sbom.licence import FORMAT, spdx_licence

HEAD = f"Format: {FORMAT}/\nUpstream-Name: x\n"
ALL = "Files: *\nCopyright: somebody\nLicense: "


def text(*paragraphs: str, head: str = HEAD) -> str:
    """A copyright file of these paragraphs."""
    return "\n\n".join([head.strip(), *paragraphs]) + "\n"


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("Expat", "MIT"),
        ("Apache-2.0", "Apache-2.0"),
        ("GPL-2+", "GPL-2.0-or-later"),
        ("LGPL-2.1", "LGPL-2.1-only"),
        ("BSD-3-clause", "BSD-3-Clause"),
    ],
)
def test_one_licence_for_all_files_is_stated(name: str, identifier: str) -> None:
    assert is_supported_id(identifier)
    assert spdx_licence(text(f"{ALL}{name}\n its text\n .\n more of it")) == identifier


def test_what_debian_added_does_not_count() -> None:
    ours = "Files: debian/*\nCopyright: a packager\nLicense: GPL-2+"
    assert spdx_licence(text(f"{ALL}Expat", ours)) == "MIT"


def test_a_licence_that_is_only_explained_does_not_count() -> None:
    assert spdx_licence(text(f"{ALL}Expat", "License: GPL-3\n its text")) == "MIT"


def test_patterns_on_a_second_line_count() -> None:
    mixed = "Files: debian/*\n src/other.c\nCopyright: somebody\nLicense: GPL-2+"
    assert spdx_licence(text(f"{ALL}Expat", mixed)) is None


@pytest.mark.parametrize(
    "terms",
    [
        "",
        "This package was put together by hand. License: Expat",
        text(f"{ALL}Expat", head="Format: something else"),
        text(f"{ALL}Expat", "Files: src/*\nCopyright: x\nLicense: GPL-2+"),
        text(f"{ALL}Expat or GPL-2+"),
        text(f"{ALL}MIT"),
        text(f"{ALL}public-domain"),
        text("Files: *\nCopyright: nobody"),
    ],
)
def test_in_doubt_nothing_is_stated(terms: str) -> None:
    assert spdx_licence(terms) is None
