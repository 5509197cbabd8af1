"""`blindllama inspect`: what a file claims, without believing any of it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping

from blindllama._cli.claims import file_claims, read_claims_file
from blindllama._cli.output import Output
from blindllama._printable import printable

__all__ = ["run"]

_LONGEST = 300


def run(options: argparse.Namespace, output: Output) -> None:
    """Show the claims.

    Raises:
        FormatError: the file is none of the known documents.
        UsageError: it cannot be read.
    """
    signature = None if options.signature is None else read_claims_file(options.signature)
    claims = file_claims(read_claims_file(options.file), signature=signature)
    output.field("verified", False)  # noqa: FBT003 - a value of the JSON document
    output.field("claimed", claims)
    output.text(f"CLAIMED by {options.file}; nothing of it was verified.\n\n")
    for name, value in claims.items():
        output.text("".join(f"claimed {line}\n" for line in _lines(name, value)))


def _lines(name: str, value: object) -> Iterator[str]:
    """Yield a value as indented lines; strangers have written it."""
    shown = printable(name, _LONGEST)
    if isinstance(value, Mapping) and value:
        yield f"{shown}:"
        for key, child in value.items():
            yield from (f"  {line}" for line in _lines(str(key), child))
    elif isinstance(value, list) and any(isinstance(child, Mapping) for child in value):
        for number, child in enumerate(value, start=1):
            yield from _lines(f"{name} {number}", child)
    elif isinstance(value, list):
        yield f"{shown}: {printable(', '.join(str(child) for child in value), _LONGEST)}"
    else:
        yield f"{shown}: {printable(str(value), _LONGEST)}"
