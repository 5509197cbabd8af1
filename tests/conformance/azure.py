"""Cases from documents of real Azure machines, which lie beside the checkout and not in it.

They are read at run time. Nobody asked these machines for our nonce, so what can be accepted of
them is the chain of the attestation key; the whole must be refused.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from blindllama._platform.azure import ROOT_2023
from tests.conformance.corpus import Case, Expected, Json, read_given
from tests.simulators.booted_guest import encode, text
from tests.simulators.software_ak import sized

AZURE = Path(__file__).resolve().parents[3] / "shared" / "data" / "azure"
_PLATFORM = "azure-trusted-launch"
_RSASSA_SHA256 = b"\x00\x14\x00\x0b"


def azure_cases(folder: Path = AZURE) -> Iterator[Case]:
    """The cases; none where the documents are not there."""
    if not folder.is_dir():
        return
    of_2023, of_2026 = _Document2023(folder), _document_2026(folder)
    for name, attack, now, expected in (
        ("accept-azure-key-of-2023", None, "2024-01-15", Expected(verdict="accept")),
        ("c2-azure-key-too-early", "C2", "2023-11-04", _reject("ak.not_yet_valid")),
        ("c2-azure-key-of-2023-expired", "C2", "2024-11-04", _reject("ak.expired")),
    ):
        yield _case(name, attack, "key", of_2023.ak, now, expected)
    yield _case(
        "accept-azure-key-of-2026",
        None,
        "key",
        of_2026["ak"],
        "2026-12-01",
        Expected(verdict="accept"),
    )
    mixed = {**of_2026["ak"], "intermediates": of_2023.ak["intermediates"]}
    yield _case(
        "c2-azure-wrong-intermediate", "C2", "key", mixed, "2024-01-15", _reject("ak.chain")
    )
    no_nonce = _reject("quote.nonce_mismatch", 8)
    yield _case(
        "q3-azure-without-a-nonce", "Q3", "evidence", of_2023.evidence, "2024-01-15", no_nonce
    )
    not_its_key = _reject("quote.signature", 8)
    yield _case(
        "q4-azure-signed-by-another-key", "Q4", "evidence", of_2026, "2026-12-01", not_its_key
    )


def _case(
    name: str, attack: str | None, verify: str, document: Json, now: str, expected: Expected
) -> Case:
    given = read_given("evidence")
    expected_pcrs = {**given["expected"], "platform": _PLATFORM}
    caller = {
        **given,
        "platform": _PLATFORM,
        "roots": [ROOT_2023.hex()],
        "now": f"{now}T00:00:00+00:00",
        "expected": expected_pcrs,
    }
    return Case(
        name=name,
        attack=attack,
        verify=verify,
        document=encode(document),
        given=caller,
        expected=expected,
    )


def _reject(code: str, step: int = 7) -> Expected:
    return Expected(verdict="reject", code=code, step=step)


class _Document2023:
    """The form of the project that published it, and the same in our wire form."""

    def __init__(self, folder: Path) -> None:
        path = folder / "trusted-launch-2023" / "sample_azure_attestation.json"
        document = json.loads(path.read_bytes())
        chain = [_der(pem.encode()) for pem in document["cert_chain"]]
        self.ak = {"certificate": text(chain[0]), "intermediates": [text(der) for der in chain[1:]]}
        quote = document["quote"]
        attest, signature = base64.b64decode(quote["message"]), base64.b64decode(quote["signature"])
        pcrs = _registers(base64.b64decode(quote["pcr"]))
        self.evidence = _wire(attest, signature, pcrs, self.ak)


def _document_2026(folder: Path) -> Json:
    place = folder / "trusted-launch-2026"
    leaf = (place / "tl-2026-07-27-akcert_0x01C101D0.der").read_bytes()
    issuers = [
        _der((folder / "azure_tpm_intermediate_03.pem").read_bytes()),
        _der((folder / "trusted-launch-2023" / "azure_vtpm_root_2023.pem").read_bytes()),
    ]
    ak = {"certificate": text(leaf), "intermediates": [text(der) for der in issuers]}
    signature = _RSASSA_SHA256 + sized((place / "tl-2026-07-27-quote.sig").read_bytes())
    attest = (place / "tl-2026-07-27-quote.msg").read_bytes()
    return _wire(attest, signature, _registers((place / "tl-2026-07-27-pcrs.bin").read_bytes()), ak)


def _wire(attest: bytes, signature: bytes, pcrs: list[bytes], ak: Json) -> Json:
    genuine: dict[str, Any] = {
        "version": 1,
        "kind": "tpm-quote",
        "quote": {"attest": text(attest), "signature": text(signature)},
        "pcrs": {"sha256": [value.hex() for value in (*pcrs, *[bytes(32)] * 16)][:16]},
        "ak": ak,
        "nonce_path": {"index": 0, "leaves": 1, "siblings": []},
        "spki": read_given("evidence")["spki"],
        "event_log": "",
        "app_events": [],
        "clock": {"reset_count": 0, "restart_count": 0},
    }
    return genuine


def _registers(blob: bytes) -> list[bytes]:
    """Registers in the C structures of tpm2-tools, as `checkquote.serialized` writes them."""
    found = []
    for number in range(int.from_bytes(blob[132:136], "little")):
        start = 136 + 532 * number
        count = int.from_bytes(blob[start : start + 4], "little")
        places = range(start + 4, start + 4 + 66 * count, 66)
        found += [blob[place + 2 : place + 34] for place in places]
    return found


def _der(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
