"""Evidence that was changed after it was signed: rows S2 and S5 of ATTACKS.

Each is ONE change to the evidence of an honest release, and has its own code.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from blindllama.errors import Code
from tests.simulators.release_attacks import Json, refusal
from tests.simulators.signed_release import SignedRelease


def flip(text: str) -> str:
    data = bytearray(base64.b64decode(text))
    data[len(data) // 2] ^= 1
    return base64.b64encode(data).decode()


def flipped(place: str) -> Callable[[Json], None]:
    """Flip one bit of the base64 text at a place; list indices are numbers."""
    *way, last = (int(key) if key.isdigit() else key for key in place.split("/"))

    def change(document: Json) -> None:
        part: Any = document
        for key in way:
            part = part[key]
        part[last] = flip(part[last])

    return change


def swapped(one: str, other: str) -> Callable[[Json], None]:
    def change(document: Json) -> None:
        document[one], document[other] = document[other], document[one]

    return change


def no_promise(document: Json) -> None:
    entry = document["index"]["verificationMaterial"]["tlogEntries"][0]
    del entry["inclusionPromise"], entry["integratedTime"]


def foreign_stamp(number: int) -> Callable[[Json], None]:
    """Put another bundle's stamp beside the genuine one: the library would drop it silently."""

    def change(document: Json) -> None:
        stamps, others = (
            document[name]["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"]
            for name in ("index", "measurements")
        )
        stamps.insert(number, others[0])

    return change


def future_x509(document: Json) -> None:
    """Make the certificate one of X.509 version 6, which there is not."""
    certificate = document["index"]["verificationMaterial"]["certificate"]
    der, version = base64.b64decode(certificate["rawBytes"]), bytes.fromhex("a003020102")
    assert version in der
    other = der.replace(version, version[:-1] + b"\5", 1)
    certificate["rawBytes"] = base64.b64encode(other).decode()


def no_promise_in_snake_case(document: Json) -> None:
    """The library also reads its own spelling of the keys: that must not hide a promise."""
    entry = document["index"]["verificationMaterial"]["tlogEntries"][0]
    entry["inclusion_promise"] = entry.pop("inclusionPromise")
    stamps = document["index"]["verificationMaterial"]["timestampVerificationData"]
    stamps["rfc3161Timestamps"] = []


FORGED: dict[str, tuple[Code, int, Callable[[Json], object]]] = {
    "S2 statements exchanged": (
        Code.STATEMENT_PREDICATE_TYPE,
        2,
        swapped("index", "measurements"),
    ),
    "S2 a flipped bit in a statement": (
        Code.BUNDLE_SIGNATURE,
        2,
        flipped("measurements/dsseEnvelope/payload"),
    ),
    "S2 a flipped bit in a signature": (
        Code.BUNDLE_SIGNATURE,
        2,
        flipped("measurements/dsseEnvelope/signatures/0/sig"),
    ),
    "S2 another payload type": (
        Code.BUNDLE_SIGNATURE,
        2,
        lambda e: e["index"]["dsseEnvelope"].update(payloadType="application/json"),
    ),
    "S2 no stamp": (
        Code.BUNDLE_NO_TIMESTAMP,
        2,
        lambda e: e["index"]["verificationMaterial"].pop("timestampVerificationData"),
    ),
    "S2 a stamp that does not verify": (
        Code.BUNDLE_NO_TIMESTAMP,
        2,
        lambda e: e["index"]["verificationMaterial"].update(
            timestampVerificationData=e["measurements"]["verificationMaterial"][
                "timestampVerificationData"
            ]
        ),
    ),
    "S2 a stamp of another bundle first": (Code.BUNDLE_NO_TIMESTAMP, 2, foreign_stamp(0)),
    "S2 a stamp of another bundle last": (Code.BUNDLE_NO_TIMESTAMP, 2, foreign_stamp(1)),
    "S2 a certificate that cannot be loaded": (Code.BUNDLE_MALFORMED, 2, future_x509),
    "S2 no promise of the log": (Code.BUNDLE_NO_INCLUSION_PROMISE, 2, no_promise),
    "S2 no stamp, the promise in another spelling": (
        Code.BUNDLE_MALFORMED,
        2,
        no_promise_in_snake_case,
    ),
    "S2 an unknown field in a bundle": (
        Code.BUNDLE_MALFORMED,
        2,
        lambda e: e["index"].update(extra=1),
    ),
    "S2 a bundle in the library's own spelling": (
        Code.BUNDLE_MALFORMED,
        2,
        lambda e: e["index"].update(media_type=e["index"].pop("mediaType")),
    ),
    "S2 a bundle that is none": (Code.BUNDLE_MALFORMED, 2, lambda e: e.update(index=[])),
    "S2 an unknown field in the evidence": (
        Code.FORMAT_SCHEMA,
        2,
        lambda e: e.update(extra=1),
    ),
    "S2 another version": (Code.FORMAT_SCHEMA, 2, lambda e: e.update(version=2)),
    "S2 a missing provenance": (Code.PROVENANCE_STEP, 3, lambda e: e["provenance"].pop()),
    "S5 a missing link": (Code.LINK_MISSING, 3, lambda e: e["links"].pop()),
    "S5 a link by nobody that the layout knows": (
        Code.LINK_UNKNOWN_FUNCTIONARY,
        3,
        lambda e: e["links"][0]["signatures"][0].update(keyid="00" * 32),
    ),
    "S5 a flipped bit in a link": (
        Code.LINK_MALFORMED,
        3,
        lambda e: e["links"][0].update(payload=base64.b64encode(b'{"_type":"link"}').decode()),
    ),
    "S5 a link with the signature of another": (
        Code.BUNDLE_SIGNATURE,
        3,
        lambda e: e["links"][0].update(signatures=e["links"][1]["signatures"]),
    ),
    "S5 a signature that its bundle does not hold": (
        Code.BUNDLE_SIGNATURE,
        3,
        flipped("links/0/signatures/0/sig"),
    ),
    "S5 a link with two signatures": (
        Code.LINK_SIGNATURE,
        3,
        lambda e: e["links"][0]["signatures"].append(e["links"][0]["signatures"][0]),
    ),
    "S5 a link without a bundle": (
        Code.BUNDLE_MALFORMED,
        3,
        lambda e: e["links"][0]["signatures"][0].pop("bundle"),
    ),
    "S5 a flipped bit in the layout": (
        Code.LAYOUT_SIGNATURE,
        3,
        flipped("layout/payload"),
    ),
    "S5 a flipped bit in the owner's signature": (
        Code.LAYOUT_SIGNATURE,
        3,
        flipped("layout/signatures/0/sig"),
    ),
    "S5 a bundle beside the signature of the owner's key": (
        Code.LAYOUT_SIGNATURE,
        3,
        lambda e: e["layout"]["signatures"][0].update(bundle=e["index"]),
    ),
    "S5 lax base64": (
        Code.FORMAT_ENCODING,
        3,
        lambda e: e["layout"].update(payload=e["layout"]["payload"] + "\n"),
    ),
    "S5 an envelope of another type": (
        Code.FORMAT_SCHEMA,
        3,
        lambda e: e["layout"].update(payloadType="application/json"),
    ),
    "S5 a layout that nobody signed": (
        Code.FORMAT_SCHEMA,
        3,
        lambda e: e["layout"].update(signatures=[]),
    ),
}


@pytest.mark.parametrize("attack", FORGED)
def test_changed_evidence_is_refused(honest: SignedRelease, attack: str) -> None:
    code, step, change = FORGED[attack]
    document: Json = json.loads(honest.evidence)
    change(document)
    error = refusal(replace(honest, evidence=json.dumps(document).encode()))
    assert (error.code, error.step) == (code, step), str(error)


@pytest.mark.parametrize(
    ("evidence", "code"),
    [
        (b"", Code.FORMAT_NOT_JSON),
        (b"[]", Code.FORMAT_SCHEMA),
        (b'{"version":1,"version":1}', Code.FORMAT_DUPLICATE_KEY),
        (b" " * ((8 << 20) + 1), Code.FORMAT_TOO_LARGE),
    ],
)
def test_evidence_that_is_none(honest: SignedRelease, evidence: bytes, code: Code) -> None:
    error = refusal(replace(honest, evidence=evidence))
    assert (error.code, error.step) == (code, 2)
