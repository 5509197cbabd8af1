"""The time stamp authority: a signed statement that some bytes existed at a time.

Source: RFC 3161 (request, TSTInfo, response), RFC 5652 (SignedData), RFC 5816 (ESSCertIDv2).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from supply_chain.local_sigstore.exchange import RefusedError, Request, Response
from supply_chain.local_sigstore.keys import sign_ecdsa

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from supply_chain.local_sigstore.ca import Authority

# Sigstore's policy for its time stamps; an OID made from a UUID does not fit Go's parser.
POLICY = "1.3.6.1.4.1.57264.2"
DIGEST_SIZES = {"sha256": 32, "sha384": 48, "sha512": 64}


class TimeStamps:
    """The service that stamps digests."""

    def __init__(self, authority: Authority, clock: Callable[[], datetime]) -> None:
        """Sign with the authority's key, at the clock's time."""
        self._authority = authority
        self._clock = clock
        self._certificate = asn1_x509.Certificate.load(
            authority.certificate.public_bytes(serialization.Encoding.DER)
        )

    def stamp(self, request: Request) -> Response:
        """Answer a TimeStampReq with a granted TimeStampResp.

        Raises:
            RefusedError: The request is malformed, or asks for something that is not offered.
        """
        if request.headers.get("content-type") != "application/timestamp-query":
            raise RefusedError(415, "content-type: expected application/timestamp-query")
        imprint, nonce, with_certificate = _parsed(request.body)
        info = self._info(imprint, nonce)
        token = self._signed(info, with_certificate=with_certificate)
        answer = tsp.TimeStampResp({"status": {"status": "granted"}, "time_stamp_token": token})
        return Response(body=answer.dump(), content_type="application/timestamp-reply")

    def _info(self, imprint: tsp.MessageImprint, nonce: int | None) -> bytes:
        fields: dict[str, object] = {
            "version": "v1",
            "policy": POLICY,
            "message_imprint": imprint,
            "serial_number": x509.random_serial_number(),
            "gen_time": self._clock().replace(microsecond=0),
            "accuracy": {"seconds": 1},
        }
        if nonce is not None:
            fields["nonce"] = nonce
        return bytes(tsp.TSTInfo(fields).dump())

    def _signed(self, info: bytes, *, with_certificate: bool) -> cms.ContentInfo:
        attributes = cms.CMSAttributes(
            [
                {"type": "content_type", "values": ["tst_info"]},
                {"type": "message_digest", "values": [hashlib.sha256(info).digest()]},
                {
                    # Which certificate signs is itself signed, so that it cannot be exchanged.
                    "type": "signing_certificate_v2",
                    "values": [{"certs": [{"cert_hash": self._certificate.sha256}]}],
                },
            ]
        )
        sha256 = {"algorithm": "sha256"}
        signer = {
            "version": "v1",
            "sid": {
                "issuer_and_serial_number": {
                    "issuer": self._certificate.issuer,
                    "serial_number": self._certificate.serial_number,
                }
            },
            "digest_algorithm": sha256,
            "signed_attrs": attributes,
            "signature_algorithm": algos.SignedDigestAlgorithm({"algorithm": "sha256_ecdsa"}),
            "signature": sign_ecdsa(self._authority.key, attributes.dump()),
        }
        data = {
            "version": "v3",
            "digest_algorithms": [sha256],
            "encap_content_info": {
                "content_type": "tst_info",
                "content": core.ParsableOctetString(info),
            },
            "signer_infos": [signer],
        }
        if with_certificate:
            data["certificates"] = [self._certificate]
        return cms.ContentInfo({"content_type": "signed_data", "content": cms.SignedData(data)})


def _parsed(body: bytes) -> tuple[tsp.MessageImprint, int | None, bool]:
    """The imprint, the nonce, and whether the certificate is wanted."""
    try:
        request = tsp.TimeStampReq.load(body, strict=True)
        imprint = request["message_imprint"]
        algorithm = imprint["hash_algorithm"]["algorithm"].native
        digest = imprint["hashed_message"].native
        nonce = request["nonce"].native
        with_certificate = bool(request["cert_req"].native)
        policy = request["req_policy"].native
        extensions = request["extensions"].native
    except (ValueError, TypeError, KeyError) as exc:
        raise RefusedError(400, "body: expected a TimeStampReq in DER") from exc
    if DIGEST_SIZES.get(algorithm) != len(digest):
        raise RefusedError(400, f"message imprint: expected {' or '.join(DIGEST_SIZES)} digests")
    if policy is not None and policy != POLICY:
        raise RefusedError(400, f"policy: expected {POLICY}, got {policy}")
    if extensions:
        raise RefusedError(400, "extensions: none are supported")
    return imprint, nonce, with_certificate
