"""No byte of a release's documents can be changed: a genuine bundle, link or layout is one document.

Each kind of document is here; a TUF repository's are in `repository/test_attacks.py`. Exhaustive over what bears structure: all JSON outside of long texts, and tag and length of every
DER value in certificates and time stamps. Sampled over the rest, which is digests and signatures.
Each document goes through the function that reads it in a release; a sample goes through
`verify_release` as a whole.
"""

from __future__ import annotations

import base64
import contextlib
import json
import random
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from blindllama._release.bundle import BundleVerifier, Signer
from blindllama._release.index import INDEX_TYPE
from blindllama._release.layout import verify_layout
from blindllama._release.link import _verify_link
from blindllama._release.provenance import PROVENANCE_TYPE
from blindllama._release.rebuild import REBUILD_TYPE
from blindllama._release.statement import verify_statement
from blindllama._release.trust import trust_root
from blindllama._strict_json import parse_json
from blindllama.errors import Code, ProvenanceError, VerificationError
from blindllama.measurements import MEASUREMENTS_TYPE
from blindllama.release import verify_release
from blindllama.summary import SUMMARY_TYPE
from supply_chain.attest.bill import SBOM_TYPE, sbom_statement
from supply_chain.attest.rebuild import (
    LOCAL_REBUILDER,
    RebuiltRelease,
    RebuiltStep,
    rebuild_statement,
)
from supply_chain.attest.signing import signer
from supply_chain.attest.summary import LOCAL_VERIFIER, summary_statement
from supply_chain.attest.trust import LOCAL_IDENTITY
from tests.simulators.signed_release import NAME, SignedRelease

LONG_TEXT = re.compile(rb'"[^"\\\\]{48,}"')
"""Base64; a checkpoint has line breaks, and all of it counts as structure."""
BITS = (0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80)
SAMPLE = 300
SEED = 20261125

Read = Callable[[Any], object]


def wire(document: object) -> bytes:
    """A document without white space, every byte of which counts."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


ATTESTED = {
    "index": INDEX_TYPE,
    "measurements": MEASUREMENTS_TYPE,
    "provenance": PROVENANCE_TYPE,
    "bill of materials": SBOM_TYPE,
    "rebuild": REBUILD_TYPE,
    "summary": SUMMARY_TYPE,
}
"""Every kind of statement that is signed for a release, each in a bundle."""
KINDS = [*ATTESTED, "link", "layout"]


@pytest.fixture(scope="module")
def beside(honest: SignedRelease, state: Path) -> dict[str, Any]:
    """What is signed for a release outside of its evidence, or added to it later."""
    about = honest.chain.layout.payload_digest
    released = RebuiltRelease(name=NAME, sequence=1, layout=about)
    step = RebuiltStep(name="engine", materials={}, products={"engine/x": about})
    verified = verify_release(honest.evidence, honest.policy, honest.now)
    statements = {
        "bill of materials": (LOCAL_IDENTITY, sbom_statement("os.img", about, b'{"a": [1]}')),
        "rebuild": (
            LOCAL_REBUILDER,
            rebuild_statement(
                [step],
                release=released,
                environment={"zone": "UTC"},
                started=honest.now,
                finished=honest.now,
            ),
        ),
        "summary": (
            LOCAL_VERIFIER,
            summary_statement(
                verified, verifier=LOCAL_VERIFIER, policy=about, documents={}, now=honest.now
            ),
        ),
    }
    found = {}
    for kind, (who, statement) in statements.items():
        with signer(state, identity=who) as hand:
            found[kind] = (who, json.loads(hand.sign_statement(statement)))
    return found


def readers(release: SignedRelease, beside: Mapping[str, Any]) -> dict[str, tuple[Any, Read]]:
    """One document of each kind, and what reads it."""
    policy, evidence = release.policy, json.loads(release.evidence)
    bundles = BundleVerifier(
        trust=trust_root(policy.sigstore.trusted_root), require=policy.sigstore
    )
    owners, issuer = policy.layout.owners, policy.signer.issuer
    layout = verify_layout(evidence["layout"], owners=owners, bundles=bundles, now=release.now)

    def statement(kind: str, document: Any, identity: str) -> tuple[Any, Read]:  # noqa: ANN401 - JSON
        return document, partial(
            verify_statement,
            predicate_type=ATTESTED[kind],
            signer=Signer(issuer=issuer, identity=identity),
            bundles=bundles,
        )

    builder = policy.signer.identity
    return {
        "index": statement("index", evidence["index"], builder),
        "measurements": statement("measurements", evidence["measurements"], builder),
        "provenance": statement("provenance", evidence["provenance"][-1], builder),
        **{kind: statement(kind, document, who) for kind, (who, document) in beside.items()},
        "link": (
            evidence["links"][0],
            lambda document: _verify_link(document, layout, bundles),
        ),
        "layout": (
            evidence["layout"],
            lambda document: verify_layout(
                document, owners=owners, bundles=bundles, now=release.now
            ),
        ),
    }


def accepted(data: bytes, read: Read) -> bool:
    try:
        read(parse_json(data, limit=1 << 22, step=2, what="document"))
    except VerificationError:
        return False
    return True


def flipped(data: bytes, place: int, bit: int) -> bytes:
    return data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]


def structure(data: bytes) -> list[int]:
    long = {
        place
        for text in LONG_TEXT.finditer(data)
        for place in range(text.start() + 1, text.end() - 1)
    }
    return [place for place in range(len(data)) if place not in long]


@pytest.mark.parametrize("kind", KINDS)
def test_every_byte_of_the_structure(
    honest: SignedRelease, beside: dict[str, Any], kind: str
) -> None:
    document, read = readers(honest, beside)[kind]
    data = wire(document)
    assert accepted(data, read)
    places = structure(data)
    assert len(places) > 50
    survivors = [
        place for place in places if accepted(flipped(data, place, BITS[place % len(BITS)]), read)
    ]
    assert [data[max(0, place - 20) : place + 20] for place in survivors] == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_of_the_rest(honest: SignedRelease, beside: dict[str, Any], kind: str) -> None:
    document, read = readers(honest, beside)[kind]
    data = wire(document)
    rest = sorted(set(range(len(data))) - set(structure(data)))
    dice = random.Random(SEED)
    for place in dice.sample(rest, SAMPLE):
        bit = dice.choice(BITS)
        assert not accepted(flipped(data, place, bit), read), data[place - 20 : place + 20]


def headers(der: bytes, start: int, end: int) -> Iterator[int]:
    """The places of every tag and length, also inside of octet strings that hold DER."""
    position = start
    while position < end:
        size = 2 + (der[position + 1] & 0x7F if der[position + 1] & 0x80 else 0)
        short = der[position + 1]
        length = (
            int.from_bytes(der[position + 2 : position + size], "big") if short & 0x80 else short
        )
        if size > 6 or position + size + length > end:
            raise ValueError("no DER")
        yield from range(position, position + size)
        inside = position + size, position + size + length
        if der[position] & 0x20:
            yield from headers(der, *inside)
        elif der[position] == 0x04 and length > 2:
            # The octets may be no DER.
            with contextlib.suppress(ValueError, IndexError):
                yield from list(headers(der, *inside))
        position = inside[1]


DER = {
    "certificate": ("verificationMaterial", "certificate", "rawBytes"),
    "stamp": (
        "verificationMaterial",
        "timestampVerificationData",
        "rfc3161Timestamps",
        0,
        "signedTimestamp",
    ),
}


@pytest.mark.parametrize("part", DER)
def test_every_tag_and_length_of_der(honest: SignedRelease, part: str) -> None:
    document, read = readers(honest, {})["index"]
    *way, last = DER[part]
    holder = document
    for key in way:
        holder = holder[key]
    der = base64.b64decode(holder[last])
    places = sorted(set(headers(der, 0, len(der))))
    assert len(places) > 100
    for place in places:
        holder[last] = base64.b64encode(flipped(der, place, BITS[place % len(BITS)])).decode()
        assert not accepted(wire(document), read), (part, place)
    holder[last] = base64.b64encode(der).decode()
    assert accepted(wire(document), read)


def test_a_sample_of_the_whole_evidence(honest: SignedRelease) -> None:
    data = wire(json.loads(honest.evidence))
    verify_release(data, honest.policy, honest.now)
    dice = random.Random(SEED)
    for place in dice.sample(range(len(data)), SAMPLE // 2):
        with pytest.raises(VerificationError):
            verify_release(flipped(data, place, dice.choice(BITS)), honest.policy, honest.now)


def stamp_with(old: str, new: str) -> Callable[[Any], None]:
    """A change of the last place in the stamp that has these bytes."""

    def change(der: bytes) -> bytes:
        before, found, after = der.rpartition(bytes.fromhex(old))
        assert found
        return before + bytes.fromhex(new) + after

    return stamps(change)


def checkpoint_of(name: str) -> Callable[[Any], None]:
    def change(document: Any) -> None:  # noqa: ANN401 - JSON
        proof = document["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]
        note = proof["checkpoint"]["envelope"]
        text, _, signature = note.rpartition("\n\u2014 ")
        rest = signature.partition(" ")[2]
        proof["checkpoint"]["envelope"] = f"{text}\n\u2014 {name} {rest}"

    return change


def stray_bits(bundle: Any) -> None:  # noqa: ANN401 - JSON
    """Another last character before the padding, which decodes to the same bytes."""
    proof = bundle["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]["checkpoint"]
    text, _, encoded = proof["envelope"].rstrip("\n").rpartition(" ")
    data = base64.b64decode(encoded)
    # A checkpoint of ours has padding or not, by the length of its signature.
    other = encoded
    if encoded.endswith("="):
        bare = encoded.rstrip("=")
        other = bare[:-1] + chr(ord(bare[-1]) + 1) + encoded[len(bare) :]
    assert base64.b64decode(other) == data
    proof["envelope"] = f"{text} {other if other != encoded else encoded + '===='}\n"


def stamps(change: Callable[[bytes], bytes]) -> Callable[[Any], None]:
    def spoil(document: Any) -> None:  # noqa: ANN401 - JSON
        found = document["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"]
        der = change(base64.b64decode(found[0]["signedTimestamp"]))
        found[0]["signedTimestamp"] = base64.b64encode(der).decode()

    return spoil


UNREAD: dict[str, tuple[str, Code, Callable[[Any], None]]] = {
    "a stamp whose signature is said to be of another digest": (
        "index",
        Code.BUNDLE_NO_TIMESTAMP,
        stamp_with("06082a8648ce3d040302", "06082a8648ce3d040303"),
    ),
    "a stamp whose signature is said to be of no known kind": (
        "index",
        Code.BUNDLE_NO_TIMESTAMP,
        stamp_with("06082a8648ce3d040302", "06082a8648ce3d040308"),
    ),
    "a stamp of another version": (
        "index",
        Code.BUNDLE_NO_TIMESTAMP,
        stamp_with("020103310f300d", "020101310f300d"),
    ),
    "a stamp whose signer's name is text of another kind": (
        "index",
        Code.BUNDLE_NO_TIMESTAMP,
        stamp_with("06035504030c", "060355040313"),
    ),
    "a checkpoint in the name of another log": (
        "index",
        Code.BUNDLE_SIGNATURE,
        checkpoint_of("rekor.example"),
    ),
    "a checkpoint whose signature has stray bits": (
        "index",
        Code.BUNDLE_SIGNATURE,
        stray_bits,
    ),
    "a digest said to be of another kind": (
        "link",
        Code.BUNDLE_SIGNATURE,
        lambda link: link["signatures"][0]["bundle"]["messageSignature"]["messageDigest"].update(
            algorithm="SHA3_256"
        ),
    ),
}
"""What sigstore-python itself does not look at."""


@pytest.mark.parametrize("change", UNREAD)
def test_s2_what_the_library_leaves_unread(honest: SignedRelease, change: str) -> None:
    kind, code, spoil = UNREAD[change]
    document, read = readers(honest, {})[kind]
    spoil(document)
    with pytest.raises(ProvenanceError) as caught:
        read(document)
    assert caught.value.code is code
