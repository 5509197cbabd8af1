"""A genuine guest, and everything else wrong once: refused with its code, nothing sent."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from blindllama import (
    ChannelBindingError,
    Policy,
    VerificationError,
    verify_and_connect,
    verify_evidence,
)
from blindllama.errors import Code
from blindllama.measurements import PlatformName
from deploy.qemu import vm
from os_image.predict.predict import platform_measurements
from standing import Published
from supply_chain.digest import Sha256
from tests.e2e.raw import Claimed, claimed_evidence
from tests.simulators.relay import relaying
from tests.simulators.signed_release import make_signed_release

pytestmark = pytest.mark.e2e

NONCE = bytes(range(1, 33))
OTHER_NONCE = bytes(32)


@pytest.fixture(scope="module")
def claimed(guest: vm.Guest) -> Claimed:
    """Return one exchange of evidence with the guest."""
    return claimed_evidence(guest.url, NONCE)


@pytest.fixture(scope="module")
def policy(published: Published) -> Policy:
    """Return the policy of the release."""
    return Policy.from_file(published.policy)


def _verify(
    claimed: Claimed, published: Published, policy: Policy, *, nonce: bytes = NONCE
) -> None:
    verify_evidence(
        claimed.document,
        expected=published.verified.expected,
        platform=PlatformName.QEMU_SWTPM,
        roots=frozenset(bytes.fromhex(root) for root in policy.vtpm.roots),
        nonce=nonce,
        spki=claimed.spki,
        now=datetime.now(UTC),
    )


def _changed(claimed: Claimed, change: Callable[[dict[str, Any]], None]) -> Claimed:
    document = json.loads(claimed.document)
    change(document)
    return Claimed(document=json.dumps(document).encode(), spki=claimed.spki)


def _flip(text: str, *, at: int) -> str:
    data = bytearray(base64.b64decode(text))
    data[at] ^= 1
    return base64.b64encode(data).decode()


def test_the_evidence_is_accepted_as_it_is(
    claimed: Claimed, published: Published, policy: Policy
) -> None:
    """The refusals below are refusals of one change each."""
    _verify(claimed, published, policy)


def test_another_nonce(claimed: Claimed, published: Published, policy: Policy) -> None:
    """Q3: evidence made for one nonce says nothing to whoever asked with another."""
    with pytest.raises(VerificationError) as caught:
        _verify(claimed, published, policy, nonce=OTHER_NONCE)
    assert caught.value.code == Code.QUOTE_NONCE


@pytest.mark.parametrize(
    ("part", "at"),
    [
        pytest.param("attest", 0, id="magic"),
        pytest.param("attest", 5, id="type"),
        pytest.param("attest", -1, id="PCR digest"),
        pytest.param("signature", -1, id="signature"),
    ],
)
def test_a_flipped_byte_of_the_quote(
    claimed: Claimed, published: Published, policy: Policy, part: str, at: int
) -> None:
    """Q4: the signature is checked over the exact bytes before any of them is believed."""

    def change(document: dict[str, Any]) -> None:
        document["quote"][part] = _flip(document["quote"][part], at=at)

    with pytest.raises(VerificationError) as caught:
        _verify(_changed(claimed, change), published, policy)
    assert caught.value.code == Code.QUOTE_SIGNATURE


def test_a_changed_register(claimed: Claimed, published: Published, policy: Policy) -> None:
    """Q5: the values beside the quote must hash to what it signs."""

    def change(document: dict[str, Any]) -> None:
        document["pcrs"]["sha256"][4] = "00" * 32

    with pytest.raises(VerificationError) as caught:
        _verify(_changed(claimed, change), published, policy)
    assert caught.value.code == Code.QUOTE_PCR_DIGEST


def test_another_root(guest: vm.Guest, published: Published, policy: Policy) -> None:
    """C2: a TPM whose authority the policy does not name."""
    other = policy.model_copy(
        update={"vtpm": policy.vtpm.model_copy(update={"roots": ("ab" * 32,)})}
    )
    with pytest.raises(VerificationError) as caught:
        verify_and_connect(guest.url, release=published.evidence, policy=other)
    assert caught.value.code == Code.AK_UNKNOWN_ROOT


def test_another_release(
    guest: vm.Guest, published: Published, policy: Policy, tmp_path: Path
) -> None:
    """Genuinely signed, of the same machine, with another application: PCR 15 tells them apart."""
    name = PlatformName.QEMU_SWTPM.value
    here = platform_measurements(published.verified.expected)
    other = make_signed_release(
        tmp_path,
        measurements={name: here.model_copy(update={"pcrs": {**here.pcrs, "15": "15" * 32}})},
        vtpm_roots=[Sha256.from_hex(root) for root in policy.vtpm.roots],
    )
    with pytest.raises(VerificationError) as caught:
        verify_and_connect(guest.url, release=other.evidence, policy=other.policy)
    assert caught.value.code == Code.MEASUREMENT_MISMATCH
    assert caught.value.step == 9
    assert "PCR 15" in str(caught.value)


def test_an_older_release(guest: vm.Guest, published: Published, policy: Policy) -> None:
    """S4: whoever wants a newer release than this one is told before the guest is asked."""
    newer = policy.release.model_copy(
        update={"minimum_sequence": policy.release.minimum_sequence + 1}
    )
    with pytest.raises(VerificationError) as caught:
        verify_and_connect(
            guest.url,
            release=published.evidence,
            policy=policy.model_copy(update={"release": newer}),
        )
    assert caught.value.code == Code.RELEASE_BELOW_MINIMUM


def test_a_relay_with_its_own_key(guest: vm.Guest, published: Published) -> None:
    """T1: the relay's attestation is genuine, but it is about the guest's key, not the relay's."""
    with relaying(guest.url) as relay:
        with pytest.raises(ChannelBindingError) as caught:
            verify_and_connect(relay.url, release=published.evidence, policy=published.policy)
        assert caught.value.code == Code.EVIDENCE_KEY
        assert relay.attestations == 1
        assert relay.application == []


def test_a_relay_that_edits_the_key(guest: vm.Guest, published: Published, policy: Policy) -> None:
    """T1: naming the relay's key in the document does not put it into the quote."""
    genuine = claimed_evidence(guest.url, NONCE)
    with relaying(guest.url) as relay:
        key = claimed_evidence(relay.url, NONCE).spki

    def change(document: dict[str, Any]) -> None:
        document["spki"] = base64.b64encode(key).decode()

    edited = _changed(genuine, change)
    with pytest.raises(VerificationError) as caught:
        _verify(Claimed(document=edited.document, spki=key), published, policy)
    assert caught.value.code == Code.QUOTE_NONCE
