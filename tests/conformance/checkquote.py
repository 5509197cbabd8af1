"""A quote in the files of tpm2-tools, and the command that checks them.

Source: tpm2-tools 5.4, lib/pcr.c (`pcr_fwrite_serialized`): the values are C structures of
libtss2-sys, little-endian here as on the machines that run the tool.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from blindllama._tpm.quote import AkPublicKey

TOOL = "tpm2_checkquote"
_SHA256 = 0x000B
_MOST_BANKS = 16
_DIGESTS_IN_A_LIST = 8
_LARGEST_DIGEST = 64


def write_quote(
    folder: Path, *, key: AkPublicKey, attest: bytes, signature: bytes, pcrs: Mapping[int, bytes]
) -> None:
    """Write what `checkquote_argv` names."""
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "ak.pem").write_bytes(pem)
    (folder / "attest").write_bytes(attest)
    (folder / "signature").write_bytes(signature)
    (folder / "pcrs").write_bytes(serialized(pcrs))


def checkquote_argv(folder: Path, qualifying_data: bytes) -> list[str]:
    """The command that checks the files of a folder."""
    return [
        TOOL,
        f"--public={folder / 'ak.pem'}",
        f"--message={folder / 'attest'}",
        f"--signature={folder / 'signature'}",
        f"--pcr={folder / 'pcrs'}",
        f"--qualification={qualifying_data.hex()}",
    ]


def serialized(pcrs: Mapping[int, bytes]) -> bytes:
    """TPML_PCR_SELECTION, the number of lists, and TPML_DIGEST lists of eight."""
    bits = sum(1 << index for index in pcrs).to_bytes(3, "little")
    selection = _u32(1) + _SHA256.to_bytes(2, "little") + b"\x03" + bits + bytes(2)
    selection += bytes(8 * (_MOST_BANKS - 1))
    values = [pcrs[index] for index in sorted(pcrs)]
    lists = [values[at : at + _DIGESTS_IN_A_LIST] for at in range(0, len(values), 8)]
    return selection + _u32(len(lists)) + b"".join(_digest_list(some) for some in lists)


def _digest_list(values: list[bytes]) -> bytes:
    padded = values + [b""] * (_DIGESTS_IN_A_LIST - len(values))
    return _u32(len(values)) + b"".join(
        len(value).to_bytes(2, "little") + value.ljust(_LARGEST_DIGEST, b"\0") for value in padded
    )


def _u32(value: int) -> bytes:
    return value.to_bytes(4, "little")
