"""The licence of a Debian package, where its copyright file says it simply enough to be sure.

Most packages hold files under many terms; which of them reached the binary package, the file does
not tell. So a licence is stated only when all files of the source have the same one, under a name
that means one text; else none is, and the copyright file itself is the answer.

Source: Debian, "Machine-readable debian/copyright file", version 1.0, sections 4 and 7.
"""

from __future__ import annotations

FORMAT = "https://www.debian.org/doc/packaging-manuals/copyright-format/1.0"
_SPDX = {
    "agpl-3": "AGPL-3.0-only",
    "agpl-3+": "AGPL-3.0-or-later",
    "apache-2.0": "Apache-2.0",
    "bsd-2-clause": "BSD-2-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "cc0-1.0": "CC0-1.0",
    "expat": "MIT",
    "gpl-2": "GPL-2.0-only",
    "gpl-2+": "GPL-2.0-or-later",
    "gpl-3": "GPL-3.0-only",
    "gpl-3+": "GPL-3.0-or-later",
    "isc": "ISC",
    "lgpl-2": "LGPL-2.0-only",
    "lgpl-2+": "LGPL-2.0-or-later",
    "lgpl-2.1": "LGPL-2.1-only",
    "lgpl-2.1+": "LGPL-2.1-or-later",
    "lgpl-3": "LGPL-3.0-only",
    "lgpl-3+": "LGPL-3.0-or-later",
    "mpl-2.0": "MPL-2.0",
    "zlib": "Zlib",
}
"""Debian's short names that stand for exactly one text, by their SPDX identifier. `MIT` is not
among them: the specification says that it is ambiguous."""


def spdx_licence(copyright_text: str) -> str | None:
    """Return the SPDX identifier of the one licence in a copyright file; None when it is not one.

    Args:
        copyright_text: The content of `/usr/share/doc/PACKAGE/copyright`.
    """
    paragraphs = [_fields(text) for text in copyright_text.split("\n\n")]
    if FORMAT not in paragraphs[0].get("format", "").replace("http://", "https://"):
        return None
    names = {
        paragraph.get("license", "").lower()
        for paragraph in paragraphs
        # What Debian added to build the package is not in it.
        if any(not pattern.startswith("debian/") for pattern in paragraph.get("files", "").split())
    }
    return _SPDX.get(names.pop()) if len(names) == 1 else None


def _fields(paragraph: str) -> dict[str, str]:
    """Return the fields of a paragraph; of `License`, the first line alone, which is the name."""
    fields: dict[str, str] = {}
    key = ""
    for line in paragraph.splitlines():
        if not line.startswith((" ", "\t", "#")) and ":" in line:
            key, _, value = line.partition(":")
            key = key.lower()
            fields[key] = value.strip()
        elif key and key != "license":
            fields[key] = f"{fields[key]} {line.strip()}"
    return fields
