"""Tasks about the OS image alone: `os-image.build`, `os-image.inspect`, `os-image.issuers`."""

from __future__ import annotations

import json
import os
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding
from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from blindllama import Policy
from os_image.build import DESCRIPTION_NAME, LOCK_SETS, build_os_image
from os_image.issuers import (
    FOLDER,
    certificate_in,
    fetch_published,
    missing_issuers,
    read_issuers,
    write_issuers,
)
from os_image.spec import SPEC_NAME, read_spec
from supply_chain.front import told
from supply_chain.host import require_root
from supply_chain.inputs import fetch
from supply_chain.inputs.locked import LockedInputs
from supply_chain.progress import ConsoleProgress
from supply_chain.workspace import Workspace, fresh_dir, replace_file

_ROOT = Path(__file__).resolve().parent.parent
_FOLDERS = {False: "os-image", True: "os-image-debug"}


@task(help={"debug": "an image with a root shell on its console, and other measurements"})
@told()
def build(_context: Context, debug: bool = False) -> None:
    """Build the disk into build/os-image, or build/os-image-debug, unsigned."""
    require_root()
    workspace = Workspace.at(_ROOT, os.environ)
    progress = ConsoleProgress()
    inputs = LockedInputs.at(workspace)
    with workspace.exclusive(progress):
        fetch(inputs.lock, LOCK_SETS, inputs.store, progress, environ=os.environ)
        with fresh_dir(workspace.build / _FOLDERS[debug]) as out:
            built = build_os_image(
                read_spec(_ROOT / "os_image" / SPEC_NAME, debug=debug),
                inputs=inputs,
                out=out,
                progress=progress,
            )
    print(f"build/{_FOLDERS[debug]}: root hash {built.verity.root_hash.hex()}")


@task(help={"debug": "the debug image"})
@told()
def inspect(_context: Context, debug: bool = False) -> None:
    """Show what the image that was built consists of."""
    path = Workspace.at(_ROOT, os.environ).build / _FOLDERS[debug] / DESCRIPTION_NAME
    if not path.exists():
        command = f"invoke os-image.build{' --debug' if debug else ''}"
        raise Exit(f"{path.relative_to(_ROOT)} is not there; run: {command}", code=1)
    facts = json.loads(path.read_bytes())
    print(f"{facts['name']}{' (debug)' if facts['debug'] else ''}, Linux {facts['kernel_release']}")
    print(f"command line: {facts['command_line']}")
    print(f"root hash: {facts['root']['root_hash']} over {facts['root']['data_blocks']} blocks")
    for part in facts["partitions"]:
        print(f"partition {part['name']}: {part['size_bytes']} bytes at {part['offset_bytes']}")
    for section in facts["uki"]["sections"]:
        print(f"UKI section {section['name']}: {section['size']} bytes, {section['sha256']}")
    print(f"packages: {', '.join(facts['packages'])}")


@task(
    help={
        "certificate": "of an attestation key: PEM, DER, or a guest's evidence that holds it",
        "policy": "put what is missing into this client's policy, not into the image",
    },
)
@told()
def issuers(_context: Context, certificate: str = "", policy: str = "") -> None:
    """Show the issuers of Azure's keys that the image has; fetch those that it lacks."""
    folder = _ROOT / FOLDER
    known = read_issuers(folder)
    if certificate:
        leaf = certificate_in(Path(certificate).read_bytes(), certificate)
        new = missing_issuers(leaf, known, fetch_published)
        if policy:
            # The root too: a chain that ends early ends before the root.
            pems = [one.public_bytes(Encoding.PEM).decode() for one in (*new, *known)]
            richer = Policy.from_file(policy).with_issuers(pems)
            replace_file(Path(policy), richer.to_toml().encode())
            print(f"{policy}: {len(richer.vtpm.issuers or ())} issuers")
        else:
            for path in write_issuers(folder, new):
                print(f"new: {path.relative_to(_ROOT)}; look at it, commit it, and build a release")
    for issuer in read_issuers(folder):
        until = issuer.not_valid_after_utc.date()
        print(f"{until}  {issuer.subject.rfc4514_string()}")


ns = Collection("os-image")
ns.add_task(build)
ns.add_task(inspect)
ns.add_task(issuers)
