"""The guest's own code against the client: two implementations that share golden files only.

The TPM is provisioned as the product does it; what runs in the guest runs here in this process.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from blindllama.errors import Code, VerificationError
from blindllama.measurements import PlatformName
from blindllama.verify import VerifiedEvidence, verify_evidence
from deploy.qemu.vtpm import copy_state, provision, served
from os_image.guest.evidence import (
    Surroundings,
    encode_evidence,
    encode_shared,
    qualifying_data,
)
from os_image.guest.nonce_tree import build_nonce_tree
from tests.simulators.booted_guest import APP, BOOT, event_log, expected_pcrs, sha256

pytestmark = [
    pytest.mark.swtpm,
    pytest.mark.skipif(shutil.which("tpm2_nvwrite") is None, reason="needs tpm2-tools"),
]

SPKI = b"the guest's key"
NOW = datetime.now(UTC)
NONCES = [sha256(b"caller %d" % number) for number in range(3)]


@dataclass(frozen=True, kw_only=True)
class Guest:
    """A TPM that has booted the simulated release, and the root of its certificates."""

    tcti: str
    root: bytes

    def documents(self) -> list[bytes]:
        """One quote for all of `NONCES`, by the guest's code."""
        from os_image.guest.tpm import Tpm  # noqa: PLC0415 - compiled, not everywhere

        tree = build_nonce_tree(NONCES)
        tpm = Tpm(self.tcti)
        quote = tpm.quote(qualifying_data(SPKI, tree.root))
        tpm.close()
        app_events = [
            {"pcr": 15, "name": name, "data": base64.b64encode(data).decode()} for name, data in APP
        ]
        surroundings = Surroundings(
            spki=SPKI, event_log=event_log(), app_events=json.dumps(app_events).encode()
        )
        shared = encode_shared(quote, surroundings)
        return [encode_evidence(shared, path) for path in tree.paths]

    def verify(self, document: bytes, nonce: bytes) -> VerifiedEvidence:
        return verify_evidence(
            document,
            expected=expected_pcrs(),
            platform=PlatformName.QEMU_SWTPM,
            roots=frozenset({self.root}),
            nonce=nonce,
            spki=SPKI,
            now=NOW,
        )


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    from tests.simulators.swtpm import extend_all  # noqa: PLC0415 - compiled, not everywhere

    home: Path = tmp_path_factory.mktemp("vtpm")
    made = provision(home, now=NOW)
    with served(copy_state(made, home / "boot")) as tcti:
        digests = [(pcr, sha256(data)) for pcr in BOOT for _, data, _ in BOOT[pcr]]
        extend_all(tcti, [*digests, *((15, sha256(data)) for _, data in APP)])
        yield Guest(tcti=tcti, root=hashlib.sha256(made.root).digest())


def test_the_client_accepts_what_the_guest_sends(guest: Guest) -> None:
    for nonce, document in zip(NONCES, guest.documents(), strict=True):
        verified = guest.verify(document, nonce)
        assert verified.spki == SPKI
        assert "attestation key" in verified.attestation_key_subject


def test_a_caller_cannot_use_the_place_of_another(guest: Guest) -> None:
    with pytest.raises(VerificationError) as caught:
        guest.verify(guest.documents()[0], NONCES[1])
    assert caught.value.code is Code.QUOTE_NONCE
