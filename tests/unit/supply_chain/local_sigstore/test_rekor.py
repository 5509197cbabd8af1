from __future__ import annotations

import base64
import copy
import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest
import rfc8785
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from supply_chain.local_sigstore.entry import canonical_entry, pae

if TYPE_CHECKING:
    from collections.abc import Callable

    from sigstore.models import Bundle

    from tests.simulators.sigstore_client import Client

PATH = "/api/v1/log/entries"
KEY = ec.generate_private_key(ec.SECP256R1())


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def public_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return b64(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


def hashedrekord(data: bytes = b"data") -> dict[str, Any]:
    return {
        "apiVersion": "0.0.1",
        "kind": "hashedrekord",
        "spec": {
            "data": {"hash": {"algorithm": "sha256", "value": hashlib.sha256(data).hexdigest()}},
            "signature": {
                "content": b64(KEY.sign(data, ec.ECDSA(hashes.SHA256()))),
                "publicKey": {"content": public_pem(KEY)},
            },
        },
    }


def dsse(payload: bytes = b"{}") -> dict[str, Any]:
    signature = KEY.sign(pae("application/x", payload), ec.ECDSA(hashes.SHA256()))
    envelope = {
        "payload": b64(payload),
        "payloadType": "application/x",
        "signatures": [{"sig": b64(signature)}],
    }
    return {
        "apiVersion": "0.0.1",
        "kind": "dsse",
        "spec": {
            "proposedContent": {
                "envelope": json.dumps(envelope),
                "verifiers": [public_pem(KEY)],
            }
        },
    }


@pytest.mark.parametrize("make", [hashedrekord, dsse])
def test_an_entry_is_found_again_by_index_and_by_uuid(
    client: Client, make: Callable[[], dict[str, Any]]
) -> None:
    proposed = make()
    answer = client.post_json(PATH, proposed)
    ((uuid, entry),) = answer.json().items()
    assert answer.status_code == 201
    assert answer.headers["ETag"] == uuid
    assert answer.headers["Location"] == f"{PATH}/{uuid}"
    assert base64.b64decode(entry["body"]) == canonical_entry(proposed)
    by_uuid = client.get(f"{PATH}/{uuid}").json()
    by_index = client.get(f"{PATH}?logIndex={entry['logIndex']}").json()
    assert by_uuid[uuid]["body"] == by_index[uuid]["body"] == entry["body"]


def test_the_same_entry_is_logged_once(client: Client) -> None:
    proposed = hashedrekord()
    first = client.post_json(PATH, proposed)
    second = client.post_json(PATH, proposed)
    assert second.status_code == 409
    assert second.headers["Location"] == first.headers["Location"]


def test_nobody_has_index_zero(client: Client, dsse_bundle: Bundle) -> None:
    entry = dsse_bundle.log_entry._inner
    assert entry.log_index >= 1
    ((_, genesis),) = client.get(f"{PATH}?logIndex=0").json().items()
    assert json.loads(base64.b64decode(genesis["body"]))["kind"] == "genesis"


def test_the_log_proves_that_it_only_grew(client: Client) -> None:
    before = client.get("/api/v1/log").json()
    client.post_json(PATH, hashedrekord())
    after = client.get("/api/v1/log").json()
    assert after["treeSize"] == before["treeSize"] + 1
    proof = client.get(
        f"/api/v1/log/proof?firstSize={before['treeSize']}&lastSize={after['treeSize']}"
    )
    assert proof.json()["hashes"]


def test_the_checkpoint_is_signed_by_the_published_key(client: Client) -> None:
    pem = client.get("/api/v1/log/publicKey").content
    key = serialization.load_pem_public_key(pem)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    info = client.get("/api/v1/log").json()
    note, _, signature_line = info["signedTreeHead"].partition("\n\n")
    signature = base64.b64decode(signature_line.split()[2])
    key.verify(signature[4:], (note + "\n").encode(), ec.ECDSA(hashes.SHA256()))
    origin, size, root = note.split("\n")
    assert origin == f"rekor.sigstore.localhost - {info['treeID']}"
    assert (int(size), base64.b64decode(root).hex()) == (info["treeSize"], info["rootHash"])


@pytest.mark.parametrize(
    "path",
    [
        f"{PATH}?logIndex=-1",
        f"{PATH}?logIndex=x",
        f"{PATH}?logIndex=",
        PATH,
        f"{PATH}?logIndex=" + "9" * 30,
        f"{PATH}/nonsense",
        "/api/v1/log/proof?firstSize=0&lastSize=1",
        "/api/v1/log/proof?firstSize=1&lastSize=1000000",
        "/api/v1/log/proof",
    ],
)
def test_a_bad_question_is_refused(client: Client, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (400, 400)


@pytest.mark.parametrize("path", [f"{PATH}?logIndex=999999", f"{PATH}/{'0' * 80}"])
def test_an_entry_that_is_not_there_is_not_found(client: Client, path: str) -> None:
    assert client.get(path).status_code == 404


def changed(document: dict[str, Any], value: object, *path: str | int) -> dict[str, Any]:
    result = copy.deepcopy(document)
    place: Any = result
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return result


def envelope(change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    document = dsse()
    content = json.loads(document["spec"]["proposedContent"]["envelope"])
    change(content)
    return changed(document, json.dumps(content), "spec", "proposedContent", "envelope")


RSA = public_pem(rsa.generate_private_key(65537, 2048))
OTHER = public_pem(ec.generate_private_key(ec.SECP256R1()))
SIGNATURE = ("spec", "signature", "content")
VERIFIERS = ("spec", "proposedContent", "verifiers")


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({}, "entry kind: expected dsse or hashedrekord"),
        (changed(dsse(), "0.0.2", "apiVersion"), "entry kind"),
        (changed(dsse(), "rekord", "kind"), "entry kind"),
        (changed(dsse(), [], *VERIFIERS), "verifiers: expected exactly one"),
        (changed(dsse(), [OTHER, OTHER], *VERIFIERS), "verifiers: expected exactly one"),
        (changed(dsse(), [OTHER], *VERIFIERS), "the signature does not verify"),
        (changed(dsse(), [RSA], *VERIFIERS), "key: expected ECDSA"),
        (changed(dsse(), [7], *VERIFIERS), "key: expected base64 text"),
        (changed(dsse(), ["eA=="], *VERIFIERS), "malformed dsse entry"),
        (changed(dsse(), "{", "spec", "proposedContent", "envelope"), "malformed dsse entry"),
        (changed(dsse(), "[]", "spec", "proposedContent", "envelope"), "body: payload is missing"),
        (envelope(lambda e: e.update(payload=b64(b"{ }"))), "the signature does not verify"),
        (envelope(lambda e: e.update(payloadType="other")), "the signature does not verify"),
        (envelope(lambda e: e.update(payload="*")), "malformed dsse entry"),
        (envelope(lambda e: e["signatures"].clear()), "envelope: expected exactly one signature"),
        (
            envelope(lambda e: e["signatures"].append(e["signatures"][0])),
            "envelope: expected exactly one signature",
        ),
        (changed(hashedrekord(), hashedrekord()["spec"], "spec", "x"), ""),
        (
            changed(hashedrekord(), "00" * 32, "spec", "data", "hash", "value"),
            "the signature does not verify",
        ),
        (
            changed(hashedrekord(), "00", "spec", "data", "hash", "value"),
            "malformed hashedrekord entry",
        ),
        (
            changed(hashedrekord(), "sha512", "spec", "data", "hash", "algorithm"),
            "hash algorithm: expected sha256",
        ),
        (changed(hashedrekord(), "", *SIGNATURE), "the signature does not verify"),
        (changed(hashedrekord(), None, *SIGNATURE), "body: spec.signature.content: expected text"),
        (changed(hashedrekord(), {}, "spec", "signature"), "body: spec.signature.content is"),
    ],
)
def test_a_bad_entry_is_not_logged(client: Client, document: dict[str, Any], reason: str) -> None:
    if not reason:
        # Fields that the schema does not know are not part of the canonical entry.
        assert b'"x"' not in canonical_entry(document)
        return
    before = client.get("/api/v1/log").json()["treeSize"]
    answer = client.post_json(PATH, document)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith(reason)
    assert client.get("/api/v1/log").json()["treeSize"] == before


def test_the_set_is_over_the_canonical_promise(dsse_bundle: Bundle, client: Client) -> None:
    entry = dsse_bundle.log_entry._inner
    assert entry.inclusion_promise is not None
    key = serialization.load_pem_public_key(client.get("/api/v1/log/publicKey").content)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    promise = rfc8785.dumps(
        {
            "body": b64(entry.canonicalized_body),
            "integratedTime": entry.integrated_time,
            "logID": entry.log_id.key_id.hex(),
            "logIndex": entry.log_index,
        }
    )
    key.verify(entry.inclusion_promise.signed_entry_timestamp, promise, ec.ECDSA(hashes.SHA256()))


def test_an_entry_by_certificate_keeps_the_certificate(dsse_bundle: Bundle) -> None:
    body = json.loads(dsse_bundle.log_entry._inner.canonicalized_body)
    pem = base64.b64decode(body["spec"]["signatures"][0]["verifier"])
    assert x509.load_pem_x509_certificate(pem) == dsse_bundle.signing_certificate
