"""Azure Trusted Launch: the host's virtual TPM, certified by Microsoft.

Registers 0 to 3 and 7 change with Microsoft's firmware, 6 holds the machine's identity and 10
follows from the others, so these are reported. 12 and 13 are zero and enforced: with Secure Boot
off they are where a command line or an addon from outside the UKI would show.

Source: openvmm (the key's template, its handle, the certificate's NV index); Microsoft's Trusted
Launch questions and answers (the root); the certificates themselves.
"""

from __future__ import annotations

import re

from cryptography import x509
from cryptography.x509.oid import NameOID

from blindllama._platform.base import QUOTED_PCRS, Platform
from blindllama._tpm.structures import HashAlgorithm, SignatureScheme
from blindllama.errors import AttestationKeyError, Code
from blindllama.measurements import PlatformName

__all__ = ["AZURE_TRUSTED_LAUNCH", "ROOT_2023"]

ROOT_2023 = bytes.fromhex("e6c596b17f8ffefba5c300f714cfb1260c6028704ecf7becc4ab5018efb00e95")
"""SHA-256 of `Azure Virtual TPM Root Certificate Authority 2023`, valid until 2048-06-01."""

_COMMON_NAME = re.compile(r"[0-9a-f]{12}\.TrustedVM\.Azure\.(Microsoft|windows\.net)", re.ASCII)
"""The same root certifies confidential VMs, whose quotes mean something else."""


def _check_leaf(certificate: x509.Certificate) -> None:
    names = [name.value for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if len(names) != 1 or not _COMMON_NAME.fullmatch(str(names[0])):
        raise AttestationKeyError(
            "subject of the attestation key's certificate",
            code=Code.AK_KEY,
            step=7,
            expected="<12 hex digits>.TrustedVM.Azure.…",
            got=", ".join(str(name) for name in names) or "no common name",
        )


AZURE_TRUSTED_LAUNCH = Platform(
    name=PlatformName.AZURE_TRUSTED_LAUNCH,
    evidence_kind="tpm-quote",
    limits="Azure runs the TPM: this proves what the tenant deployed, not that Azure keeps out",
    simulation=False,
    quoted=QUOTED_PCRS,
    enforced=frozenset({4, 9, 11, 12, 13, 15}),
    schemes=frozenset({(SignatureScheme.RSASSA, HashAlgorithm.SHA256)}),
    roots=frozenset({ROOT_2023}),
    check_leaf=_check_leaf,
)
