"""Completeness of the signatures: any one flipped bit of what is signed is refused.

Quote and certificates go through the whole verification, every bit of them. Of a release every
bit goes through its signature (that is what makes the rest see only signed bytes), and a sample
of them, spread over each document, through the whole verification.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from blindllama.errors import Code, VerificationError
from blindllama.policy import Policy
from blindllama.release import verify_release
from tests.conformance.corpus import edited, read_document, read_given
from tests.conformance.subject import answer
from tests.conformance.vector import read_case
from tests.simulators.booted_guest import encode, text

CASE = read_case()
GENUINE: dict[str, Any] = json.loads(read_document("alone"))
RELEASE: dict[str, Any] = json.loads(read_document("release"))
GIVEN = read_given("release")

SAMPLE = 1009
"""Every so many bits, a prime: all eight bits of a byte and all places in a document occur."""


def flipped(data: bytes, step: int = 1) -> Iterator[bytes]:
    for bit in range(0, 8 * len(data), step):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)


SIGNED = {
    "quote.attest": {Code.QUOTE_SIGNATURE},
    "quote.signature": {
        Code.QUOTE_SIGNATURE,
        Code.QUOTE_SCHEME,  # another scheme, hash or length
        Code.QUOTE_MALFORMED,
        Code.QUOTE_TRAILING_BYTES,
    },
    "ak.certificate": {Code.AK_CHAIN, Code.AK_MALFORMED},
    "ak.intermediates.0": {
        Code.AK_CHAIN,
        Code.AK_MALFORMED,
        # Issuers are checked from the root downwards, each before who issued it.
        Code.AK_CHAIN_LENGTH,
        Code.AK_ISSUER_NOT_CA,
    },
    "ak.intermediates.1": {Code.AK_UNKNOWN_ROOT, Code.AK_MALFORMED, Code.AK_SIMULATION_ROOT},
}
"""Places of signed bytes and the reasons for which a flipped bit there may be refused."""


@pytest.mark.parametrize("place", SIGNED)
def test_q4_c2_every_bit_of_quote_and_chain(place: str) -> None:
    genuine: Any = GENUINE
    for key in place.split("."):
        genuine = genuine[int(key) if isinstance(genuine, list) else key]
    codes = set()
    for changed in flipped(base64.b64decode(genuine)):
        document = edited(GENUINE, {place: text(changed)})
        with pytest.raises(VerificationError) as caught:
            CASE.verify(encode(document))
        codes.add(caught.value.code)
    assert codes <= SIGNED[place]


@pytest.mark.parametrize("scheme", ["rsa2048-rsapss-sha256", "ecc256-ecdsa-sha256"])
def test_q4_every_bit_of_a_quote_in_other_schemes(scheme: str) -> None:
    genuine = json.loads(read_document(scheme))
    for place in ("attest", "signature"):
        for changed in flipped(base64.b64decode(genuine["quote"][place])):
            document = edited(genuine, {f"quote.{place}": text(changed)})
            with pytest.raises(VerificationError) as caught:
                CASE.verify(encode(document))
            assert caught.value.code in SIGNED[f"quote.{place}"]


def envelopes() -> Iterator[tuple[str, Any, Any]]:
    """Place of each envelope in the release, the envelope, and the bundle that signs it."""
    for name in ("index", "measurements"):
        yield f"{name}.dsseEnvelope", RELEASE[name]["dsseEnvelope"], RELEASE[name]
    for number, bundle in enumerate(RELEASE["provenance"]):
        yield f"provenance.{number}.dsseEnvelope", bundle["dsseEnvelope"], bundle
    for number, link in enumerate(RELEASE["links"]):
        yield f"links.{number}", link, link["signatures"][0]["bundle"]
    yield "layout", RELEASE["layout"], None


ENVELOPES = {place: (envelope, bundle) for place, envelope, bundle in envelopes()}


def pae(payload_type: str, payload: bytes) -> bytes:
    """Pre-authentication encoding, written down once more from the DSSE specification, 1.0."""
    return b"DSSEv1 %d %s %d %s" % (
        len(payload_type),
        payload_type.encode(),
        len(payload),
        payload,
    )


@pytest.mark.parametrize("place", ENVELOPES)
def test_s2_s5_every_bit_of_a_release_is_under_its_signature(place: str) -> None:
    envelope, bundle = ENVELOPES[place]
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    payload, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"]
    key = _owner() if bundle is None else _signer(bundle)

    def check(data: bytes) -> None:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, data)
        else:
            key.verify(signature, data, ec.ECDSA(hashes.SHA256()))

    check(pae(kind, payload))
    for changed in flipped(payload):
        with pytest.raises(InvalidSignature):
            check(pae(kind, changed))


@pytest.mark.parametrize("place", ENVELOPES)
def test_s2_s5_a_sample_of_the_bits_through_the_whole(place: str) -> None:
    payload = base64.b64decode(ENVELOPES[place][0]["payload"])
    for changed in flipped(payload, SAMPLE):
        document = edited(RELEASE, {f"{place}.payload": text(changed)})
        with pytest.raises(VerificationError) as caught:
            verify_release(
                encode(document),
                Policy.from_mapping(GIVEN["policy"]),
                datetime.fromisoformat(GIVEN["now"]),
            )
        assert caught.value.code in {
            Code.BUNDLE_SIGNATURE,
            Code.LAYOUT_SIGNATURE,
            # Links are read before the bundle beside them is asked.
            Code.LINK_MALFORMED,
            Code.LINK_UNEXPECTED,
        }


def test_what_is_flipped_here_is_accepted_as_it_was() -> None:
    CASE.verify(encode(GENUINE))
    request = {"verify": "release", "document": text(encode(RELEASE)), "given": GIVEN}
    assert answer(request) == {"verdict": "accept"}


def _owner() -> ed25519.Ed25519PublicKey:
    (owner,) = GIVEN["policy"]["layout"]["owners"]
    return ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(owner["public"]))


def _signer(bundle: Any) -> ec.EllipticCurvePublicKey:  # noqa: ANN401 - JSON
    der = base64.b64decode(bundle["verificationMaterial"]["certificate"]["rawBytes"])
    key = x509.load_der_x509_certificate(der).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key
