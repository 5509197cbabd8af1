"""Statements that a certified key signed and that no TPM would make (rows Q1, Q2, Q4 and Q5).

The key is in software and certified by the platform's root all the same: what is left to refuse
them is the parser.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

from blindllama._tpm.structures import HashAlgorithm, SignatureScheme
from blindllama.errors import Code
from tests.simulators.ak_authority import Issuer
from tests.simulators.booted_guest import BootedGuest, Papers, boot
from tests.simulators.forgery import Forgery
from tests.simulators.software_ak import SoftwareAk, SoftwareQuoter, Statement, bitmap

_SHA256, _SHA1, _SHA384 = 0x000B, 0x0004, 0x000C
SIXTEEN = bitmap(range(16))
RSAPSS = (SignatureScheme.RSAPSS, HashAlgorithm.SHA256)


def odd_quotes(root: Issuer, spki: bytes, data: bytes) -> Iterator[Forgery]:
    """Name, code of the refusal and evidence document of each."""
    quoter = SoftwareQuoter(ak=SoftwareAk.make_rsa())
    boot(quoter)
    guest = BootedGuest(quoter=quoter, papers=Papers.of(quoter, root), spki=spki)
    values = b"".join(quoter.registers[index] for index in range(16))
    honest = Statement(qualifying_data=data, pcr_digest=hashlib.sha256(values).digest())
    for name, code, statement in _statements(honest, values):
        attest = statement.marshal()
        yield name, code, guest.wire(attest, quoter.ak.sign(attest))
    # A signature that is one scheme and says that it is another.
    attest = honest.marshal()
    pss = quoter.ak.sign(attest, RSAPSS)
    yield "rsapss-called-rsassa", Code.QUOTE_SIGNATURE, guest.wire(attest, b"\0\x14" + pss[2:])
    digested = quoter.ak.sign(hashlib.sha256(attest).digest())
    yield "signature-over-the-digest", Code.QUOTE_SIGNATURE, guest.wire(attest, digested)


def _statements(honest: Statement, values: bytes) -> Iterator[tuple[str, Code, Statement]]:
    for name, selections in (
        ("no-selection", ()),
        ("size-of-select-0", ((_SHA256, b""),)),
        ("size-of-select-2", ((_SHA256, SIXTEEN[:2]),)),
        ("size-of-select-4", ((_SHA256, SIXTEEN + b"\0"),)),
        ("sha384-bank", ((_SHA384, SIXTEEN),)),
        ("unknown-bank", ((0x7FFF, SIXTEEN),)),
        ("same-bank-twice", ((_SHA256, SIXTEEN), (_SHA256, SIXTEEN))),
        ("empty-second-bank", ((_SHA256, SIXTEEN), (_SHA1, bytes(3)))),
        ("no-registers", ((_SHA256, bytes(3)),)),
    ):
        yield name, Code.QUOTE_SELECTION, replace(honest, selections=selections)
    banks = tuple((_SHA256, SIXTEEN) for _ in range(17))
    yield "seventeen-banks", Code.QUOTE_MALFORMED, replace(honest, selections=banks)
    yield "bytes-after-it", Code.QUOTE_TRAILING_BYTES, replace(honest, after=b"\0")
    yield "clock-neither-safe-nor-not", Code.QUOTE_MALFORMED, replace(honest, safe=2)
    yield "magic-of-zeros", Code.QUOTE_MAGIC, replace(honest, magic=0)
    yield "type-certify", Code.QUOTE_TYPE, replace(honest, type=0x8017)
    yield "type-nv", Code.QUOTE_TYPE, replace(honest, type=0x8014)
    for name, digest in (
        ("digest-of-nothing", hashlib.sha256(b"").digest()),
        ("digest-by-sha1", hashlib.sha1(values).digest()),  # noqa: S324 - the one to be refused
        ("digest-by-sha384", hashlib.sha384(values).digest()),
        ("digest-cut", honest.pcr_digest[:-1]),
        ("no-digest", b""),
    ):
        yield name, Code.QUOTE_PCR_DIGEST, replace(honest, pcr_digest=digest)
