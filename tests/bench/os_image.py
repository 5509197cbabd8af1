"""What the OS image's build takes, beside mkosi's of the same packages."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from os_image.build import build_os_image, lock_names
from os_image.spec import read_spec
from supply_chain.errors import BuildError
from supply_chain.inputs import fetch
from supply_chain.inputs.locked import LockedInputs
from supply_chain.progress import ConsoleProgress, SilentProgress
from supply_chain.workspace import Workspace
from tests.bench.paired import Bench, NotMeasuredError, timed
from tests.simulators.mkosi import VERSION, Mkosi

ROOT = Path(__file__).resolve().parents[2]
_SPEC = ROOT / "os_image" / "os-image.toml"


@contextmanager
def built() -> Iterator[Bench]:
    """From packages that were fetched to a disk: ours against mkosi's.

    Each fetches before the first round, and a first build is not counted.
    """
    workspace, progress, spec = Workspace.at(ROOT, os.environ), ConsoleProgress(), read_spec(_SPEC)
    inputs = LockedInputs.at(workspace)
    fetch(inputs.lock, lock_names(spec), inputs.store, progress, environ=os.environ)
    with tempfile.TemporaryDirectory(prefix="bench-os-image-") as name:
        theirs = Path(name) / "mkosi"
        theirs.mkdir()
        mkosi = Mkosi(workspace.cache, theirs, sorted(spec.packages))
        try:
            mkosi.fetch(environ=os.environ, progress=progress)
        except BuildError as exc:
            raise NotMeasuredError("It compares with mkosi, which cannot be had here.") from exc
        mkosi.build_first(environ=os.environ, progress=progress)
        numbers = count()

        def ours() -> None:
            out = Path(name) / f"ours-{next(numbers)}"
            build_os_image(spec, inputs=inputs, out=out, progress=SilentProgress())

        ours()
        yield Bench(
            name=f"the OS image from fetched packages, against mkosi {VERSION} with the same packages",
            subject=timed(ours),
            baseline=timed(mkosi.build),
            at_most_ratio=1.0,
            rounds=5,
            warm=False,
        )
