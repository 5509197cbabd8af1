"""The bytes that the client's tests expect too: `tests/golden` holds both sides together."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from os_image.guest.nonce_tree import NoncePath, build_nonce_tree

if TYPE_CHECKING:
    from pathlib import Path


def decode(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


@pytest.fixture
def golden(checkout: Path) -> Path:
    return checkout / "tests" / "golden"


def test_nonce_trees(golden: Path) -> None:
    cases = json.loads((golden / "nonce-tree.json").read_bytes())
    assert cases
    for case in cases:
        tree = build_nonce_tree([decode(nonce) for nonce in case["nonces"]])
        assert tree.root == decode(case["root"])
        siblings = [[decode(one) for one in path] for path in case["paths"]]
        assert [list(path.siblings) for path in tree.paths] == siblings


@pytest.mark.swtpm
def test_qualifying_data(golden: Path) -> None:
    from os_image.guest.evidence import qualifying_data  # noqa: PLC0415 - imports the TPM library

    cases = json.loads((golden / "qualifying-data.json").read_bytes())
    assert cases
    for case in cases:
        found = qualifying_data(decode(case["spki"]), decode(case["root"]))
        assert found == decode(case["qualifying_data"])


@pytest.mark.swtpm
def test_evidence(golden: Path) -> None:
    from os_image.guest.evidence import (  # noqa: PLC0415 - likewise
        Surroundings,
        encode_evidence,
        encode_shared,
    )
    from os_image.guest.tpm import Quote  # noqa: PLC0415 - likewise

    document: dict[str, Any] = json.loads((golden / "evidence-v1.json").read_bytes())
    quote = Quote(
        attest=decode(document["quote"]["attest"]),
        signature=decode(document["quote"]["signature"]),
        pcrs=tuple(bytes.fromhex(value) for value in document["pcrs"]["sha256"]),
        certificate=decode(document["ak"]["certificate"]),
        intermediates=tuple(decode(one) for one in document["ak"]["intermediates"]),
        reset_count=document["clock"]["reset_count"],
        restart_count=document["clock"]["restart_count"],
    )
    path = NoncePath(
        index=document["nonce_path"]["index"],
        leaves=document["nonce_path"]["leaves"],
        siblings=tuple(decode(one) for one in document["nonce_path"]["siblings"]),
    )
    surroundings = Surroundings(
        spki=decode(document["spki"]),
        event_log=decode(document["event_log"]),
        app_events=json.dumps(document["app_events"]).encode(),
    )
    assert json.loads(encode_evidence(encode_shared(quote, surroundings), path)) == document
