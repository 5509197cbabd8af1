"""What clients need to know of the instance: whom to trust, and where to ask.

The trusted root names services by stable logical URLs and says nothing about ports, so the same
state folder gives the same bytes on every start and a policy that embeds it stays valid. Only the
signing configuration holds addresses, and nobody keeps that.

Source: sigstore/protobuf-specs, sigstore_trustroot.proto (TrustedRoot, SigningConfig v0.2).
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import serialization

from supply_chain.local_sigstore.ca import ORGANIZATION, VALID_FROM, VALID_TO
from supply_chain.local_sigstore.keys import spki

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

    from supply_chain.local_sigstore.ca import Authority

FULCIO_URL = "https://fulcio.sigstore.localhost"
REKOR_URL = "https://rekor.sigstore.localhost"
CT_URL = "https://ctlog.sigstore.localhost"
TSA_URL = "https://tsa.sigstore.localhost"
TSA_PATH = "/api/v1/timestamp"
OPERATOR = "sigstore.localhost"

TRUSTED_ROOT = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
SIGNING_CONFIG = "application/vnd.dev.sigstore.signingconfig.v0.2+json"
TRUST_CONFIG = "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json"

_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
_SINCE = {"start": VALID_FROM.strftime(_FORMAT)}
_PERIOD = {**_SINCE, "end": VALID_TO.strftime(_FORMAT)}


def trusted_root(
    *,
    fulcio: Authority,
    tsa: Authority,
    rekor_key: ec.EllipticCurvePrivateKey,
    ct_key: ec.EllipticCurvePrivateKey,
) -> dict[str, Any]:
    """The trusted root: certificates and public keys with their periods."""
    return {
        "mediaType": TRUSTED_ROOT,
        "tlogs": [_log(REKOR_URL, rekor_key)],
        "certificateAuthorities": [_authority(FULCIO_URL, "fulcio", fulcio)],
        "ctlogs": [_log(CT_URL, ct_key)],
        "timestampAuthorities": [_authority(TSA_URL, "tsa", tsa)],
    }


def signing_config(address: str) -> dict[str, Any]:
    """Where a client asks for certificates, entries, stamps and tokens, at this address."""

    def service(url: str) -> list[dict[str, Any]]:
        return [{"url": url, "majorApiVersion": 1, "validFor": _SINCE, "operator": OPERATOR}]

    return {
        "mediaType": SIGNING_CONFIG,
        "caUrls": service(address),
        "oidcUrls": service(address),
        "rekorTlogUrls": service(address),
        "rekorTlogConfig": {"selector": "ANY"},
        "tsaUrls": service(address + TSA_PATH),
        "tsaConfig": {"selector": "ANY"},
    }


def _log(url: str, key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    return {
        "baseUrl": url,
        "hashAlgorithm": "SHA2_256",
        "publicKey": {
            "rawBytes": _base64(spki(key)),
            "keyDetails": "PKIX_ECDSA_P256_SHA_256",
            "validFor": _PERIOD,
        },
        "logId": {"keyId": _base64(hashlib.sha256(spki(key)).digest())},
    }


def _authority(url: str, name: str, authority: Authority) -> dict[str, Any]:
    chain = [
        {"rawBytes": _base64(certificate.public_bytes(serialization.Encoding.DER))}
        for certificate in authority.chain
    ]
    return {
        "subject": {"organization": ORGANIZATION, "commonName": name},
        "uri": url,
        "certChain": {"certificates": chain},
        "validFor": _PERIOD,
    }


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
