"""An engine as it is handed on: its two files, under its name, with a signature over both."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from engine.gguf import MANIFEST, MODEL
from engine.signature import (
    ModelSignatureError,
    sign_with_certificate,
    sign_with_identity,
    sign_with_key,
)
from engine.verify import read_manifest
from supply_chain.attest.trust import LOCAL_IDENTITY
from supply_chain.local_sigstore import running
from supply_chain.workspace import fresh_dir

if TYPE_CHECKING:
    from collections.abc import Iterator

Sign = Callable[[Path], object]
"""Signs a folder, and leaves the signature in it."""


def export_engine(engine: Path, out: Path, sign: Sign) -> Path:
    """The signed engine: a folder inside of `out`, named as the engine.

    Args:
        engine: The engine, `model.gguf` and `manifest.json`.
        out: A folder that is replaced.
        sign: Signs the folder that it is given.

    Raises:
        EngineMismatchError: There is no engine.
        ModelSignatureError: It cannot be signed; what was in `out` before is still there.
    """
    name = str(json.loads(read_manifest(engine))["name"])
    out.parent.mkdir(parents=True, exist_ok=True)
    with fresh_dir(out) as aside:
        # A signature names the folder that it is over.
        folder = aside / name
        folder.mkdir()
        for file in (MODEL, MANIFEST):
            shutil.copyfile(engine / file, folder / file)
        sign(folder)
    return out / name


def key_signature(key: Path, certificate: str, chain: str, passphrase: bytes | None) -> Sign:
    """How to sign with a key, and with its certificate where one is named.

    Raises:
        ModelSignatureError: A chain is named, and no certificate that it would be of.
    """
    if certificate:
        between = (Path(chain),) if chain else ()
        return partial(
            sign_with_certificate, private_key=key, certificate=Path(certificate), chain=between
        )
    if chain:
        raise ModelSignatureError("--chain: expected --certificate too, got none")
    return partial(sign_with_key, private_key=key, passphrase=passphrase)


@contextlib.contextmanager
def local_signature(state: Path, passphrase: bytes | None) -> Iterator[Sign]:
    """How to sign as the builder of this machine, with its own Sigstore, for the block's length.

    Args:
        state: The build's state folder.
        passphrase: Of the Sigstore's keys.
    """
    with (
        running(state, passphrase=passphrase) as instance,
        tempfile.TemporaryDirectory(prefix="trust-") as name,
    ):
        config = Path(name) / "trust.json"
        config.write_text(instance.trust_config_json)
        token = str(instance.identity_token(LOCAL_IDENTITY))
        yield partial(sign_with_identity, trust_config=config, token=token)
