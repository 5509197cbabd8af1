"""Hooks of MkDocs: what the site needs beyond the pages.

Source: MkDocs, Plugins (events on_files, on_page_markdown).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

_MERMAID = "assets/mermaid.min.js"
_BEYOND = re.compile(r"\[(?P<text>[^\]]*)\]\((?:\.\./)+(?P<target>(?!adr/)[\w./-]*/[\w./-]+)\)")
"""A link to a file of the checkout that is no page."""


def on_files(files: Any, config: Any) -> Any:  # noqa: ANN401 - MkDocs ships no types
    """Put the program that draws the diagrams into the site, so that nothing is fetched to read."""
    source = Path(os.environ["BLINDLLAMA_MERMAID"])
    files.append(File.generated(config, _MERMAID, content=source.read_bytes()))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Name files of the checkout where a page links to them: the site has pages alone."""
    return _BEYOND.sub(r"`\g<target>`", markdown)
