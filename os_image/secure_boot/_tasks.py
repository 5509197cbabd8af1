"""Tasks of Secure Boot with own keys: `secure-boot.keys` and `secure-boot.sign`."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from invoke.collection import Collection
from invoke.context import Context
from invoke.tasks import task

from os_image.secure_boot.build import LOCK_SETS, build_signed_image
from os_image.secure_boot.keys import (
    create_keys,
    is_signing_key_encrypted,
    read_certificates,
    read_signing_key,
)
from supply_chain.front import told
from supply_chain.host import require_root
from supply_chain.inputs import fetch
from supply_chain.inputs.locked import LockedInputs
from supply_chain.passphrase import known_passphrase, new_passphrase
from supply_chain.progress import ConsoleProgress
from supply_chain.workspace import Workspace, fresh_dir

_ROOT = Path(__file__).resolve().parents[2]
_KEYS = "secure-boot"
"""The folder of the keys, among the identities of this checkout."""
_OUT = "secure-boot"
_IMAGE, _MEASUREMENTS = "os-image", "measure/measurements.json"


@task
@told()
def keys(_context: Context) -> None:
    """Make the three keys of Secure Boot; the passphrase is asked for or in the environment."""
    folder = Workspace.at(_ROOT, os.environ).state / _KEYS
    made = create_keys(folder, passphrase=new_passphrase(os.environ), now=datetime.now(UTC))
    for name, certificate in (("PK", made.pk), ("KEK", made.kek), ("db", made.db)):
        print(f"{name:3}  {sha256(certificate).hexdigest()}  {folder / f'{name}.der'}")


@task
@told()
def sign(_context: Context) -> None:
    """Sign the image that was built, for a machine with these keys, into build/secure-boot."""
    require_root()
    workspace, progress = Workspace.at(_ROOT, os.environ), ConsoleProgress()
    folder, inputs = workspace.state / _KEYS, LockedInputs.at(workspace)
    certificates = read_certificates(folder)
    encrypted = is_signing_key_encrypted(folder)
    passphrase = known_passphrase(os.environ, "the Secure Boot keys") if encrypted else None
    key = read_signing_key(folder, passphrase=passphrase)
    with workspace.exclusive(progress):
        fetch(inputs.lock, LOCK_SETS, inputs.store, progress, environ=os.environ)
        with (
            progress.step("signed image"),
            fresh_dir(workspace.build / _OUT) as out,
        ):
            build_signed_image(
                workspace.build / _IMAGE,
                workspace.build / _MEASUREMENTS,
                key=key,
                certificates=certificates,
                inputs=inputs,
                out=out,
            )
    print(f"build/{_OUT}: boot it with invoke boot.up --secure-boot")


ns = Collection("secure-boot", keys, sign)
