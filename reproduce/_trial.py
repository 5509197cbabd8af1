"""Run in a second build's surroundings before it: whether they allow what a build does."""

from __future__ import annotations

import tempfile
from pathlib import Path

import invoke

from supply_chain.inputs._enter import mount
from supply_chain.isolation import without_network


def main() -> None:
    """Do what a build does: leave the network and come back, mount in a namespace of its own."""
    assert invoke.__file__  # noqa: S101 - importing it is the trial: can its files be read?
    with without_network():
        pass
    # Not removed here, since it is busy: the mounts end with this process, the folder with the build.
    place = Path(tempfile.mkdtemp())
    mount("layer", str(place), "tmpfs", options="mode=0755")
    for part in ("lower", "upper", "work", "root"):
        (place / part).mkdir()
    layers = f"lowerdir={place}/lower,upperdir={place}/upper,workdir={place}/work"
    mount("root", str(place / "root"), "overlay", options=layers)


if __name__ == "__main__":
    main()
