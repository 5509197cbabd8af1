"""What stands around the signed part of a time stamp: of our authority, and of two public ones."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from asn1crypto import cms, tsp
from hypothesis import given
from hypothesis import strategies as st

from blindllama._release.stamp import check_stamp
from blindllama._release.trust import trust_root
from tests.simulators.signed_release import SignedRelease


def stamp_in(bundle: dict[str, object]) -> bytes:
    text = json.dumps(bundle)
    encoded = text.partition('"signedTimestamp": "')[2].partition('"')[0]
    return base64.b64decode(encoded)


@pytest.fixture(scope="module")
def stamp(honest: SignedRelease) -> bytes:
    return stamp_in(json.loads(honest.evidence)["index"])


def test_ours(stamp: bytes) -> None:
    check_stamp(stamp, ())


def test_a_public_one(public_data: Path) -> None:
    place = public_data / "conformance" / "rekor2-dsse-happy-path"
    root = trust_root((place / "trusted_root.json").read_text())
    bundle = json.loads((place / "bundle.sigstore.json").read_text())
    check_stamp(stamp_in(bundle), root.stampers)


def test_an_authority_that_is_only_in_the_trust_root(honest: SignedRelease, stamp: bytes) -> None:
    def without_certificate(data: cms.SignedData) -> None:
        del data["certificates"]

    bare = changed(stamp, without_certificate)
    root = trust_root(honest.policy.sigstore.trusted_root)
    check_stamp(bare, root.stampers)
    with pytest.raises(ValueError, match="expected the authority's name"):
        check_stamp(bare, ())


def changed(stamp: bytes, change: Callable[[cms.SignedData], object]) -> bytes:
    response = tsp.TimeStampResp.load(stamp)
    change(response["time_stamp_token"]["content"])
    return bytes(response.dump(force=True))


def signer(data: cms.SignedData) -> cms.SignerInfo:
    return data["signer_infos"][0]


def unsigned_attribute(data: cms.SignedData) -> None:
    attribute = {"type": "content_type", "values": ["tst_info"]}
    signer(data)["unsigned_attrs"] = cms.CMSAttributes([attribute])


REFUSED: dict[str, tuple[str, Callable[[cms.SignedData], object]]] = {
    "another version": ("version 3", lambda data: data.__setitem__("version", "v1")),
    "another version of the signer": (
        "version 1 of a signer",
        lambda data: signer(data).__setitem__("version", "v3"),
    ),
    "a signature of another digest": (
        "a signature algorithm with its own digest",
        lambda data: signer(data).__setitem__("signature_algorithm", {"algorithm": "sha384_ecdsa"}),
    ),
    "a signature of no known kind": (
        "a signature algorithm with its own digest",
        lambda data: signer(data).__setitem__("signature_algorithm", {"algorithm": "sha1_ecdsa"}),
    ),
    "another digest in the list": (
        "the signer's digest algorithm and no other",
        lambda data: data.__setitem__("digest_algorithms", [{"algorithm": "sha512"}]),
    ),
    "another serial number": (
        "the authority's name",
        lambda data: signer(data)["sid"].chosen.__setitem__("serial_number", 7),
    ),
    "an attribute that nobody signed": ("too many values", unsigned_attribute),
    "two signers": (
        "too many values",
        lambda data: data.__setitem__("signer_infos", [signer(data), signer(data)]),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_nobody_has_signed(stamp: bytes, case: str) -> None:
    reason, change = REFUSED[case]
    check_stamp(changed(stamp, lambda _: None), ())
    with pytest.raises(ValueError, match=reason):
        check_stamp(changed(stamp, change), ())


def test_a_stamp_that_was_granted_with_a_word(stamp: bytes) -> None:
    response = tsp.TimeStampResp.load(stamp)
    status = tsp.PKIStatusInfo({"status": "granted", "status_string": ["of course"]})
    loud = tsp.TimeStampResp(
        {"status": status, "time_stamp_token": response["time_stamp_token"]}
    ).dump()
    with pytest.raises(ValueError, match="nothing but granted"):
        check_stamp(bytes(loud), ())


@given(data=st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    with pytest.raises(ValueError):
        check_stamp(data, (data,))


@given(place=st.integers(0, 1 << 20), byte=st.integers(0, 255))
def test_any_byte(stamp: bytes, place: int, byte: int) -> None:
    place %= len(stamp)
    with contextlib.suppress(ValueError):  # nothing else is raised
        check_stamp(stamp[:place] + bytes([byte]) + stamp[place + 1 :], ())
