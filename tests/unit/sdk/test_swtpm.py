"""The same checks with a real TPM: genuine quotes accepted, what it signs for attackers refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from blindllama._tpm.quote import ExpectedQuote, VerifiedQuote, verify_quote
from blindllama._tpm.structures import HashAlgorithm, SignatureScheme
from blindllama.errors import Code, QuoteError, VerificationError
from blindllama.measurements import PlatformName
from blindllama.verify import verify_evidence
from tests.simulators.ak_authority import NOW, new_root
from tests.simulators.attested_client import new_session
from tests.simulators.attested_server import WORDS, TlsKey, attested_server
from tests.simulators.booted_guest import (
    BootedGuest,
    Papers,
    boot,
    bound,
    encode,
    expected_pcrs,
    sha256,
    tree,
)
from tests.simulators.forgery import forgeries

if TYPE_CHECKING:
    from tests.simulators.swtpm import SoftwareTpm

pytestmark = pytest.mark.swtpm

KEY = TlsKey()
NONCE = sha256(b"a nonce")
DATA = sha256(b"qualifying data")


@pytest.fixture
def tpm() -> Iterator[SoftwareTpm]:
    from tests.simulators.swtpm import software_tpm  # noqa: PLC0415 - compiled, not everywhere

    with software_tpm() as running:
        yield running


@pytest.fixture
def guest(tpm: SoftwareTpm) -> BootedGuest:
    boot(tpm)
    return BootedGuest(quoter=tpm, papers=Papers.of(tpm), spki=KEY.spki)


def test_a_session_with_a_guest_that_has_a_tpm(guest: BootedGuest) -> None:
    with (
        attested_server(guest, KEY) as server,
        new_session(server.url, guest.papers.root) as session,
    ):
        assert session.completion("The capital of France is") == "".join(WORDS)
        assert server.attestations == 1
        guest.quoter.extend(15, sha256(b"after the seal"))
        before = server.application_bytes
    with (
        attested_server(guest, KEY) as server,
        new_session(server.url, guest.papers.root) as session,
    ):
        with pytest.raises(VerificationError) as caught:
            session.completion("a secret")
        assert caught.value.code is Code.MEASUREMENT_MISMATCH
        assert server.application_bytes == 0 < before


def test_one_quote_answers_many(guest: BootedGuest) -> None:
    nonces = [sha256(b"%d" % number) for number in range(5)]
    for index, nonce in enumerate(nonces):
        others = nonces[:index] + nonces[index + 1 :]
        document = guest.document(nonce, others=others, index=index)
        verified = verify_evidence(
            encode(document),
            expected=expected_pcrs(),
            platform=PlatformName.QEMU_SWTPM,
            roots=frozenset({guest.papers.root}),
            nonce=nonce,
            spki=KEY.spki,
            now=NOW,
        )
        assert (verified.reset_count, verified.restart_count) == (1, 0)


def test_what_a_tpm_signs_for_an_attacker(tpm: SoftwareTpm) -> None:
    root = new_root()
    guest = BootedGuest(quoter=tpm, papers=Papers.of(tpm, root), spki=KEY.spki)
    names = set()
    for name, code, document in forgeries(tpm, guest, bound(KEY.spki, tree([NONCE], 0)[0])):
        with pytest.raises(VerificationError) as caught:
            verify_evidence(
                encode(document),
                expected=expected_pcrs(),
                platform=PlatformName.QEMU_SWTPM,
                roots=frozenset({root.fingerprint}),
                nonce=NONCE,
                spki=KEY.spki,
                now=NOW,
            )
        assert (name, caught.value.code) == (name, code)
        names.add(name)
    assert {"relabelled", "magic", "certify", "time"} <= names


def test_a_tpm_does_not_sign_what_says_that_it_is_its_own(tpm: SoftwareTpm) -> None:
    # The premise of the check of the magic: with it, a restricted key refuses.
    from tpm2_pytss import TSS2_Exception  # noqa: PLC0415 - compiled, not everywhere

    genuine, _ = tpm.quote(DATA)
    with pytest.raises(TSS2_Exception):
        tpm.forge_by_signing(genuine)


def _verified(
    tpm: SoftwareTpm, schemes: frozenset[tuple[SignatureScheme, HashAlgorithm]]
) -> VerifiedQuote:
    attest, signature = tpm.quote(DATA)
    expected = ExpectedQuote(qualifying_data=DATA, selection=frozenset(range(16)), schemes=schemes)
    return verify_quote(
        attest=attest,
        signature=signature,
        key=tpm.public_key,
        claimed=tpm.pcrs(),
        expected=expected,
    )


SCHEMES = (
    ("rsa2048", SignatureScheme.RSASSA, HashAlgorithm.SHA256),
    ("rsa2048", SignatureScheme.RSASSA, HashAlgorithm.SHA384),
    ("rsa2048", SignatureScheme.RSAPSS, HashAlgorithm.SHA256),
    ("rsa3072", SignatureScheme.RSAPSS, HashAlgorithm.SHA384),
    ("ecc256", SignatureScheme.ECDSA, HashAlgorithm.SHA256),
    ("ecc384", SignatureScheme.ECDSA, HashAlgorithm.SHA384),
)


@pytest.mark.parametrize(("key", "scheme", "hashed"), SCHEMES)
def test_every_scheme_and_no_other_than_allowed(
    key: str, scheme: SignatureScheme, hashed: HashAlgorithm
) -> None:
    from tests.simulators.swtpm import software_tpm  # noqa: PLC0415 - compiled, not everywhere

    others = frozenset((one, other) for _, one, other in SCHEMES) - {(scheme, hashed)}
    with software_tpm(f"{scheme.name.lower()}-{hashed.name.lower()}", key) as tpm:
        assert _verified(tpm, frozenset({(scheme, hashed)})).qualifying_data == DATA
        with pytest.raises(QuoteError) as caught:
            _verified(tpm, others)
    assert caught.value.code is Code.QUOTE_SCHEME
