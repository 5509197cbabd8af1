"""Bytes of a bundle that sigstore-python does not look at, though they say something.

No signature covers them and no check of the library reads them, so anybody could change them in a
genuine bundle. Nothing would be forged by that; but then the same signature has many bundles, and
one that says nonsense is passed on as verified. Here they must say what the rest of the bundle says:

* the digest algorithm beside a message signature,
* the name of the log in the signature of its checkpoint (signed note), and the spelling of that,
* index and time of an entry in a log of version 2, which promises neither,
* what stands around the signed part of a time stamp (`stamp`).

Signatures of witnesses below a checkpoint are left alone: whom they would have to be is nobody's
demand yet.

Source: Sigstore bundle specification; C2SP signed-note and tlog-checkpoint.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from blindllama._release.stamp import check_stamp
from blindllama.errors import Code, ProvenanceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import JsonValue

__all__ = ["check_unread"]

_STEP = 2


def check_unread(
    document: JsonValue,
    *,
    entries: Sequence[Mapping[str, JsonValue]],
    stamps: Sequence[JsonValue],
    authorities: Sequence[bytes],
) -> None:
    """Refuse a bundle that says something else where nobody looks.

    Args:
        document: The bundle, as sigstore has parsed and would write it.
        entries: Its log entries.
        stamps: Its time stamps, as far as they count.
        authorities: Certificates (DER) of the trust root's time stamp authorities.

    Raises:
        ProvenanceError: `bundle.signature`, or `bundle.no_timestamp` for a stamp.
    """
    algorithm = _at(document, "messageSignature", "messageDigest", "algorithm")
    if algorithm not in {None, "SHA2_256"}:
        raise _refused("digest algorithm of a message signature", "SHA2_256", algorithm)
    for entry in entries:
        _check_unpromised(dict(entry))
        try:
            _check_checkpoint(_at(dict(entry), "inclusionProof", "checkpoint", "envelope"))
        except ValueError as exc:
            raise _refused("signature of a checkpoint", "base64", str(exc)) from exc
    for stamp in stamps:
        try:
            encoded = _at(stamp, "signedTimestamp")
            check_stamp(base64.b64decode(encoded if isinstance(encoded, str) else ""), authorities)
        except ValueError as exc:
            raise ProvenanceError(
                f"time stamp of a Sigstore bundle: {exc}", code=Code.BUNDLE_NO_TIMESTAMP, step=_STEP
            ) from exc


def _check_unpromised(entry: JsonValue) -> None:
    # Version 1 signs both in its promise, and counts entries of several trees.
    if _at(entry, "kindVersion", "version") != "0.0.2":
        return
    proven = _at(entry, "inclusionProof", "logIndex")
    if _at(entry, "logIndex") != proven:
        raise _refused("index of a log entry", proven, _at(entry, "logIndex"))
    time = _at(entry, "integratedTime")
    if time not in {None, "0"}:
        raise _refused("time of an entry in a log that signs none", "none", time)


def _check_checkpoint(note: JsonValue) -> None:
    text, _, signatures = note.partition("\n\n") if isinstance(note, str) else ("", "", "")
    origin = text.partition("\n")[0]
    # Rekor of version 1 adds its tree's number to its name in the text alone.
    names = [line.split(" ")[1:2] for line in signatures.splitlines()]
    if [origin] not in names and [origin.partition(" - ")[0]] not in names:
        raise _refused("name in the signature of a checkpoint", origin, names)
    for line in signatures.splitlines():
        encoded = line.rpartition(" ")[2]
        if base64.b64encode(base64.b64decode(encoded)).decode() != encoded:
            raise _refused("signature of a checkpoint", "base64 with one reading", encoded)


def _at(value: JsonValue, *way: str) -> JsonValue:
    for key in way:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _refused(what: str, expected: object, got: object) -> ProvenanceError:
    return ProvenanceError(what, code=Code.BUNDLE_SIGNATURE, step=_STEP, expected=expected, got=got)
