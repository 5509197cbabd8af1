from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from asn1crypto import tsp
from cryptography import x509
from rfc3161_client import (
    TimestampRequestBuilder,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from supply_chain.local_sigstore.tsa import POLICY

if TYPE_CHECKING:
    from rfc3161_client import TimeStampRequest, TimeStampResponse
    from rfc3161_client.verify import Verifier

    from supply_chain.local_sigstore import LocalSigstore
    from tests.simulators.sigstore_client import Client

PATH = "/api/v1/timestamp"
QUERY = "application/timestamp-query"


def stamped(client: Client, request: TimeStampRequest) -> TimeStampResponse:
    answer = client.post(PATH, request.as_bytes(), content_type=QUERY)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/timestamp-reply"
    return decode_timestamp_response(answer.content)


@pytest.fixture
def chain(instance: LocalSigstore) -> list[x509.Certificate]:
    (authority,) = instance.trust_config.trusted_root.get_timestamp_authorities()
    return authority.certificates(allow_expired=False)


def verifier(chain: list[x509.Certificate], nonce: int | None = None) -> Verifier:
    builder = VerifierBuilder().tsa_certificate(chain[0]).add_root_certificate(chain[-1])
    return (builder if nonce is None else builder.nonce(nonce)).build()


@pytest.mark.parametrize("certificate", [True, False])
def test_a_stamp_verifies_with_its_nonce(
    client: Client, chain: list[x509.Certificate], certificate: bool
) -> None:
    request = (
        TimestampRequestBuilder()
        .data(b"data")
        .nonce(nonce=True)
        .cert_request(cert_request=certificate)
        .build()
    )
    response = stamped(client, request)
    assert verifier(chain, request.nonce).verify_message(response, b"data")
    assert len(response.signed_data.certificates) == int(certificate)
    assert abs(response.tst_info.gen_time - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_stamp_is_for_its_data_alone(client: Client, chain: list[x509.Certificate]) -> None:
    response = stamped(client, TimestampRequestBuilder().data(b"data").build())
    with pytest.raises(VerificationError):
        verifier(chain).verify_message(response, b"other")


def test_two_stamps_have_two_serial_numbers(client: Client) -> None:
    request = TimestampRequestBuilder().data(b"data").build()
    first, second = stamped(client, request), stamped(client, request)
    assert first.tst_info.serial_number != second.tst_info.serial_number


def query(**changes: object) -> bytes:
    fields = {
        "version": "v1",
        "message_imprint": {
            "hash_algorithm": {"algorithm": "sha256"},
            "hashed_message": hashlib.sha256(b"data").digest(),
        },
    }
    return bytes(tsp.TimeStampReq(fields | changes).dump())


def test_our_own_policy_may_be_asked_for(client: Client) -> None:
    answer = client.post(PATH, query(req_policy=POLICY), content_type=QUERY)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "body: expected a TimeStampReq in DER"),
        (b"\x30\x03\x02\x01\x01", "body: expected a TimeStampReq in DER"),
        (query() + b"\0", "body: expected a TimeStampReq in DER"),
        (query(req_policy="1.2.3"), "policy: expected"),
        (
            query(
                message_imprint={
                    "hash_algorithm": {"algorithm": "sha1"},
                    "hashed_message": bytes(20),
                }
            ),
            "message imprint: expected",
        ),
        (
            query(
                message_imprint={
                    "hash_algorithm": {"algorithm": "sha256"},
                    "hashed_message": bytes(31),
                }
            ),
            "message imprint: expected",
        ),
        (
            query(extensions=[{"extn_id": "1.2.3.4", "critical": True, "extn_value": b"\x05\0"}]),
            "extensions: none are supported",
        ),
    ],
)
def test_a_bad_query_gets_no_stamp(client: Client, body: bytes, reason: str) -> None:
    answer = client.post(PATH, body, content_type=QUERY)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith(reason)


def test_another_content_type_gets_no_stamp(client: Client) -> None:
    assert client.post(PATH, query(), content_type="application/json").status_code == 415
