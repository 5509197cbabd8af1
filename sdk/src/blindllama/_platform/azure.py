"""Azure Trusted Launch: the host's virtual TPM, certified by Microsoft.

Registers 0 to 3 and 7 are the work of Microsoft's firmware, which publishes no values: those of
real machines are listed here, and a policy adds what it trusts besides. 5 holds the partition
table as this firmware writes it, 6 the machine's identity, and 10 follows from the others: these
are reported. 12 and 13 are zero and enforced: with Secure Boot off they are where a command line
or an addon from outside the UKI would show.

Source: openvmm (the key's template, its handle, the certificate's NV index); Microsoft's Trusted
Launch questions and answers (the root); the certificates themselves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from cryptography import x509
from cryptography.x509.oid import NameOID

from blindllama._platform.base import QUOTED_PCRS, Golden, Platform
from blindllama._tpm.name import RESTRICTED_SIGNING, RH_ENDORSEMENT, RsaTemplate
from blindllama._tpm.structures import HashAlgorithm, SignatureScheme
from blindllama.errors import AttestationKeyError, Code
from blindllama.measurements import PlatformName

__all__ = ["AZURE_TRUSTED_LAUNCH", "ROOT_2023"]

ROOT_2023 = bytes.fromhex("e6c596b17f8ffefba5c300f714cfb1260c6028704ecf7becc4ab5018efb00e95")
"""SHA-256 of `Azure Virtual TPM Root Certificate Authority 2023`, valid until 2048-06-01."""

_COMMON_NAME = re.compile(r"[0-9a-f]{12}\.TrustedVM\.Azure\.(Microsoft|windows\.net)", re.ASCII)
"""The same root certifies confidential VMs, whose quotes mean something else."""

_AIK_POLICY = bytes.fromhex("9dffcbf36c383ae699fb9868dc6dcb89d7153884be2803922c124158bfad22ae")
"""The policy that Windows gives its attestation identity keys, and so does the host's provisioner;
the key of the document of 2023 has it."""

_TEMPLATES = frozenset(
    RsaTemplate(hierarchy=RH_ENDORSEMENT, attributes=RESTRICTED_SIGNING, policy=policy)
    for policy in (_AIK_POLICY, b"")  # OpenVMM, which runs newer hosts' TPMs, has none
)

_SEPARATOR_ALONE = "3d458cfe55cc03ea1f443f1562beec8df51c75e14a9fcf9a7234a13f198e7969"
"""The register of a firmware that extended nothing but the separator."""

_IN_2023 = "2023-11, Secure Boot off"
_IN_2026 = "2026-07, Standard_D2s_v7, Secure Boot on"

_HISTORY = (
    (0, "d0d725f21ba5d701952888bcbc598e6dcef9aff4d1e03bb3606eb75368bab351", _IN_2023),
    (0, "8849319b4a72d4cfea4829364fffce925f59d3285bbde74878f3dbc3a6c85380", _IN_2026),
    (1, _SEPARATOR_ALONE, _IN_2023),
    (1, "422f6174c7f5815ad657290ae40a35cf320cebc148afb210542adee51a4bc3f1", _IN_2026),
    (2, _SEPARATOR_ALONE, _IN_2023),
    (2, "41f4e6d13d049ede2d4d76244cf4b04653a94d0344cbf8801db3437fdb88f4c0", _IN_2026),
    (3, _SEPARATOR_ALONE, f"{_IN_2023}; {_IN_2026}"),
    (7, "912676b23ec83748aca6118737c82dc35ab30bf2f8fd8f737204a09a31781e39", _IN_2023),
    (7, "f014e5cbfa297ee787a976abc51bc1d67e23e1b9e4a60128a1106dd0adef0c5b", _IN_2026),
)
"""Register, value, and when real machines had it; the quotes are documents that others published.
A line is added when Microsoft's firmware changes, and none is taken away: old machines live on."""


def _known_values() -> Mapping[int, tuple[Golden, ...]]:
    known: dict[int, tuple[Golden, ...]] = {}
    for index, value, seen in _HISTORY:
        golden = Golden(value=bytes.fromhex(value), seen=seen)
        known[index] = (*known.get(index, ()), golden)
    return MappingProxyType(known)


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
    allowed=_known_values(),
    schemes=frozenset({(SignatureScheme.RSASSA, HashAlgorithm.SHA256)}),
    key_templates=_TEMPLATES,
    roots=frozenset({ROOT_2023}),
    check_leaf=_check_leaf,
)
