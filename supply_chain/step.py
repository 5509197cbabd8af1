"""One declared step of the pipeline: what it reads, what it makes, and whether it must run again.

A step is a value. It names the locked inputs and the earlier steps that it reads, the files that it
makes, and the code and parameters that decide their bytes. The same value generates the in-toto
layout, keys the cache and is rebuilt by an auditor, so the three cannot tell different stories.

Names on the wire are `inputs/<input>` for locked inputs and `<step>/<file>` for products.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from supply_chain.confinement import reading_only
from supply_chain.digest import Sha256, sha256_bytes, sha256_file
from supply_chain.errors import BuildError
from supply_chain.isolation import without_network
from supply_chain.workspace import fresh_dir

RECORD = "step.json"
"""Name of the record that a finished step leaves beside its products."""

BYTECODE = "__pycache__"
"""The one name that is left out of a step's code: Python writes it beside what is counted, and a
checkout without it builds the same. A `.pyc` anywhere else can be imported by itself and counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A declared step; its `build` writes every product into the folder that it is given."""

    name: str
    """The in-toto step name."""
    inputs: Mapping[str, Sha256]
    """Locked inputs by name, with the digest that the lock demands."""
    after: tuple[str, ...]
    """Names of the earlier steps whose products are materials of this one."""
    products: tuple[str, ...]
    """File names that `build` leaves in its folder, no more and no fewer."""
    code: Mapping[str, Path]
    """Source files and folders that decide the products' bytes, by their name in the checkout."""
    parameters: Mapping[str, Any]
    """What a user may choose, JSON-shaped; it becomes provenance's `externalParameters.spec`."""
    build: Callable[[Path], None]
    """Makes the products in the folder given; what it reads is bound when the step is declared."""
    reads: tuple[Path, ...] = ()
    """Where its inputs are, besides its code and the products before it: nothing else is opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What a finished step read and made."""

    step: Step
    folder: Path
    key: Sha256
    materials: Mapping[str, Sha256]
    products: Mapping[str, Sha256]
    started: datetime
    finished: datetime
    rebuilt: bool = field(compare=False)

    def path(self, product: str) -> Path:
        """Return the path of one product by its file name."""
        return self.folder / product


def run_step(
    step: Step,
    *,
    earlier: Mapping[str, StepResult],
    build_root: Path,
    clock: Callable[[], datetime],
) -> StepResult:
    """Run a step unless the products of an equal run still stand; return what it read and made.

    A run is equal when inputs, earlier products, parameters and code have the same digests. The
    products are hashed again before they are trusted, and a failed run leaves the last good one.
    While it is built, a step has no network and opens what it declares: all that it needs is in the
    lock, and was fetched before.

    Raises:
        BuildError: the step left other files than it declares, or needs a step that has not run.
    """
    materials = _materials(step, earlier)
    key = step_key(step, materials)
    folder = build_root / step.name
    kept = _kept(step, folder, key, materials)
    if kept is not None:
        return kept
    started = clock()
    with fresh_dir(folder) as aside:
        products_before = (build_root / name for name in step.after)
        reads = (aside, *step.code.values(), *products_before, *step.reads)
        with without_network(), reading_only(step.name, reads), contextlib.chdir(aside):
            step.build(aside)
        made = sorted(path.name for path in aside.iterdir())
        if made != sorted(step.products):
            raise BuildError(
                f"step {step.name} must leave {sorted(step.products)}, it left {made}: "
                "its declaration in pipeline.py and its build disagree"
            )
        products = {f"{step.name}/{name}": sha256_file(aside / name) for name in step.products}
        finished = clock()
        record = {
            "key": key.hex,
            "products": {name: digest.hex for name, digest in sorted(products.items())},
            "started": started.isoformat(),
            "finished": finished.isoformat(),
        }
        (aside / RECORD).write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    return StepResult(
        step=step,
        folder=folder,
        key=key,
        materials=materials,
        products=products,
        started=started,
        finished=finished,
        rebuilt=True,
    )


def _materials(step: Step, earlier: Mapping[str, StepResult]) -> dict[str, Sha256]:
    missing = [name for name in step.after if name not in earlier]
    if missing:
        raise BuildError(f"step {step.name} needs {missing} to have run before it")
    materials = {f"inputs/{name}": digest for name, digest in step.inputs.items()}
    for name in step.after:
        materials.update(earlier[name].products)
    return dict(sorted(materials.items()))


def step_key(step: Step, materials: Mapping[str, Sha256]) -> Sha256:
    """Return the digest of everything that decides the products of a step."""
    document = {
        "step": step.name,
        "parameters": step.parameters,
        "products": list(step.products),
        "materials": {name: digest.hex for name, digest in materials.items()},
        "code": {name: _code_digest(path).hex for name, path in step.code.items()},
    }
    return sha256_bytes(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())


def _code_digest(path: Path) -> Sha256:
    if path.is_file():
        return sha256_file(path)
    sources = sorted(
        file
        for file in path.rglob("*")
        if (file.is_symlink() or file.is_file()) and BYTECODE not in file.parts
    )
    return sha256_bytes("\n".join(_code_line(path, file) for file in sources).encode())


def _code_line(folder: Path, file: Path) -> str:
    """Return what of a source file can reach a product: its place, content, and whether it runs."""
    name = file.relative_to(folder)
    if file.is_symlink():
        return f"{name} -> {file.readlink()}"
    runs = "x" if os.access(file, os.X_OK) else "-"
    return f"{name} {runs} {sha256_file(file).hex}"


def _kept(
    step: Step, folder: Path, key: Sha256, materials: Mapping[str, Sha256]
) -> StepResult | None:
    """Return the earlier run when its key and the bytes of its products still agree."""
    try:
        record = json.loads((folder / RECORD).read_bytes())
        products = {name: Sha256.from_hex(digest) for name, digest in record["products"].items()}
        if record["key"] != key.hex or not _intact(step, folder, products):
            return None
        return StepResult(
            step=step,
            folder=folder,
            key=key,
            materials=materials,
            products=products,
            started=datetime.fromisoformat(record["started"]),
            finished=datetime.fromisoformat(record["finished"]),
            rebuilt=False,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _intact(step: Step, folder: Path, products: Mapping[str, Sha256]) -> bool:
    names = {f"{step.name}/{name}" for name in step.products}
    return products.keys() == names and all(
        sha256_file(folder / name) == products[f"{step.name}/{name}"] for name in step.products
    )
