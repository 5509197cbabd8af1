"""What clients need to know of the instance: whom to trust, and where to ask.

The trusted root names services by stable logical URLs and says nothing about ports, so the same
state folder gives the same bytes on every start and a policy that embeds it stays valid. Only the
signing configuration holds addresses, and nobody keeps that.

Source: sigstore/protobuf-specs, sigstore_trustroot.proto (TrustedRoot, SigningConfig v0.2).
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any, Literal

from cryptography.hazmat.primitives import serialization

from supply_chain.local_sigstore.ca import ORGANIZATION, VALID_FROM, VALID_TO
from supply_chain.local_sigstore.keys import spki
from supply_chain.local_sigstore.rekor_v2 import log_id_v2

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    from supply_chain.local_sigstore.ca import Authority

FULCIO_URL = "https://fulcio.sigstore.localhost"
REKOR_URL = "https://rekor.sigstore.localhost"
REKOR_V2_URL = "https://rekor2.sigstore.localhost"
CT_URL = "https://ctlog.sigstore.localhost"
TSA_URL = "https://tsa.sigstore.localhost"
TSA_PATH = "/api/v1/timestamp"
OPERATOR = "sigstore.localhost"

TRUSTED_ROOT = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
SIGNING_CONFIG = "application/vnd.dev.sigstore.signingconfig.v0.2+json"
TRUST_CONFIG = "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json"

LogVersion = Literal[1, 2]

_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
_SINCE = {"start": VALID_FROM.strftime(_FORMAT)}
_PERIOD = {**_SINCE, "end": VALID_TO.strftime(_FORMAT)}


def trusted_root(
    *,
    fulcio: Authority,
    tsa: Authority,
    rekor_key: ec.EllipticCurvePrivateKey,
    rekor_v2_key: ed25519.Ed25519PrivateKey,
    ct_key: ec.EllipticCurvePrivateKey,
) -> dict[str, Any]:
    """The trusted root: certificates and public keys with their periods."""
    return {
        "mediaType": TRUSTED_ROOT,
        "tlogs": [_log(REKOR_URL, rekor_key), _log_v2(REKOR_V2_URL, rekor_v2_key)],
        "certificateAuthorities": [_authority(FULCIO_URL, "fulcio", fulcio)],
        "ctlogs": [_log(CT_URL, ct_key)],
        "timestampAuthorities": [_authority(TSA_URL, "tsa", tsa)],
    }


def signing_config(address: str, log_version: LogVersion = 1) -> dict[str, Any]:
    """Where a client asks for certificates, entries, stamps and tokens, at this address."""

    def service(url: str, version: int = 1) -> list[dict[str, Any]]:
        return [{"url": url, "majorApiVersion": version, "validFor": _SINCE, "operator": OPERATOR}]

    return {
        "mediaType": SIGNING_CONFIG,
        "caUrls": service(address),
        "oidcUrls": service(address),
        "rekorTlogUrls": service(address, log_version),
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


def _log_v2(url: str, key: ed25519.Ed25519PrivateKey) -> dict[str, Any]:
    return {
        "baseUrl": url,
        "hashAlgorithm": "SHA2_256",
        "publicKey": {
            "rawBytes": _base64(spki(key)),
            "keyDetails": "PKIX_ED25519",
            "validFor": _PERIOD,
        },
        "logId": {"keyId": _base64(log_id_v2(url, key.public_key()))},
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
