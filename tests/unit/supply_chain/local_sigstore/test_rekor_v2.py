"""Version 2 of the log: the stock library signs and verifies, a watcher recomputes the tree."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from sigstore.dsse import Statement
from sigstore.errors import VerificationError
from sigstore.models import Bundle
from sigstore.sign import SigningContext

from supply_chain.local_sigstore import LocalSigstore, running
from supply_chain.local_sigstore.checkpoint import Checkpoint, verify_checkpoint
from supply_chain.local_sigstore.entry import canonical_entry_v2
from supply_chain.local_sigstore.instance import load_identities
from supply_chain.local_sigstore.merkle import MerkleTree, leaf_hash
from supply_chain.local_sigstore.rekor_v2 import log_id_v2
from supply_chain.local_sigstore.trust_root import REKOR_V2_URL
from tests.simulators.sigstore_client import IDENTITY, STATEMENT, Client, by, verifier_of

if TYPE_CHECKING:
    from collections.abc import Callable

PATH = "/api/v2/log/entries"
KEY = ec.generate_private_key(ec.SECP256R1())
KIND = "hashedRekordRequestV002"


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("v2")


@pytest.fixture(scope="module")
def second(state: Path) -> Iterator[LocalSigstore]:
    with running(state, log_version=2) as found:
        yield found


@pytest.fixture(scope="module")
def asked(second: LocalSigstore) -> Client:
    return Client(second.url)


@pytest.fixture(scope="module")
def signed(second: LocalSigstore) -> Bundle:
    context = SigningContext.from_trust_config(second.trust_config)
    with context.signer(second.identity_token(IDENTITY)) as signer:
        return Bundle.from_json(signer.sign_dsse(Statement(STATEMENT)).to_json())


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def der(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return b64(
        key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


def proposed(data: bytes = b"data") -> dict[str, Any]:
    return {
        KIND: {
            "digest": b64(hashlib.sha256(data).digest()),
            "signature": {
                "content": b64(KEY.sign(data, ec.ECDSA(hashes.SHA256()))),
                "verifier": {
                    "publicKey": {"rawBytes": der(KEY)},
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                },
            },
        }
    }


def checkpoint(asked: Client, state: Path) -> Checkpoint:
    key = load_identities(state).rekor_v2_key.public_key()
    text = asked.get("/api/v2/checkpoint").text
    return verify_checkpoint(text, log_id_v2(REKOR_V2_URL, key), key)


def test_a_statement_is_logged_by_the_hash_of_what_was_signed(
    signed: Bundle, second: LocalSigstore
) -> None:
    entry = signed.log_entry._inner
    assert (entry.kind_version.kind, entry.kind_version.version) == ("hashedrekord", "0.0.2")
    assert entry.inclusion_promise is None
    assert entry.log_index >= 1
    kind, payload = verifier_of(second.trusted_root_json).verify_dsse(signed, by())
    assert (kind, payload) == ("application/vnd.in-toto+json", STATEMENT)


def test_an_artifact_is_logged_too(second: LocalSigstore) -> None:
    context = SigningContext.from_trust_config(second.trust_config)
    with context.signer(second.identity_token(IDENTITY)) as signer:
        bundle = Bundle.from_json(signer.sign_artifact(b"data").to_json())
    verifier = verifier_of(second.trusted_root_json)
    verifier.verify_artifact(b"data", bundle, by())
    with pytest.raises(VerificationError, match="digest mismatch"):
        verifier.verify_artifact(b"other", bundle, by())


def test_both_versions_share_one_trusted_root(second: LocalSigstore, state: Path) -> None:
    with running(state) as first:
        assert first.trusted_root_json == second.trusted_root_json
        context = SigningContext.from_trust_config(first.trust_config)
        with context.signer(first.identity_token(IDENTITY)) as signer:
            bundle = signer.sign_dsse(Statement(STATEMENT))
    assert bundle.log_entry._inner.kind_version.version == "0.0.1"
    verifier_of(second.trusted_root_json).verify_dsse(bundle, by())


def entry_of(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["verificationMaterial"]["tlogEntries"][0]
    return found


def spoil_stamp(document: dict[str, Any]) -> None:
    times = document["verificationMaterial"]["timestampVerificationData"]
    data = bytearray(base64.b64decode(times["rfc3161Timestamps"][0]["signedTimestamp"]))
    data[-1] ^= 1
    times["rfc3161Timestamps"][0]["signedTimestamp"] = b64(bytes(data))


def spoil_checkpoint(document: dict[str, Any]) -> None:
    note = entry_of(document)["inclusionProof"]["checkpoint"]
    lines = note["envelope"].split("\n")
    lines[0] = "rekor9.sigstore.localhost"
    note["envelope"] = "\n".join(lines)


def spoil_body(document: dict[str, Any]) -> None:
    body = canonical_entry_v2(proposed())
    entry_of(document)["canonicalizedBody"] = b64(body)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (spoil_stamp, "not enough sources of verified time"),
        (spoil_checkpoint, "checkpoint: invalid signature"),
        (spoil_body, "inclusion proof|root hash"),
    ],
)
def test_a_changed_bundle_is_refused(
    signed: Bundle,
    second: LocalSigstore,
    spoil: Callable[[dict[str, Any]], None],
    reason: str,
) -> None:
    changed = json.loads(signed.to_json())
    spoil(changed)
    with pytest.raises(VerificationError, match=reason):
        verifier_of(second.trusted_root_json).verify_dsse(
            Bundle.from_json(json.dumps(changed)), by()
        )


def test_a_watcher_recomputes_the_root_from_tiles(
    asked: Client, state: Path, signed: Bundle
) -> None:
    for number in range(300):
        assert asked.post_json(PATH, proposed(b"%d" % number)).status_code == 201
    now = checkpoint(asked, state)
    assert now.origin == "rekor2.sigstore.localhost"
    tree = MerkleTree()
    for leaf in leaves(asked, now.size):
        tree.append(leaf_hash(leaf))
    assert tree.root() == now.root
    first = asked.get("/api/v2/tile/0/000").content
    assert [first[begin : begin + 32] for begin in range(0, len(first), 32)] == tree.nodes(
        0, 0, 256
    )
    assert asked.get("/api/v2/tile/1/000.p/1").content == tree.root(256)


def leaves(asked: Client, size: int) -> list[bytes]:
    found: list[bytes] = []
    for begin in range(0, size, 256):
        width = min(256, size - begin)
        part = "" if width == 256 else f".p/{width}"
        data = asked.get(f"/api/v2/tile/entries/{begin // 256:03}{part}").content
        while data:
            length = int.from_bytes(data[:2], "big")
            found.append(data[2 : 2 + length])
            data = data[2 + length :]
    return found


def test_the_same_entry_is_logged_once(asked: Client) -> None:
    first = asked.post_json(PATH, proposed(b"once"))
    second = asked.post_json(PATH, proposed(b"once"))
    assert (first.status_code, second.status_code) == (201, 201)
    again = asked.post_json(PATH, copied := proposed(b"twice"))
    assert again.status_code == 201
    refused = asked.post_json(PATH, copied)
    assert (refused.status_code, refused.json()["code"]) == (409, 409)
    assert refused.json()["message"].endswith(f"at {again.json()['logIndex']}")


def changed(value: object, *path: str) -> dict[str, Any]:
    document = copy.deepcopy(proposed())
    place: Any = document[KIND]
    for name in path[:-1]:
        place = place[name]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return document


VERIFIER = ("signature", "verifier")
RSA = der(rsa.generate_private_key(65537, 2048))
OTHER = der(ec.generate_private_key(ec.SECP256R1()))


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({}, "entry kind: expected hashedRekordRequestV002"),
        ({"dsseRequestV002": {}}, "entry kind: expected hashedRekordRequestV002"),
        ({KIND: []}, "body: digest is missing"),
        (changed(None, "digest"), "body: digest is missing"),
        (changed("*", "digest"), "malformed hashedrekord entry"),
        (changed(b64(bytes(31)), "digest"), "malformed hashedrekord entry"),
        (changed(b64(bytes(32)), "digest"), "the signature does not verify"),
        (changed(b64(b"x"), "signature", "content"), "the signature does not verify"),
        (changed("PKIX_ED25519", *VERIFIER, "keyDetails"), "key details: expected PKIX_ECDSA"),
        (changed({"rawBytes": OTHER}, *VERIFIER, "publicKey"), "the signature does not verify"),
        (changed({"rawBytes": RSA}, *VERIFIER, "publicKey"), "key: expected ECDSA on P-256"),
        (changed({"rawBytes": "eA=="}, *VERIFIER, "publicKey"), "malformed hashedrekord entry"),
        (changed({"rawBytes": OTHER}, *VERIFIER, "x509Certificate"), "verifier: expected a cert"),
        (changed(None, *VERIFIER, "publicKey"), "verifier: expected a certificate or a key"),
    ],
)
def test_a_bad_entry_is_not_logged(
    asked: Client, state: Path, document: dict[str, Any], reason: str
) -> None:
    before = checkpoint(asked, state)
    answer = asked.post_json(PATH, document)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith(reason)
    assert checkpoint(asked, state) == before


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("0/000.p/9999", 400),
        ("0/0", 400),
        ("x/000", 400),
        ("entries/-01", 400),
        ("0/999", 404),
        ("0/x001/000", 404),
        ("7/000", 404),
        ("entries/999", 404),
        ("0/000.p/0", 404),
    ],
)
def test_a_tile_that_is_not_there_is_refused(asked: Client, path: str, code: int) -> None:
    answer = asked.get(f"/api/v2/tile/{path}")
    assert (answer.status_code, answer.json()["code"]) == (code, code)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: text.replace("\n\n", "\n"), "expected origin, size, root"),
        (lambda text: text.partition("\n\n")[0] + "\n\n", "bears no signature of the log"),
        (lambda text: text.replace("rekor2.", "rekor3.", 1), "does not verify"),
        (lambda text: "x\n1\n" + text.partition("\n")[2], "expected origin, size, root"),
        (lambda _: "", "expected origin, size, root"),
    ],
)
def test_a_checkpoint_that_the_log_did_not_sign_is_refused(
    asked: Client, state: Path, change: Callable[[str], str], reason: str
) -> None:
    key = load_identities(state).rekor_v2_key.public_key()
    text = asked.get("/api/v2/checkpoint").text
    with pytest.raises(ValueError, match=reason):
        verify_checkpoint(change(text), log_id_v2(REKOR_V2_URL, key), key)
