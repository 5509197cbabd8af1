"""Every parser that reads what somebody else wrote, as one function of bytes.

The property is the same for all: it returns, or raises an error of the SDK's family that says a
check refused; nothing else, in bounded time and memory. What is signed is given to the parser
behind the signature, with a signature made here where one is needed: a fuzzer would not pass it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from types import MappingProxyType

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import JsonValue

from blindllama._ak import verify_attestation_key
from blindllama._platform.registry import platform_named
from blindllama._policy_parts import Owner
from blindllama._release.bundle import BundleVerifier, Signer, VerifiedEnvelope
from blindllama._release.envelope import parse_envelope
from blindllama._release.index import verify_index
from blindllama._release.layout import verify_layout
from blindllama._release.link import _Link
from blindllama._release.provenance import PROVENANCE_TYPE, verify_provenance
from blindllama._release.statement import PAYLOAD_TYPE, VerifiedStatement, _statement
from blindllama._release.trust import trust_root
from blindllama._release.unread import check_unread
from blindllama._strict_json import parse_json, parse_model
from blindllama._tpm.event_log import parse_event_log, replay_log
from blindllama._tpm.quote import parse_genuine_quote
from blindllama._tpm.structures import parse_signature
from blindllama.errors import VerificationError
from blindllama.evidence import parse_evidence
from blindllama.measurements import MeasurementsPredicate, PlatformName, expected_pcrs
from blindllama.policy import Policy
from blindllama.release import verify_release
from blindllama.release_list import ReleaseList
from tests.conformance.corpus import read_document, read_given
from tests.conformance.vector import read_case
from tests.simulators.booted_guest import event_log, text
from tests.unit.sdk.test_every_bit import pae

CASE = read_case()
EVIDENCE = json.loads(read_document("alone"))
RELEASE = json.loads(read_document("release"))
GIVEN = read_given("release")
NOW = datetime.fromisoformat(GIVEN["now"])
OWNER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
LIMIT = 4 << 20


@dataclass(frozen=True, kw_only=True)
class Target:
    """A parser under fuzzing."""

    name: str
    run: Callable[[bytes], object]
    seeds: tuple[bytes, ...]
    share: int
    """How many of a hundred runs it gets: those that verify signatures are slow."""

    def __call__(self, data: bytes) -> None:
        with suppress(VerificationError):
            self.run(data)


@cache
def policy() -> Policy:
    return Policy.from_mapping(GIVEN["policy"])


@cache
def bundles() -> BundleVerifier:
    return BundleVerifier(
        trust=trust_root(policy().sigstore.trusted_root), require=policy().sigstore
    )


def _payload(envelope: Mapping[str, str]) -> bytes:
    return base64.b64decode(envelope["payload"])


def _json(data: bytes) -> JsonValue:
    return parse_json(data, limit=LIMIT, step=2)


def _chain(data: bytes) -> object:
    return verify_attestation_key(
        data,
        [base64.b64decode(der) for der in EVIDENCE["ak"]["intermediates"]],
        platform=platform_named(CASE.platform),
        roots=CASE.roots,
        now=CASE.now,
    )


def _issuer(data: bytes) -> object:
    return verify_attestation_key(
        base64.b64decode(EVIDENCE["ak"]["certificate"]),
        [data, base64.b64decode(EVIDENCE["ak"]["intermediates"][1])],
        platform=platform_named(CASE.platform),
        roots=CASE.roots,
        now=CASE.now,
    )


def _bundle(data: bytes) -> object:
    signer = policy().signer
    who = Signer(issuer=signer.issuer, identity=signer.identity)
    return bundles().verify_dsse(_json(data), who)


def _stamp(data: bytes) -> None:
    stamp: JsonValue = {"signedTimestamp": text(data)}
    check_unread({}, entries=(), stamps=[stamp], authorities=bundles().trust.stampers)


def _checkpoint(data: bytes) -> None:
    note = data.decode("utf-8", "replace")
    entry: dict[str, JsonValue] = {"inclusionProof": {"checkpoint": {"envelope": note}}}
    check_unread({}, entries=[entry], stamps=(), authorities=())


def _said(data: bytes, kind: str) -> VerifiedStatement:
    envelope = VerifiedEnvelope(
        payload_type=PAYLOAD_TYPE, payload=data, certificate=_certificate(), signed_at=NOW
    )
    return _statement(envelope, kind)


@cache
def _certificate() -> x509.Certificate:
    certificate = RELEASE["index"]["verificationMaterial"]["certificate"]["rawBytes"]
    return x509.load_der_x509_certificate(base64.b64decode(certificate))


def _provenance(data: bytes) -> object:
    return verify_provenance(_said(data, PROVENANCE_TYPE), policy().signer)


def _index(data: bytes) -> object:
    kind = json.loads(_payload(RELEASE["index"]["dsseEnvelope"]))["predicateType"]
    return verify_index(_said(data, kind))


def _measurements(data: bytes) -> object:
    kind = json.loads(_payload(RELEASE["measurements"]["dsseEnvelope"]))["predicateType"]
    predicate = parse_model(_said(data, kind).predicate, MeasurementsPredicate, step=2)
    known = {platform.value: platform for platform in PlatformName}
    return [
        expected_pcrs(known[name], wire)
        for name, wire in predicate.platforms.items()
        if name in known
    ]


def _layout(data: bytes) -> object:
    public = OWNER.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
    owner = Owner(keyid="ab" * 32, scheme="ed25519", public=public)
    signature = {"keyid": owner.keyid, "sig": text(OWNER.sign(pae(PAYLOAD_TYPE, data)))}
    document: JsonValue = {
        "payload": text(data),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [dict(signature)],
    }
    return verify_layout(document, owners=[owner], bundles=bundles(), now=NOW)


def _link(data: bytes) -> object:
    return parse_model(_json(data), _Link, step=3)


def _release(data: bytes) -> object:
    return verify_release(data, policy(), NOW)


def _dumped(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def targets() -> Iterator[Target]:
    """All of them."""
    quote = EVIDENCE["quote"]
    attest, signature = base64.b64decode(quote["attest"]), base64.b64decode(quote["signature"])
    ecdsa = base64.b64decode(json.loads(read_document("ecc256-ecdsa-sha256"))["quote"]["signature"])
    leaf = base64.b64decode(EVIDENCE["ak"]["certificate"])
    issuer = base64.b64decode(EVIDENCE["ak"]["intermediates"][0])
    statements = [_payload(one["dsseEnvelope"]) for one in RELEASE["provenance"]]
    index = _payload(RELEASE["index"]["dsseEnvelope"])
    measured = _payload(RELEASE["measurements"]["dsseEnvelope"])
    links = tuple(_payload(link) for link in RELEASE["links"])
    one = MappingProxyType(RELEASE["index"])
    stamps = one["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"]
    entry = one["verificationMaterial"]["tlogEntries"][0]
    for name, run, seeds, share in (
        ("strict-json", _json, (b'{"a":[1,2.5e3,null,"\\u00e9"]}',), 12),
        ("evidence", parse_evidence, (read_document("alone"),), 9),
        ("quote", parse_genuine_quote, (attest,), 12),
        ("signature", parse_signature, (signature, ecdsa), 10),
        ("event-log", lambda data: replay_log(parse_event_log(data)), (event_log(),), 12),
        ("ak-leaf", _chain, (leaf,), 5),
        ("ak-issuer", _issuer, (issuer,), 5),
        (
            "envelope",
            lambda data: parse_envelope(_json(data), what="link"),
            (_dumped(RELEASE["layout"]),),
            4,
        ),
        ("bundle", _bundle, (_dumped(dict(one)),), 2),
        ("stamp", _stamp, (base64.b64decode(stamps[0]["signedTimestamp"]),), 3),
        (
            "checkpoint",
            _checkpoint,
            (entry["inclusionProof"]["checkpoint"]["envelope"].encode(),),
            2,
        ),
        ("provenance", _provenance, tuple(statements), 4),
        ("index", _index, (index,), 4),
        ("measurements", _measurements, (measured,), 4),
        ("layout", _layout, (_payload(RELEASE["layout"]),), 4),
        ("link", _link, links, 3),
        ("policy", Policy.from_bytes, (policy().to_toml().encode(),), 2),
        (
            "release-list",
            ReleaseList.from_bytes,
            (b'{"version":1,"name":"n","newest":2,"revoked":[1]}',),
            2,
        ),
        ("release", _release, (read_document("release"),), 1),
    ):
        yield Target(name=name, run=run, seeds=seeds, share=share)
