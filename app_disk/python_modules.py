"""Python modules of an image, compiled by the Python that will run them.

The image is read-only, and under emulation a start would compile for seconds each time. The compiled
files are never compared with their sources, since both are read through verity.
"""

from __future__ import annotations

import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from app_disk.layer import Entry
from supply_chain.inputs.tree import Bind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from supply_chain.inputs.tree import Tree


def compiled_modules(
    tree: Tree, python: str, modules: Sequence[Entry], folders: Sequence[str]
) -> Iterator[Entry]:
    """The compiled form of all modules.

    Args:
        tree: The root that holds the Python.
        python: Its program.
        modules: The modules; what of them is no source is passed over.
        folders: Where in the image they are.

    Raises:
        CommandError: A module cannot be compiled.

    Source: PEP 552, unchecked hash-based files.
    """
    with tempfile.TemporaryDirectory(prefix="compiled-") as name:
        root = Path(name)
        for entry in modules:
            if entry.path.suffix == ".py":
                path = root / entry.path
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(entry.data())
        options = ["-q", "--invalidation-mode", "unchecked-hash"]
        # Tracebacks name the path in the container.
        options += ["-s", "/mnt/root", "-p", "/"]
        tree.run(
            [python, "-m", "compileall", *options, *(f"/mnt/root/{one}" for one in folders)],
            binds=[Bind(host=root, inside="/mnt/root", read_only=False)],
            env={"PYTHONHASHSEED": "0"},  # the order of a set among a module's constants
        )
        for path in sorted(root.rglob("*.pyc")):
            yield Entry(
                path=PurePosixPath(path.relative_to(root)),
                content=path.read_bytes(),
            )
