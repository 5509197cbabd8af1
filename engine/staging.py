"""A folder's weights taken in: each file is read once, into a copy that nobody else can change.

What is checked is the copy, and the copy is what is used. A file that is hashed where it lies and
read again later may have become another one in between, and on a slow disk it costs twice.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from engine.signature import verify_folder_signature
from engine.weights import WeightsError
from supply_chain.digest import Sha256, sha256_private
from supply_chain.errors import DigestMismatchError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.signature import ModelSigner

_GIT = ".git"
"""Never part of a model, and never covered by a model signature."""


def stage_weights(
    folder: Path,
    files: Mapping[str, Sha256],
    *,
    signer: ModelSigner | None,
    base: Path,
    out: Path,
) -> None:
    """Exactly the declared files of a folder are in the new directory `out`, with their digests.

    Args:
        folder: Where they lie.
        files: Their digests, by name.
        signer: Whose OpenSSF signature over the whole folder is demanded.
        base: What the paths in `signer` are relative to.
        out: A directory that does not exist yet.

    Raises:
        WeightsError: A file is missing, or the signature leaves it out.
        DigestMismatchError: A file is another one.
        ModelSignatureError: There is no such signature, or it is over other files.
    """
    for name in files:
        if not (folder / name).is_file():
            raise WeightsError(f"weights: expected {name} in {folder}, got no such file")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as aside:
        # A signature names the folder that it is over.
        copy = Path(aside) / folder.resolve().name
        found = _copied(folder, copy, names=None if signer is not None else files)
        if signer is not None:
            _signed(copy, files, signer, base=base, title=str(folder))
        for name, expected in files.items():
            if found[name] != expected:
                raise DigestMismatchError(f"{folder.name}/{name}", expected, found[name])
        out.mkdir()
        for name in files:
            (copy / name).rename(out / name)


def _signed(
    copy: Path, files: Mapping[str, Sha256], signer: ModelSigner, *, base: Path, title: str
) -> None:
    signed = verify_folder_signature(copy, signer, base=base, title=title)
    if unsigned := sorted(files.keys() - signed):
        raise WeightsError(
            f"weights: expected the signature to cover {', '.join(unsigned)}, it does not"
        )


def _copied(folder: Path, copy: Path, *, names: Mapping[str, Sha256] | None) -> dict[str, Sha256]:
    """Copy some files of a folder, or with None all of it; return the digests of those at its top."""
    found: dict[str, Sha256] = {}

    def take(source: str, target: str) -> str:
        digest = _copy(Path(source), Path(target))
        if Path(target).parent == copy:
            found[Path(target).name] = digest
        return target

    if names is None:
        shutil.copytree(
            folder,
            copy,
            symlinks=True,
            copy_function=take,
            ignore=shutil.ignore_patterns(_GIT),
        )
        return found
    copy.mkdir()
    for name in names:
        take(str(folder / name), str(copy / name))
    return found


def _copy(source: Path, target: Path) -> Sha256:
    # Inside of the kernel, and on some file systems without moving a byte.
    shutil.copyfile(source, target)
    target.chmod(0o644)
    return sha256_private(target)
