"""`blindllama report`: the ten checks, written to a file for whoever was not there."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from blindllama._cli.connect import connect
from blindllama._cli.output import Output
from blindllama.errors import UsageError
from blindllama.report import Report

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["run"]

_FORMS: Final[Mapping[str, Callable[[Report], str]]] = MappingProxyType(
    {".html": Report.html, ".json": Report.json_text, ".txt": Report.text}
)


def run(options: argparse.Namespace, output: Output) -> None:
    """Verify the guest and write the report.

    Raises:
        Error: as `verify_and_connect`; the report is written before.
        UsageError: the file cannot be written, or its name has none of the known endings.
    """
    path: Path = options.output
    form = _FORMS.get(path.suffix)
    if form is None:
        raise UsageError(f"--output; expected a name ending in {', '.join(_FORMS)}; got {path}")

    def write(report: Report) -> None:
        try:
            path.write_text(form(report), "utf-8")
        except OSError as exc:
            raise UsageError(f"--output, {path}: {exc.strerror or exc}") from exc
        output.note(f"{report.verdict}; the report is in {path}")

    connect(options, output, show=write).close()
