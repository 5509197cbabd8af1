"""QEMU with OVMF and a software TPM: the embedded default, a simulation of its own kind.

The host makes the TPM and its root, so a quote says what the host's owner deployed and protects
from remote attackers only. Registers 6, 8, 10 and 14 are reported: nothing of the release is in
them. 0 and 1 are golden values of one machine profile (firmware, processors, memory, devices).
Who deploys the TPM chooses its key, so every scheme will do.
"""

from __future__ import annotations

from cryptography import x509

from blindllama._platform.base import ALL_SCHEMES, QUOTED_PCRS, Platform
from blindllama.measurements import PlatformName

__all__ = ["QEMU_SWTPM"]


def _check_leaf(certificate: x509.Certificate) -> None:
    """Accept any leaf: whoever simulates the TPM writes whatever subject they like."""


QEMU_SWTPM = Platform(
    name=PlatformName.QEMU_SWTPM,
    evidence_kind="tpm-quote",
    limits="the host simulates the TPM: this proves nothing against whoever runs the host",
    simulation=True,
    quoted=QUOTED_PCRS,
    enforced=frozenset({0, 1, 2, 3, 4, 5, 7, 9, 11, 12, 13, 15}),
    schemes=ALL_SCHEMES,
    roots=None,
    check_leaf=_check_leaf,
)
