from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from blindllama._tpm.nonce_tree import NoncePath, nonce_tree_root

from .conftest import SoftwareTpm
from .service import EVENTS, SPKI, ask, evidence, make_settings, nonce_body, post, run

if TYPE_CHECKING:
    from pathlib import Path

    from os_image.guest.attest import Settings

pytestmark = pytest.mark.swtpm


@pytest.fixture
def settings(tmp_path: Path, software_tpm: SoftwareTpm) -> Settings:
    return make_settings(tmp_path, software_tpm.tcti)


def path_of(document: dict[str, object]) -> NoncePath:
    claimed = document["nonce_path"]
    assert isinstance(claimed, dict)
    siblings = tuple(base64.b64decode(sibling) for sibling in claimed["siblings"])
    return NoncePath(index=claimed["index"], leaves=claimed["leaves"], siblings=siblings)


def check_quote(document: dict[str, object], nonce: bytes, software_tpm: SoftwareTpm) -> None:
    """The TPM signed this nonce, this key and these registers, by the TSS's own account."""
    from tpm2_pytss import (  # noqa: PLC0415 - only where there is a TPM library
        ESAPI,
        TPMS_ATTEST,
        TPMT_SIGNATURE,
    )

    from os_image.guest.tpm import AK_HANDLE  # noqa: PLC0415 - likewise

    quote, pcrs = document["quote"], document["pcrs"]
    assert isinstance(quote, dict)
    assert isinstance(pcrs, dict)
    signed = base64.b64decode(quote["attest"])
    attest, _ = TPMS_ATTEST.unmarshal(signed)
    root = nonce_tree_root(nonce, path_of(document))
    label = b"blindllama/quote/v1\0"
    expected = hashlib.sha256(label + hashlib.sha256(SPKI).digest() + root).digest()
    assert bytes(attest.extraData) == expected
    values = [bytes.fromhex(value) for value in pcrs["sha256"]]
    assert len(values) == 16
    assert bytes(attest.attested.quote.pcrDigest) == hashlib.sha256(b"".join(values)).digest()
    assert bytes(attest.attested.quote.pcrSelect[0].pcrSelect)[:3] == b"\xff\xff\0"
    with ESAPI(software_tpm.tcti) as context:
        public, _, _ = context.read_public(context.tr_from_tpmpublic(AK_HANDLE))
    signature, _ = TPMT_SIGNATURE.unmarshal(base64.b64decode(quote["signature"]))
    signature.verify_signature(public, signed)


def test_a_nonce_is_answered_with_a_quote(settings: Settings, software_tpm: SoftwareTpm) -> None:
    async def scenario() -> None:
        nonce = bytes(range(32))
        document = evidence(await ask(settings.socket, post(nonce_body(nonce))))
        await asyncio.to_thread(check_quote, document, nonce, software_tpm)
        assert document["version"] == 1
        assert document["kind"] == "tpm-quote"
        assert document["nonce_path"] == {"index": 0, "leaves": 1, "siblings": []}
        assert document["ak"] == {
            "certificate": base64.b64encode(software_tpm.certificate).decode(),
            "intermediates": [base64.b64encode(software_tpm.intermediate).decode()],
        }
        assert document["spki"] == base64.b64encode(SPKI).decode()
        assert document["event_log"] == base64.b64encode(b"log").decode()
        assert document["app_events"] == json.loads(EVENTS)
        assert document["clock"] == {"reset_count": 1, "restart_count": 0}
        assert set(document) == {
            "version",
            "kind",
            "quote",
            "pcrs",
            "ak",
            "nonce_path",
            "spki",
            "event_log",
            "app_events",
            "clock",
        }

    run(settings, scenario)


def test_many_callers_share_few_quotes(settings: Settings, software_tpm: SoftwareTpm) -> None:
    async def scenario() -> None:
        nonces = [bytes([n]) * 32 for n in range(64)]
        asked = [ask(settings.socket, post(nonce_body(nonce))) for nonce in nonces]
        answers = await asyncio.gather(*asked)
        documents = [evidence(answer) for answer in answers]
        for nonce, document in zip(nonces, documents, strict=True):
            await asyncio.to_thread(check_quote, document, nonce, software_tpm)
        assert len({json.dumps(document["quote"]) for document in documents}) < len(nonces) / 4

    run(settings, scenario)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (post(b"{}"), 400),
        (post(b" " * 4097), 413),
        (b"GET /attestation HTTP/1.1\r\n\r\n", 405),
        (b"POST /healthz HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 405),
        (b"GET /v1/models HTTP/1.1\r\n\r\n", 404),
        (b"nonsense\r\n\r\n", 400),
    ],
)
def test_other_requests_are_refused(settings: Settings, request_bytes: bytes, status: int) -> None:
    async def scenario() -> None:
        answer = await ask(settings.socket, request_bytes)
        assert answer.status == status
        assert list(json.loads(answer.body)) == ["error"]

    run(settings, scenario)


def test_a_caller_that_says_nothing_delays_nobody(settings: Settings) -> None:
    async def scenario() -> None:
        idle = [await asyncio.open_unix_connection(settings.socket) for _ in range(50)]
        assert (await ask(settings.socket, post(nonce_body(bytes(32))))).status == 200
        for _, writer in idle:
            writer.close()

    run(settings, scenario)


def test_without_its_key_the_service_says_try_again(settings: Settings) -> None:
    settings.spki.unlink()

    async def scenario() -> None:
        answer = await ask(settings.socket, post(nonce_body(bytes(32))))
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")

    run(settings, scenario)


def test_healthy_means_that_the_application_is(settings: Settings) -> None:
    async def scenario() -> None:
        request = b"GET /healthz HTTP/1.1\r\n\r\n"
        assert (await ask(settings.socket, request)).status == 503

    run(settings, scenario)


def test_a_tpm_without_the_key_is_refused() -> None:
    from os_image.guest.errors import TpmError  # noqa: PLC0415 - only where there is a TPM library
    from os_image.guest.tpm import Tpm  # noqa: PLC0415 - likewise

    with pytest.raises(TpmError) as caught:
        Tpm("swtpm:host=127.0.0.1,port=1")
    assert caught.value.code == "guest.tpm"


def test_the_unit_may_open_more_files_than_the_service_has_connections(checkout: Path) -> None:
    from os_image.guest.attest import Limits  # noqa: PLC0415 - only where there is a TPM library

    units = checkout / "os_image/guest/files/etc/systemd/system"
    unit = (units / "blindllama-attest.service").read_text().splitlines()
    (limit,) = (line.partition("=")[2] for line in unit if line.startswith("LimitNOFILE="))
    assert int(limit) > Limits().connections + 256
    assert Limits().callers < Limits().connections
