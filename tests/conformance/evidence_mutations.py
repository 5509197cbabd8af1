"""What is changed in evidence after it was made: rows Q, C and T1 of ATTACKS."""

from __future__ import annotations

import base64

from blindllama.errors import Code
from tests.conformance.mutation import (
    BATCH,
    Mutation,
    binary,
    call_hash,
    edit,
    flip,
    swap,
)

ZEROS = bytes(4096)
"""What fills an NV index behind a certificate on some machines."""

KEY = (
    Mutation(
        name="other-tls-key",
        attack="T1",
        code=Code.EVIDENCE_KEY,
        step=6,
        change=edit("spki", flip(-1)),
    ),
    Mutation(
        name="padded-leaf",
        attack="C4",
        code=Code.AK_MALFORMED,
        step=7,
        change=edit("ak.certificate", binary(lambda der: der + ZEROS)),
    ),
    Mutation(
        name="leaf-signature",
        attack="C2",
        code=Code.AK_CHAIN,
        step=7,
        change=edit("ak.certificate", flip(-1)),
    ),
    Mutation(
        name="without-intermediate",
        attack="C2",
        code=Code.AK_CHAIN,
        step=7,
        change=edit("ak.intermediates", lambda issuers: issuers[1:]),
    ),
    Mutation(
        name="without-root",
        attack="C2",
        code=Code.AK_UNKNOWN_ROOT,
        step=7,
        change=edit("ak.intermediates", lambda issuers: issuers[:1]),
    ),
    Mutation(
        name="without-issuers",
        attack="C2",
        code=Code.AK_CHAIN_LENGTH,
        step=7,
        change=edit("ak.intermediates", []),
    ),
    Mutation(
        name="reordered",
        attack="C2",
        code=Code.AK_UNKNOWN_ROOT,
        step=7,
        change=edit("ak.intermediates", swap),
    ),
    Mutation(
        # Its path length of 0 allows no intermediate below it.
        name="intermediate-twice",
        attack="C2",
        code=Code.AK_CHAIN_LENGTH,
        step=7,
        change=edit("ak.intermediates", lambda issuers: [issuers[0], *issuers]),
    ),
    Mutation(
        name="five-issuers",
        attack="C2",
        code=Code.AK_CHAIN_LENGTH,
        step=7,
        change=edit("ak.intermediates", lambda issuers: issuers[:1] * 4 + issuers[1:]),
    ),
    Mutation(
        name="other-root",
        attack="C2",
        code=Code.AK_UNKNOWN_ROOT,
        step=7,
        given={"roots": ["ab" * 32]},
    ),
    Mutation(
        name="simulation-in-production",
        attack="C3",
        code=Code.AK_SIMULATION_ROOT,
        step=7,
        given={"platform": "azure-trusted-launch", "expected.platform": "azure-trusted-launch"},
    ),
    Mutation(
        name="expired",
        attack="C2",
        code=Code.AK_EXPIRED,
        step=7,
        given={"now": "2036-01-02T00:00:00+00:00"},
    ),
    Mutation(
        name="not-yet-valid",
        attack="C2",
        code=Code.AK_NOT_YET_VALID,
        step=7,
        given={"now": "2025-12-31T23:59:59+00:00"},
    ),
)

_HASH_SHA384, _HASH_SHA1 = b"\x00\x0c", b"\x00\x04"

QUOTE = (
    *(
        Mutation(
            name=f"flipped-{name}",
            attack="Q4",
            code=Code.QUOTE_SIGNATURE,
            step=8,
            change=edit("quote.attest", flip(offset)),
        )
        for name, offset in (
            ("magic", 0),
            ("type", 5),
            ("nonce", 50),
            ("firmware", -50),
            ("digest", -1),
        )
    ),
    Mutation(
        name="attest-and-a-byte",
        attack="Q4",
        code=Code.QUOTE_SIGNATURE,
        step=8,
        change=edit("quote.attest", binary(lambda data: data + b"\0")),
    ),
    Mutation(
        name="flipped-signature",
        attack="Q4",
        code=Code.QUOTE_SIGNATURE,
        step=8,
        change=edit("quote.signature", flip(-1)),
    ),
    Mutation(
        name="signature-and-a-byte",
        attack="Q4",
        code=Code.QUOTE_TRAILING_BYTES,
        step=8,
        change=edit("quote.signature", binary(lambda data: data + b"\0")),
    ),
    Mutation(
        name="signature-cut",
        attack="Q4",
        code=Code.QUOTE_MALFORMED,
        step=8,
        change=edit("quote.signature", binary(lambda data: data[:-1])),
    ),
    Mutation(
        name="signature-shorter",
        attack="Q4",
        code=Code.QUOTE_SCHEME,
        step=8,
        change=edit("quote.signature", binary(lambda data: data[:4] + b"\0\xff" + data[7:])),
    ),
    Mutation(
        name="called-rsapss",
        attack="Q4",
        code=Code.QUOTE_SIGNATURE,
        step=8,
        change=edit("quote.signature", binary(lambda data: b"\0\x16" + data[2:])),
    ),
    Mutation(
        name="called-ecdsa",
        attack="Q4",
        code=Code.QUOTE_SCHEME,
        step=8,
        change=edit("quote.signature", binary(lambda data: b"\0\x18" + data[2:] + b"\0\x01\x01")),
    ),
    Mutation(
        name="called-hmac",
        attack="Q4",
        code=Code.QUOTE_MALFORMED,
        step=8,
        change=edit("quote.signature", binary(lambda data: b"\0\x05" + data[2:])),
    ),
    *(
        Mutation(
            name=f"called-{name}",
            attack="Q4",
            code=code,
            step=8,
            change=edit("quote.signature", call_hash(to)),
        )
        for name, to, code in (
            ("sha384", _HASH_SHA384, Code.QUOTE_SIGNATURE),
            ("sha512", b"\x00\x0d", Code.QUOTE_SCHEME),
            ("null", b"\x00\x10", Code.QUOTE_SCHEME),
            ("sha1", _HASH_SHA1, Code.QUOTE_SCHEME),
        )
    ),
    Mutation(
        name="register-changed",
        attack="Q5",
        code=Code.QUOTE_PCR_DIGEST,
        step=8,
        change=edit("pcrs.sha256.15", "00" * 32),
    ),
    Mutation(
        name="registers-swapped",
        attack="Q5",
        code=Code.QUOTE_PCR_DIGEST,
        step=8,
        change=edit("pcrs.sha256", swap),
    ),
)

NONCE = (
    Mutation(
        name="other-nonce",
        attack="Q3",
        code=Code.QUOTE_NONCE,
        step=8,
        given={"nonce": base64.b64encode(bytes(32)).decode()},
    ),
    Mutation(
        name="relayed",
        attack="T1",
        code=Code.QUOTE_NONCE,
        step=8,
        change=edit("spki", "AAAA"),
        given={"spki": "AAAA"},
    ),
    Mutation(
        name="index-beyond",
        attack="Q6",
        code=Code.QUOTE_NONCE_PATH,
        step=8,
        change=edit("nonce_path.index", 1),
    ),
    Mutation(
        name="sibling-too-many",
        attack="Q6",
        code=Code.QUOTE_NONCE_PATH,
        step=8,
        change=edit("nonce_path.siblings", [base64.b64encode(bytes(32)).decode()]),
    ),
    Mutation(
        name="too-many-leaves",
        attack="Q6",
        code=Code.QUOTE_NONCE_PATH,
        step=8,
        change=edit("nonce_path.leaves", 65537),
    ),
    Mutation(
        name="sibling-missing",
        attack="Q6",
        code=Code.QUOTE_NONCE_PATH,
        step=8,
        change=edit("nonce_path.siblings", []),
        source=BATCH,
    ),
    Mutation(
        name="sibling-of-31-bytes",
        attack="Q6",
        code=Code.QUOTE_NONCE_PATH,
        step=8,
        change=edit("nonce_path.siblings.0", binary(lambda data: data[1:])),
        source=BATCH,
    ),
    Mutation(
        name="other-index",
        attack="Q6",
        code=Code.QUOTE_NONCE_PATH,
        step=8,
        change=edit("nonce_path.index", 3),
        source=BATCH,
    ),
    Mutation(
        name="other-sibling",
        attack="Q6",
        code=Code.QUOTE_NONCE,
        step=8,
        change=edit("nonce_path.siblings.0", flip(0)),
        source=BATCH,
    ),
)

MEASUREMENT = (
    Mutation(
        name="other-release",
        attack="B3",
        code=Code.MEASUREMENT_MISMATCH,
        step=9,
        given={"expected.pcrs.4": "ab" * 32},
    ),
    Mutation(
        name="no-value-for-12",
        attack="B2",
        code=Code.MEASUREMENT_MISSING,
        step=9,
        given={"expected.pcrs.12": None},
    ),
    Mutation(
        name="value-outside-the-quote",
        attack="B2",
        code=Code.MEASUREMENT_MISSING,
        step=9,
        given={"expected.pcrs.16": "00" * 32},
    ),
)

EVIDENCE_MUTATIONS = (*KEY, *QUOTE, *NONCE, *MEASUREMENT)
