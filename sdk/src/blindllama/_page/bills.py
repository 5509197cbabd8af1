"""Bills of materials as one table that can be searched."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from blindllama._page.artifacts import table
from blindllama._printable import printable
from blindllama.errors import UsageError

if TYPE_CHECKING:
    from blindllama.release import VerifiedRelease

__all__ = ["SEARCH", "bill_rows", "bills"]

SEARCH: Final = """
const find = document.getElementById("find");
const told = document.getElementById("found");
const rows = [...document.querySelectorAll("#bill tbody tr")];
function show() {
  const words = find.value.toLowerCase().split(/\\s+/).filter(Boolean);
  let shown = 0;
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
    shown += row.hidden ? 0 : 1;
  }
  told.textContent = `${shown} of ${rows.length}`;
}
find.addEventListener("input", show);
find.closest(".search").hidden = false;
show();
"""
"""The page's one program: it hides rows without the words that are typed."""

_LONGEST = 200
Row = tuple[str, str, str, str, str]


def bills(rows: list[Row]) -> Iterator[str]:
    """Yield the table of all components, with a field to search it."""
    yield "<h2>What is inside</h2>"
    yield '<div class="search" hidden><label for="find">Find a package, file or licence</label>'
    yield '<input id="find" type="search" autocomplete="off">'
    yield '<p id="found" role="status"></p></div>'
    yield '<div id="bill">'
    yield from table(
        "Every component, from the release's bills of materials",
        ("component", "version", "kind", "licence", "in"),
        rows,
    )
    yield "</div>"


def bill_rows(contents: Mapping[str, bytes], release: VerifiedRelease) -> list[Row]:
    """The components of CycloneDX documents, which must be files of the release.

    Args:
        contents: The documents by what they are called in messages.
        release: Whose they are.

    Raises:
        UsageError: one is not a file of the release, or no bill of materials.
    """
    paths = {digest: path for path, digest in release.files.items()}
    rows: list[Row] = []
    for name, content in contents.items():
        path = paths.get(hashlib.sha256(content).hexdigest())
        if path is None:
            raise UsageError(
                f"bill of materials, {name}; expected a file of {release.name} {release.sequence}; "
                "got another"
            )
        rows += _rows(name, content, within=path.rpartition("/")[2].partition(".")[0])
    return sorted(set(rows))


def _rows(name: str, content: bytes, *, within: str) -> Iterator[Row]:
    try:
        components = json.loads(content)["components"]
        for component in components:
            yield (
                _text(component["name"]),
                _text(component.get("version", "")),
                _text(component["type"]),
                _text(", ".join(map(_licence, component.get("licenses", ())))),
                _text(within),
            )
    except (ValueError, KeyError, TypeError) as exc:
        raise UsageError(f"bill of materials, {name}; expected CycloneDX; got {exc!r}") from exc


def _licence(choice: Any) -> str:  # noqa: ANN401 - JSON of a file that the release's signer wrote
    if "expression" in choice:
        return str(choice["expression"])
    licence = choice["license"]
    return str(licence.get("id") or licence["name"])


def _text(value: object) -> str:
    return printable(str(value), _LONGEST)
