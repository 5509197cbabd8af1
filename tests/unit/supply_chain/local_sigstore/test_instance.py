"""Stock sigstore-python signs against the instance and verifies, and refuses what was changed."""

from __future__ import annotations

import base64
import copy
import json
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sigstore.dsse import Statement
from sigstore.errors import VerificationError
from sigstore.models import Bundle, ClientTrustConfig
from sigstore.sign import SigningContext

from supply_chain.local_sigstore import LocalSigstore, running
from tests.simulators.sigstore_client import IDENTITY, STATEMENT, by, verifier_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sigstore.verify import Verifier

Document = dict[str, Any]


def test_a_signed_statement_verifies_when_the_instance_has_ended(tmp_path: Path) -> None:
    with running(tmp_path) as instance:
        context = SigningContext.from_trust_config(instance.trust_config)
        with context.signer(instance.identity_token(IDENTITY)) as signer:
            text = signer.sign_dsse(Statement(STATEMENT)).to_json()
    kind, payload = verifier_of(instance.trusted_root_json).verify_dsse(
        Bundle.from_json(text), by()
    )
    assert (kind, payload) == ("application/vnd.in-toto+json", STATEMENT)


@pytest.mark.parametrize("identity", ["builder@blindllama.dev", "https://github.com/o/r@refs/x"])
def test_a_signed_artifact_verifies_for_its_identity_alone(
    instance: LocalSigstore, context: SigningContext, verifier: Verifier, identity: str
) -> None:
    with context.signer(instance.identity_token(identity)) as signer:
        bundle = Bundle.from_json(signer.sign_artifact(b"data").to_json())
    verifier.verify_artifact(b"data", bundle, by(identity))
    with pytest.raises(VerificationError, match="not match"):
        verifier.verify_artifact(b"data", bundle, by("https://someone.else/x"))
    with pytest.raises(VerificationError, match="digest mismatch"):
        verifier.verify_artifact(b"other", bundle, by(identity))


def test_a_bundle_carries_both_kinds_of_time(dsse_bundle: Bundle, verifier: Verifier) -> None:
    sources = {result.source.name for result in verifier._establish_time(dsse_bundle)}
    assert sources == {"TIMESTAMP_AUTHORITY", "TRANSPARENCY_SERVICE"}


def entry(document: Document) -> Document:
    found: Document = document["verificationMaterial"]["tlogEntries"][0]
    return found


def flip(document: Document, name: str) -> None:
    data = bytearray(base64.b64decode(document[name]))
    data[-1] ^= 1
    document[name] = base64.b64encode(data).decode()


def spoil_set(document: Document) -> None:
    flip(entry(document)["inclusionPromise"], "signedEntryTimestamp")


def spoil_time(document: Document) -> None:
    entry(document)["integratedTime"] = str(int(entry(document)["integratedTime"]) + 1)


def spoil_root(document: Document) -> None:
    flip(entry(document)["inclusionProof"], "rootHash")


def spoil_proof(document: Document) -> None:
    entry(document)["inclusionProof"]["hashes"][0] = base64.b64encode(bytes(32)).decode()


def spoil_checkpoint(document: Document) -> None:
    checkpoint = entry(document)["inclusionProof"]["checkpoint"]
    lines = checkpoint["envelope"].split("\n")
    lines[1] = str(int(lines[1]) + 1)
    checkpoint["envelope"] = "\n".join(lines)


def spoil_body(document: Document) -> None:
    body = json.loads(base64.b64decode(entry(document)["canonicalizedBody"]))
    body["spec"]["payloadHash"]["value"] = "00" * 32
    entry(document)["canonicalizedBody"] = base64.b64encode(json.dumps(body).encode()).decode()


def spoil_payload(document: Document) -> None:
    flip(document["dsseEnvelope"], "payload")


def spoil_signature(document: Document) -> None:
    flip(document["dsseEnvelope"]["signatures"][0], "sig")


def drop_times(document: Document) -> None:
    del entry(document)["inclusionPromise"]
    stamp = document["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"][0]
    flip(stamp, "signedTimestamp")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (spoil_set, "inclusion promise"),
        (spoil_time, "inclusion promise"),
        (spoil_root, "root hash|inclusion proof"),
        (spoil_proof, "inclusion proof|root hash"),
        (spoil_checkpoint, "checkpoint"),
        (spoil_body, "inclusion proof|root hash"),
        (spoil_payload, "DSSE: invalid signature"),
        (spoil_signature, "DSSE: invalid signature|not enough sources|invalid"),
        (drop_times, "not enough sources of verified time"),
    ],
)
def test_a_changed_bundle_is_refused(
    dsse_bundle: Bundle, verifier: Verifier, spoil: Callable[[Document], None], reason: str
) -> None:
    honest = json.loads(dsse_bundle.to_json())
    verifier.verify_dsse(Bundle.from_json(json.dumps(honest)), by())
    changed = copy.deepcopy(honest)
    spoil(changed)
    with pytest.raises(VerificationError, match=reason):
        verifier.verify_dsse(Bundle.from_json(json.dumps(changed)), by())


def other_part(part: str) -> Callable[[Document, Document], None]:
    def change(mine: Document, theirs: Document) -> None:
        mine[part] = theirs[part]

    return change


@pytest.mark.parametrize("part", ["tlogs", "ctlogs", "certificateAuthorities"])
def test_a_root_with_another_instance_s_keys_refuses(
    dsse_bundle: Bundle, instance: LocalSigstore, tmp_path: Path, part: str
) -> None:
    with running(tmp_path) as stranger:
        theirs = json.loads(stranger.trusted_root_json)
    mixed = json.loads(instance.trusted_root_json)
    other_part(part)(mixed, theirs)
    with pytest.raises(VerificationError):
        verifier_of(json.dumps(mixed)).verify_dsse(dsse_bundle, by())


def test_a_stamp_of_another_authority_does_not_count(
    dsse_bundle: Bundle, instance: LocalSigstore, tmp_path: Path
) -> None:
    with running(tmp_path) as stranger:
        theirs = json.loads(stranger.trusted_root_json)
    mixed = json.loads(instance.trusted_root_json)
    other_part("timestampAuthorities")(mixed, theirs)
    assert verifier_of(json.dumps(mixed))._verify_timestamp_authority(dsse_bundle) == []


def test_two_instances_of_one_folder_share_one_log(tmp_path: Path) -> None:
    indices: list[int] = []

    def sign(instance: LocalSigstore) -> None:
        context = SigningContext.from_trust_config(instance.trust_config)
        with context.signer(instance.identity_token(IDENTITY)) as signer:
            for number in range(8):
                bundle = signer.sign_artifact(str(number).encode())
                indices.append(int(bundle.log_entry._inner.log_index))

    with running(tmp_path) as first, running(tmp_path) as second:
        assert first.trusted_root_json == second.trusted_root_json
        threads = [threading.Thread(target=sign, args=(item,)) for item in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(indices) == list(range(1, 17))


def test_the_trust_config_is_what_the_command_line_takes(instance: LocalSigstore) -> None:
    config = ClientTrustConfig.from_json(instance.trust_config_json)
    assert config.signing_config.get_oidc_url() == instance.url
    assert instance.url not in instance.trusted_root_json


def test_the_clock_is_an_argument(tmp_path: Path) -> None:
    moment = datetime.now(UTC) - timedelta(minutes=2)
    with running(tmp_path, clock=lambda: moment) as instance:
        context = SigningContext.from_trust_config(instance.trust_config)
        with context.signer(instance.identity_token(IDENTITY)) as signer:
            bundle = signer.sign_artifact(b"data")
    assert bundle.log_entry._inner.integrated_time == int(moment.timestamp())
