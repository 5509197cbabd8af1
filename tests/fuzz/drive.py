"""One target under atheris, in a process of its own: `python -m tests.fuzz.drive TARGET …`.

What follows the target's name goes to libFuzzer.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["blindllama"]):
    from tests.fuzz.target import targets


def main() -> None:
    """Fuzz until libFuzzer ends the process."""
    program, name, *options = sys.argv
    target = next(one for one in targets() if one.name == name)
    atheris.Setup([program, *options], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
