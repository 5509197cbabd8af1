"""Evidence that is no strict document, changed after it was made: row T4 of ATTACKS."""

from __future__ import annotations

import json

from blindllama.errors import Code
from tests.conformance.mutation import Mutation, drop, edit, text_of

FORMAT_MUTATIONS = (
    Mutation(
        name="duplicate-key",
        attack="T4",
        code=Code.FORMAT_DUPLICATE_KEY,
        step=6,
        change=text_of(lambda text: '{"version":1,' + text[1:]),
    ),
    Mutation(
        name="two-documents",
        attack="T4",
        code=Code.FORMAT_NOT_JSON,
        step=6,
        change=text_of(lambda text: text + "{}"),
    ),
    Mutation(
        name="deep",
        attack="T4",
        code=Code.FORMAT_TOO_DEEP,
        step=6,
        change=edit("app_events", json.loads("[" * 64 + "]" * 64)),
    ),
    Mutation(
        name="over-the-limit",
        attack="T4",
        code=Code.FORMAT_TOO_LARGE,
        step=6,
        change=text_of(lambda text: text + " " * (1 << 20)),
    ),
    Mutation(
        name="not-utf-8",
        attack="T4",
        code=Code.FORMAT_NOT_UTF8,
        step=6,
        change=lambda document: json.dumps(document).encode()[:-1] + b"\xff}",
    ),
    Mutation(
        name="not-a-number",
        attack="T4",
        code=Code.FORMAT_NOT_JSON,
        step=6,
        change=edit("clock.reset_count", float("nan")),
    ),
    Mutation(
        name="number-with-a-point",
        attack="T4",
        code=Code.FORMAT_SCHEMA,
        step=6,
        change=edit("nonce_path.leaves", 1.0),
    ),
    Mutation(
        name="negative-index",
        attack="T4",
        code=Code.FORMAT_SCHEMA,
        step=6,
        change=edit("nonce_path.index", -1),
    ),
    Mutation(
        name="a-list",
        attack="T4",
        code=Code.FORMAT_SCHEMA,
        step=6,
        change=lambda document: json.dumps([document]).encode(),
    ),
    Mutation(
        name="seventeen-issuers",
        attack="T4",
        code=Code.FORMAT_SCHEMA,
        step=6,
        change=edit("ak.intermediates", lambda issuers: issuers[:1] * 17),
    ),
    Mutation(
        name="sixty-five-siblings",
        attack="T4",
        code=Code.FORMAT_SCHEMA,
        step=6,
        change=edit("nonce_path.siblings", [""] * 65),
    ),
    Mutation(
        name="url-safe-base64",
        attack="T4",
        code=Code.FORMAT_ENCODING,
        step=6,
        change=edit("quote.signature", lambda text: "-_" + text[2:]),
    ),
    Mutation(
        name="byte-order-mark",
        attack="T4",
        code=Code.FORMAT_NOT_JSON,
        step=6,
        change=text_of(lambda text: "\ufeff" + text),
    ),
    Mutation(
        name="version-2", attack="T4", code=Code.FORMAT_VERSION, step=6, change=edit("version", 2)
    ),
    Mutation(
        name="version-true",
        attack="T4",
        code=Code.FORMAT_VERSION,
        step=6,
        change=edit("version", True),
    ),
    Mutation(
        name="other-kind",
        attack="T4",
        code=Code.EVIDENCE_KIND,
        step=6,
        change=edit("kind", "tpm-quote+snp"),
    ),
    Mutation(
        name="unknown-key",
        attack="T4",
        code=Code.FORMAT_SCHEMA,
        step=6,
        change=lambda document: {**document, "x": 1},
    ),
    Mutation(
        name="missing-key", attack="T4", code=Code.FORMAT_SCHEMA, step=6, change=drop("nonce_path")
    ),
    Mutation(
        name="number-as-text",
        attack="T4",
        code=Code.FORMAT_SCHEMA,
        step=6,
        change=edit("nonce_path.leaves", "1"),
    ),
    Mutation(
        name="fifteen-registers",
        attack="T4",
        code=Code.FORMAT_SCHEMA,
        step=6,
        change=edit("pcrs.sha256", lambda values: values[:15]),
    ),
    Mutation(
        name="upper-case-hex",
        attack="T4",
        code=Code.FORMAT_SCHEMA,
        step=6,
        change=edit("pcrs.sha256.0", str.upper),
    ),
    Mutation(
        name="base64-with-line-break",
        attack="T4",
        code=Code.FORMAT_ENCODING,
        step=6,
        change=edit("quote.attest", lambda text: text[:64] + "\n" + text[64:]),
    ),
    Mutation(
        name="base64-other-spelling",
        attack="T4",
        code=Code.FORMAT_ENCODING,
        step=6,
        change=edit("event_log", "QUJ="),
    ),
)
