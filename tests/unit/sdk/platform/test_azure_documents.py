"""Documents of real Azure machines, which nobody on this project made."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_public_key

from blindllama._ak import VerifiedAttestationKey, verify_attestation_key
from blindllama._platform.azure import AZURE_TRUSTED_LAUNCH, ROOT_2023
from blindllama._tpm.nonce_tree import NoncePath
from blindllama._tpm.quote import (
    ExpectedQuote,
    check_pcr_digest,
    check_signature,
    parse_genuine_quote,
    qualifying_data,
    verify_quote,
)
from blindllama.errors import AttestationKeyError, Code, FreshnessError, QuoteError, UsageError
from blindllama.pcr import replay
from tests.simulators.software_ak import sized

ROOTS = frozenset({ROOT_2023})
THEN = datetime(2024, 1, 15, tzinfo=UTC)
SIXTEEN = frozenset(range(16))


@pytest.fixture
def azure(checkout: Path) -> Path:
    """Real documents beside the checkout; they are not part of the project."""
    folder = checkout.parent / "shared/data/azure"
    if not folder.is_dir():
        pytest.skip("the folder of real Azure documents is not here")
    return folder


class Document2023:
    """The form of the reference project, which this SDK does not speak."""

    def __init__(self, folder: Path) -> None:
        text = (folder / "trusted-launch-2023/sample_azure_attestation.json").read_text()
        document = json.loads(text)
        self.chain = [
            x509.load_pem_x509_certificate(pem.encode()).public_bytes(Encoding.DER)
            for pem in document["cert_chain"]
        ]
        self.attest = base64.b64decode(document["quote"]["message"])
        self.signature = base64.b64decode(document["quote"]["signature"])
        self.pcrs = _pcrs_of_blob(base64.b64decode(document["quote"]["pcr"]))
        self.app_root_hash = bytes.fromhex(document["application_disk_roothash"])
        self.web_root = document["webserver_rootca"].encode()

    def key(self, now: datetime = THEN) -> VerifiedAttestationKey:
        return verify_attestation_key(
            self.chain[0], self.chain[1:], platform=AZURE_TRUSTED_LAUNCH, roots=ROOTS, now=now
        )


def _pcrs_of_blob(blob: bytes) -> dict[int, bytes]:
    """Registers in the C structures of tpm2-tools: TPML_PCR_SELECTION, then TPML_DIGESTs."""
    lists = int.from_bytes(blob[132:136], "little")
    digests = []
    for number in range(lists):
        start = 136 + 532 * number
        count = int.from_bytes(blob[start : start + 4], "little")
        places = range(start + 4, start + 4 + 66 * count, 66)
        digests += [blob[place + 2 : place + 34] for place in places]
    return dict(enumerate(digests))


def test_2023_holds_at_its_time(azure: Path) -> None:
    document = Document2023(azure)
    key = document.key().public_key
    hash_algorithm = check_signature(
        document.attest, document.signature, key, schemes=AZURE_TRUSTED_LAUNCH.schemes
    )
    body = parse_genuine_quote(document.attest)
    assert body.extra_data == b""
    assert body.qualified_signer in (AZURE_TRUSTED_LAUNCH.signers(key) or ())
    (selection,) = body.selections
    assert frozenset(selection.indices) == SIXTEEN
    check_pcr_digest(body.pcr_digest, SIXTEEN, document.pcrs, hash_algorithm)
    assert (body.clock.reset_count, body.clock.restart_count) == (2, 0)
    extends = (document.app_root_hash, bytes(32), hashlib.sha256(document.web_root).digest())
    assert document.pcrs[15] == replay(extends)
    golden = json.loads((azure / "trusted-launch-2023/measurements_azure.json").read_text())
    assert all(
        document.pcrs[int(pcr)].hex() == value for pcr, value in golden["measurements"].items()
    )


def test_the_firmware_of_real_machines_is_known(azure: Path) -> None:
    listed = {
        index: {golden.value for golden in goldens}
        for index, goldens in AZURE_TRUSTED_LAUNCH.allowed.items()
    }
    seen = (Document2023(azure).pcrs, _pcrs_of_2026(azure))
    assert listed == {index: {pcrs[index] for pcrs in seen} for index in (0, 1, 2, 3, 7)}


def _pcrs_of_2026(folder: Path) -> dict[int, bytes]:
    return _pcrs_of_blob((folder / "trusted-launch-2026/tl-2026-07-27-pcrs.bin").read_bytes())


@pytest.mark.parametrize(
    ("now", "code"),
    [
        (datetime(2023, 11, 4, tzinfo=UTC), Code.AK_NOT_YET_VALID),
        (datetime(2024, 11, 4, tzinfo=UTC), Code.AK_EXPIRED),
        (datetime(2026, 11, 23, tzinfo=UTC), Code.AK_EXPIRED),
    ],
)
def test_2023_is_refused_at_any_other_time(azure: Path, now: datetime, code: Code) -> None:
    with pytest.raises(AttestationKeyError) as caught:
        Document2023(azure).key(now)
    assert caught.value.code is code


def test_2023_is_refused_whenever_a_nonce_is_demanded(azure: Path) -> None:
    document = Document2023(azure)
    data = qualifying_data(
        spki=b"any", nonce=bytes(32), path=NoncePath(index=0, leaves=1, siblings=())
    )
    expected = ExpectedQuote(
        qualifying_data=data, selection=SIXTEEN, schemes=AZURE_TRUSTED_LAUNCH.schemes
    )
    with pytest.raises(FreshnessError) as caught:
        verify_quote(
            attest=document.attest,
            signature=document.signature,
            key=document.key().public_key,
            claimed=document.pcrs,
            expected=expected,
        )
    assert caught.value.code is Code.QUOTE_NONCE


def test_an_empty_nonce_cannot_be_demanded() -> None:
    with pytest.raises(UsageError):
        ExpectedQuote(qualifying_data=b"", selection=SIXTEEN, schemes=AZURE_TRUSTED_LAUNCH.schemes)


def test_2023_every_flipped_bit_is_refused(azure: Path) -> None:
    document = Document2023(azure)
    key = document.key().public_key
    for position in range(8 * len(document.attest)):
        flipped = bytearray(document.attest)
        flipped[position // 8] ^= 1 << position % 8
        with pytest.raises(QuoteError) as caught:
            check_signature(
                bytes(flipped), document.signature, key, schemes=AZURE_TRUSTED_LAUNCH.schemes
            )
        assert caught.value.code is Code.QUOTE_SIGNATURE


class Document2026:
    """A quote by a key that the guest made, beside a certificate of another key."""

    def __init__(self, folder: Path) -> None:
        place = folder / "trusted-launch-2026"
        read = (place / "tl-2026-07-27-quote.msg").read_bytes()
        # tpm2-tools writes the bare TPMS_ATTEST or a TPM2B around it, depending on its options.
        self.attest = read if read[:4] == b"\xffTCG" else read[2:]
        plain = (place / "tl-2026-07-27-quote.sig").read_bytes()
        self.signature = b"\x00\x14\x00\x0b" + sized(plain)
        self.leaf = (place / "tl-2026-07-27-akcert_0x01C101D0.der").read_bytes()
        self.nonce = bytes.fromhex((place / "tl-2026-07-27-nonce.hex").read_text())
        self.guest_key = load_pem_public_key((place / "tl-2026-07-27-ak.pub").read_bytes())
        issuers = [folder / "azure_tpm_intermediate_03.pem"]
        issuers.append(folder / "trusted-launch-2023/azure_vtpm_root_2023.pem")
        self.issuers = [
            x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)
            for path in issuers
        ]


def test_2026_a_key_that_the_guest_made_has_another_name(azure: Path) -> None:
    """Were it certified (CVE-2025-49707), it would still not be one that the platform makes."""
    document = Document2026(azure)
    assert isinstance(document.guest_key, rsa.RSAPublicKey)
    with pytest.raises(QuoteError) as caught:
        verify_quote(
            attest=document.attest,
            signature=document.signature,
            key=document.guest_key,
            claimed=MappingProxyType({}),
            expected=ExpectedQuote(
                qualifying_data=document.nonce,
                selection=frozenset(range(8)),
                schemes=AZURE_TRUSTED_LAUNCH.schemes,
                signers=AZURE_TRUSTED_LAUNCH.signers(document.guest_key),
            ),
        )
    assert caught.value.code is Code.QUOTE_SIGNER


def test_2026_the_certified_key_did_not_sign(azure: Path) -> None:
    document = Document2026(azure)
    now = datetime(2026, 11, 23, tzinfo=UTC)
    certified = verify_attestation_key(
        document.leaf, document.issuers, platform=AZURE_TRUSTED_LAUNCH, roots=ROOTS, now=now
    )
    # The quote is genuine in itself, which is what makes the mix-up dangerous.
    check_signature(
        document.attest,
        document.signature,
        document.guest_key,  # type: ignore[arg-type]
        schemes=AZURE_TRUSTED_LAUNCH.schemes,
    )
    assert parse_genuine_quote(document.attest).extra_data == document.nonce
    with pytest.raises(QuoteError) as caught:
        verify_quote(
            attest=document.attest,
            signature=document.signature,
            key=certified.public_key,
            claimed=MappingProxyType({}),
            expected=ExpectedQuote(
                qualifying_data=document.nonce,
                selection=frozenset(range(8)),
                schemes=AZURE_TRUSTED_LAUNCH.schemes,
            ),
        )
    assert caught.value.code is Code.QUOTE_SIGNATURE
