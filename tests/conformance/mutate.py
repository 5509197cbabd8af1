"""Make the reject vectors from the accepted ones: `python -m tests.conformance.mutate`.

Each mutation changes ONE thing and says which refusal it must meet. The result is a function of
the accepted vectors, so a test makes it again and compares.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

from blindllama.errors import Code
from tests.conformance.mutation import (
    BATCH,
    Mutation,
    binary,
    call_hash,
    drop,
    edit,
    flip,
    swap,
    text_of,
)
from tests.conformance.vector import HOME

ZEROS = bytes(4096)
"""What fills an NV index behind a certificate on some machines."""

FORMAT = (
    Mutation(
        name="duplicate-key",
        code=Code.FORMAT_DUPLICATE_KEY,
        step=6,
        change=text_of(lambda text: '{"version":1,' + text[1:]),
    ),
    Mutation(
        name="two-documents",
        code=Code.FORMAT_NOT_JSON,
        step=6,
        change=text_of(lambda text: text + "{}"),
    ),
    Mutation(
        name="deep",
        code=Code.FORMAT_TOO_DEEP,
        step=6,
        change=edit("app_events", json.loads("[" * 64 + "]" * 64)),
    ),
    Mutation(
        name="byte-order-mark",
        code=Code.FORMAT_NOT_JSON,
        step=6,
        change=text_of(lambda text: "\ufeff" + text),
    ),
    Mutation(name="version-2", code=Code.FORMAT_VERSION, step=6, change=edit("version", 2)),
    Mutation(name="version-true", code=Code.FORMAT_VERSION, step=6, change=edit("version", True)),
    Mutation(
        name="other-kind", code=Code.EVIDENCE_KIND, step=6, change=edit("kind", "tpm-quote+snp")
    ),
    Mutation(
        name="unknown-key",
        code=Code.FORMAT_SCHEMA,
        step=6,
        change=lambda document: {**document, "x": 1},
    ),
    Mutation(name="missing-key", code=Code.FORMAT_SCHEMA, step=6, change=drop("nonce_path")),
    Mutation(
        name="number-as-text",
        code=Code.FORMAT_SCHEMA,
        step=6,
        change=edit("nonce_path.leaves", "1"),
    ),
    Mutation(
        name="fifteen-registers",
        code=Code.FORMAT_SCHEMA,
        step=6,
        change=edit("pcrs.sha256", lambda values: values[:15]),
    ),
    Mutation(
        name="upper-case-hex",
        code=Code.FORMAT_SCHEMA,
        step=6,
        change=edit("pcrs.sha256.0", str.upper),
    ),
    Mutation(
        name="base64-with-line-break",
        code=Code.FORMAT_ENCODING,
        step=6,
        change=edit("quote.attest", lambda text: text[:64] + "\n" + text[64:]),
    ),
    Mutation(
        name="base64-other-spelling",
        code=Code.FORMAT_ENCODING,
        step=6,
        change=edit("event_log", "QUJ="),
    ),
)

KEY = (
    Mutation(name="other-tls-key", code=Code.EVIDENCE_KEY, step=6, change=edit("spki", flip(-1))),
    Mutation(
        name="padded-leaf",
        code=Code.AK_MALFORMED,
        step=7,
        change=edit("ak.certificate", binary(lambda der: der + ZEROS)),
    ),
    Mutation(
        name="leaf-signature",
        code=Code.AK_CHAIN,
        step=7,
        change=edit("ak.certificate", flip(-1)),
    ),
    Mutation(
        name="without-intermediate",
        code=Code.AK_CHAIN,
        step=7,
        change=edit("ak.intermediates", lambda issuers: issuers[1:]),
    ),
    Mutation(
        name="without-root",
        code=Code.AK_UNKNOWN_ROOT,
        step=7,
        change=edit("ak.intermediates", lambda issuers: issuers[:1]),
    ),
    Mutation(
        name="without-issuers",
        code=Code.AK_CHAIN_LENGTH,
        step=7,
        change=edit("ak.intermediates", []),
    ),
    Mutation(
        name="reordered", code=Code.AK_UNKNOWN_ROOT, step=7, change=edit("ak.intermediates", swap)
    ),
    Mutation(
        # Its path length of 0 allows no intermediate below it.
        name="intermediate-twice",
        code=Code.AK_CHAIN_LENGTH,
        step=7,
        change=edit("ak.intermediates", lambda issuers: [issuers[0], *issuers]),
    ),
    Mutation(
        name="five-issuers",
        code=Code.AK_CHAIN_LENGTH,
        step=7,
        change=edit("ak.intermediates", lambda issuers: issuers[:1] * 4 + issuers[1:]),
    ),
    Mutation(
        name="other-root",
        code=Code.AK_UNKNOWN_ROOT,
        step=7,
        case={"root": "ab" * 32},
    ),
    Mutation(
        name="simulation-in-production",
        code=Code.AK_SIMULATION_ROOT,
        step=7,
        case={"platform": "azure-trusted-launch"},
    ),
    Mutation(
        name="expired", code=Code.AK_EXPIRED, step=7, case={"now": "2036-01-02T00:00:00+00:00"}
    ),
    Mutation(
        name="not-yet-valid",
        code=Code.AK_NOT_YET_VALID,
        step=7,
        case={"now": "2025-12-31T23:59:59+00:00"},
    ),
)

_HASH_SHA384, _HASH_SHA1 = b"\x00\x0c", b"\x00\x04"

QUOTE = (
    *(
        Mutation(
            name=f"flipped-{name}",
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
        code=Code.QUOTE_SIGNATURE,
        step=8,
        change=edit("quote.attest", binary(lambda data: data + b"\0")),
    ),
    Mutation(
        name="flipped-signature",
        code=Code.QUOTE_SIGNATURE,
        step=8,
        change=edit("quote.signature", flip(-1)),
    ),
    Mutation(
        name="signature-and-a-byte",
        code=Code.QUOTE_TRAILING_BYTES,
        step=8,
        change=edit("quote.signature", binary(lambda data: data + b"\0")),
    ),
    Mutation(
        name="signature-cut",
        code=Code.QUOTE_MALFORMED,
        step=8,
        change=edit("quote.signature", binary(lambda data: data[:-1])),
    ),
    Mutation(
        name="signature-shorter",
        code=Code.QUOTE_SCHEME,
        step=8,
        change=edit("quote.signature", binary(lambda data: data[:4] + b"\0\xff" + data[7:])),
    ),
    Mutation(
        name="called-rsapss",
        code=Code.QUOTE_SIGNATURE,
        step=8,
        change=edit("quote.signature", binary(lambda data: b"\0\x16" + data[2:])),
    ),
    Mutation(
        name="called-ecdsa",
        code=Code.QUOTE_SCHEME,
        step=8,
        change=edit("quote.signature", binary(lambda data: b"\0\x18" + data[2:] + b"\0\x01\x01")),
    ),
    Mutation(
        name="called-hmac",
        code=Code.QUOTE_MALFORMED,
        step=8,
        change=edit("quote.signature", binary(lambda data: b"\0\x05" + data[2:])),
    ),
    *(
        Mutation(
            name=f"called-{name}",
            code=code,
            step=8,
            change=edit("quote.signature", call_hash(to)),
        )
        for name, to, code in (
            ("sha384", _HASH_SHA384, Code.QUOTE_SIGNATURE),
            ("sha1", _HASH_SHA1, Code.QUOTE_SCHEME),
        )
    ),
    Mutation(
        name="register-changed",
        code=Code.QUOTE_PCR_DIGEST,
        step=8,
        change=edit("pcrs.sha256.15", "00" * 32),
    ),
    Mutation(
        name="registers-swapped",
        code=Code.QUOTE_PCR_DIGEST,
        step=8,
        change=edit("pcrs.sha256", swap),
    ),
)

NONCE = (
    Mutation(
        name="other-nonce",
        code=Code.QUOTE_NONCE,
        step=8,
        case={"nonce": base64.b64encode(bytes(32)).decode()},
    ),
    Mutation(
        name="relayed",
        code=Code.QUOTE_NONCE,
        step=8,
        change=edit("spki", "AAAA"),
        case={"spki": "AAAA"},
    ),
    Mutation(
        name="index-beyond",
        code=Code.QUOTE_NONCE_PATH,
        step=8,
        change=edit("nonce_path.index", 1),
    ),
    Mutation(
        name="sibling-too-many",
        code=Code.QUOTE_NONCE_PATH,
        step=8,
        change=edit("nonce_path.siblings", [base64.b64encode(bytes(32)).decode()]),
    ),
    Mutation(
        name="too-many-leaves",
        code=Code.QUOTE_NONCE_PATH,
        step=8,
        change=edit("nonce_path.leaves", 65537),
    ),
    Mutation(
        name="sibling-missing",
        code=Code.QUOTE_NONCE_PATH,
        step=8,
        change=edit("nonce_path.siblings", []),
        source=BATCH,
    ),
    Mutation(
        name="sibling-of-31-bytes",
        code=Code.QUOTE_NONCE_PATH,
        step=8,
        change=edit("nonce_path.siblings.0", binary(lambda data: data[1:])),
        source=BATCH,
    ),
    Mutation(
        name="other-index",
        code=Code.QUOTE_NONCE_PATH,
        step=8,
        change=edit("nonce_path.index", 3),
        source=BATCH,
    ),
    Mutation(
        name="other-sibling",
        code=Code.QUOTE_NONCE,
        step=8,
        change=edit("nonce_path.siblings.0", flip(0)),
        source=BATCH,
    ),
)

MEASUREMENT = (
    Mutation(
        name="other-release",
        code=Code.MEASUREMENT_MISMATCH,
        step=9,
        case={"pcr 4": "ab" * 32},
    ),
    Mutation(name="no-value-for-12", code=Code.MEASUREMENT_MISSING, step=9, case={"pcr 12": ""}),
    Mutation(
        name="value-outside-the-quote",
        code=Code.MEASUREMENT_MISSING,
        step=9,
        case={"pcr 16": "00" * 32},
    ),
)

MUTATIONS = (*FORMAT, *KEY, *QUOTE, *NONCE, *MEASUREMENT)


def reject_files() -> Iterator[tuple[str, bytes]]:
    """Name and content of every file of the reject folder."""
    cases = {}
    for mutation in MUTATIONS:
        source = json.loads((HOME / "accept" / f"{mutation.source}.json").read_bytes())
        changed = mutation.change(source)
        if not isinstance(changed, bytes):
            changed = json.dumps(changed, separators=(",", ":")).encode()
        yield f"{mutation.name}.json", changed + b"\n"
        cases[mutation.name] = {
            "from": mutation.source,
            "code": mutation.code.value,
            "step": mutation.step,
            "case": dict(mutation.case),
        }
    yield "cases.json", (json.dumps(cases, indent=1, sort_keys=True) + "\n").encode()


def main() -> None:
    """Write the reject folder."""
    folder = HOME / "reject"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.json"):
        old.unlink()
    for name, data in reject_files():
        (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
