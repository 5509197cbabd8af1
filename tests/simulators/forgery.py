"""Statements that a real TPM signs for an attacker who has full use of it.

The attacker knows what the client expects (a release is public) and the client's nonce. The TPM,
its key and its certificates are genuine; what was booted is not the release.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from blindllama.errors import Code
from blindllama.pcr import replay
from tests.simulators.booted_guest import APP, BOOT, BootedGuest, sha256

if TYPE_CHECKING:
    from tests.simulators.swtpm import SoftwareTpm

Forgery = tuple[str, Code, dict[str, Any]]


def genuine_digests(pcr: int) -> tuple[bytes, ...]:
    """What the release extends into a register."""
    app = tuple(sha256(data) for _, data in APP) if pcr == 15 else ()
    return tuple(sha256(data) for _, data, _ in BOOT.get(pcr, ())) + app


def forgeries(tpm: SoftwareTpm, guest: BootedGuest, data: bytes) -> Iterator[Forgery]:
    """Name, code of the refusal and evidence document of each forgery.

    Args:
        tpm: A TPM that has not booted anything yet.
        guest: Holds the papers of this TPM's key.
        data: The qualifying data that the client will expect, 32 bytes.
    """
    golden = {pcr: replay(genuine_digests(pcr)) for pcr in range(16)}
    tpm.extend(0, sha256(b"an evil firmware"))
    # Q1 (CVE-2024-29039): the release's extends, each in the register after its own.
    for pcr in golden:
        for digest in genuine_digests(pcr):
            tpm.extend(pcr + 1, digest)
    moved = ",".join(str(pcr + 1) for pcr in golden)
    yield _around(
        guest, "relabelled", Code.QUOTE_SELECTION, tpm.quote(data, f"sha256:{moved}"), golden
    )
    # Q2 (CVE-2024-29038): a blob of the attacker's that differs from a quote in its magic.
    genuine, _ = tpm.quote(data, f"sha256:{moved}")
    wanted = sha256(b"".join(golden[pcr] for pcr in range(16)))
    blob = bytes(4) + genuine[4:-32] + wanted
    yield _around(guest, "magic", Code.QUOTE_MAGIC, tpm.forge_by_signing(blob), golden)
    # Genuine statements of another type.
    yield _around(guest, "certify", Code.QUOTE_TYPE, tpm.certify(data), golden)
    yield _around(guest, "time", Code.QUOTE_TYPE, tpm.get_time(data), golden)
    # Genuine quotes over other registers than the sixteen.
    yield from _other_selections(tpm, guest, data)
    # Genuine quotes that are not for this caller.
    for name, other in (
        ("empty-nonce", b""),
        ("nonce-prefix", data[:16]),
        ("longer-nonce", data + b"\0"),
        ("stale-nonce", sha256(b"an earlier session")),
    ):
        yield _around(guest, name, Code.QUOTE_NONCE, tpm.quote(other), tpm.pcrs())
    # A genuine quote of another boot, with the truth and with a lie beside it.
    yield _around(guest, "other-boot", Code.MEASUREMENT_MISMATCH, tpm.quote(data), tpm.pcrs())
    yield _around(guest, "other-boot-lie", Code.QUOTE_PCR_DIGEST, tpm.quote(data), golden)


def _other_selections(tpm: SoftwareTpm, guest: BootedGuest, data: bytes) -> Iterator[Forgery]:
    sixteen = ",".join(str(pcr) for pcr in range(16))
    halves = "sha256:0,1,2,3,4,5,6,7+sha256:8,9,10,11,12,13,14,15"
    for name, selection in (
        ("subset", f"sha256:{sixteen.removesuffix(',15')}"),
        ("without-12", f"sha256:{sixteen.replace(',12', '')}"),
        ("superset", f"sha256:{sixteen},16"),
        # The digest is the same as over one selection of sixteen.
        ("bank-twice", halves),
        ("sha1-bank", f"sha1:{sixteen}"),
        ("two-banks", f"sha256:{sixteen}+sha1:0"),
    ):
        quoted = tpm.quote(data, selection)
        yield _around(guest, name, Code.QUOTE_SELECTION, quoted, tpm.pcrs())


def _around(
    guest: BootedGuest,
    name: str,
    code: Code,
    statement: tuple[bytes, bytes],
    pcrs: Mapping[int, bytes],
) -> Forgery:
    return name, code, guest.wire(*statement, pcrs=pcrs)
