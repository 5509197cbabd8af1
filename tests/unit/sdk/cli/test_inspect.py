"""`blindllama inspect` shows what a file claims, and believes nothing."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindllama._cli import ExitCode, main
from blindllama._cli.claims import file_claims
from blindllama.errors import Error
from tests.simulators.booted_guest import (
    encode,
)
from tests.simulators.signed_release import SignedRelease
from tests.unit.sdk.cli.reading import Capture, refused, run, written

KEYS = st.sampled_from(
    [
        "layout",
        "index",
        "dsseEnvelope",
        "payload",
        "signatures",
        "predicate",
        "subject",
        "verificationMaterial",
        "certificate",
        "rawBytes",
        "provenance",
        "measurements",
        "keyid",
    ]
)
PAYLOAD = base64.b64encode(b'{"predicate":[],"subject":[1,{"digest":2}]}').decode()


class TestInspect:
    def test_evidence_of_a_guest(self, guest: Path, capsys: Capture) -> None:
        claims = run(capsys, "inspect", str(guest))["claimed"]
        assert claims["kind"] == "guest evidence"
        assert claims["quote"]["magic"] == "0xff544347"
        assert claims["quote"]["made_by_a_tpm"] is True
        assert claims["quote"]["selections"] == [{"bank": "0x000b", "pcrs": list(range(16))}]
        assert claims["event_log"]["replays_to_claimed"] == list(range(15))
        assert "attestation key" in claims["attestation_key"]["subject"]

    def test_every_line_says_claimed(self, guest: Path, capsys: Capture) -> None:
        assert main(["inspect", str(guest)]) == ExitCode.DONE
        heading, empty, *lines = capsys.readouterr().out.splitlines()
        assert heading == f"CLAIMED by {guest}; nothing of it was verified."
        assert empty == ""
        assert len(lines) > 40
        assert all(line.startswith("claimed ") for line in lines)

    def test_hostile_names_stay_on_their_line(
        self, document: dict[str, Any], tmp_path: Path, capsys: Capture
    ) -> None:
        document["app_events"][0]["name"] = "x\nverified: yes\x1b[2J"
        path = written(tmp_path / "e.json", encode(document))
        assert main(["inspect", path]) == ExitCode.DONE
        out = capsys.readouterr().out
        assert "\nverified" not in out
        assert "\x1b" not in out

    def test_evidence_of_a_release(
        self, release: SignedRelease, tmp_path: Path, capsys: Capture
    ) -> None:
        path = written(tmp_path / "evidence.json", release.evidence)
        claims = run(capsys, "inspect", path)["claimed"]
        assert claims["kind"] == "release evidence"
        assert claims["release"]["sequence"] == 7
        assert [one["document"] for one in claims["statements"]] == [
            "index",
            "measurements",
            *["provenance"] * 4,
        ]
        signer = claims["statements"][0]["signer"]
        assert signer["identity"] == [release.policy.signer.identity]
        assert signer["issuer"] == release.policy.signer.issuer

    def test_a_bundle_alone(self, release: SignedRelease, tmp_path: Path, capsys: Capture) -> None:
        path = written(tmp_path / "m.sigstore.json", release.chain.measurements)
        claims = run(capsys, "inspect", path)["claimed"]
        assert claims["kind"] == "bundle"
        assert set(claims["subjects"]) == {"app-disk/app.img", "os-image/os.img"}

    def test_a_quote_and_its_signature(
        self, document: dict[str, Any], tmp_path: Path, capsys: Capture
    ) -> None:
        attest = written(tmp_path / "a", base64.b64decode(document["quote"]["attest"]))
        signature = written(tmp_path / "s", base64.b64decode(document["quote"]["signature"]))
        claims = run(capsys, "inspect", attest, "--signature", signature)["claimed"]
        assert claims["quote"]["type"] == "0x8018"
        assert claims["signature"] == {"scheme": "0x0014", "hash": "0x000b"}

    def test_q2_a_lie_about_the_magic_is_shown(
        self, document: dict[str, Any], tmp_path: Path, capsys: Capture
    ) -> None:
        attest = b"\0" + base64.b64decode(document["quote"]["attest"])[1:]
        claims = run(capsys, "inspect", written(tmp_path / "a", attest))["claimed"]
        assert claims["quote"]["made_by_a_tpm"] is False

    def test_another_attestation_shows_its_head(self, tmp_path: Path, capsys: Capture) -> None:
        path = written(tmp_path / "a", bytes.fromhex("ff5443478017") + b"certify")
        assert run(capsys, "inspect", path)["claimed"]["quote"]["type"] == "0x8017"

    def test_parts_that_cannot_be_read_are_named(
        self, document: dict[str, Any], tmp_path: Path, capsys: Capture
    ) -> None:
        document["event_log"] = document["ak"]["certificate"] = "AAAA"
        claims = run(capsys, "inspect", written(tmp_path / "e", encode(document)))["claimed"]
        assert "event log" in claims["event_log"]["unreadable"]
        assert claims["attestation_key"]["unreadable"] == "not a certificate"

    def test_a_bundle_without_a_certificate(
        self, release: SignedRelease, tmp_path: Path, capsys: Capture
    ) -> None:
        bundle = json.loads(release.chain.measurements)
        bundle["verificationMaterial"] = {"publicKey": {"hint": "x"}}
        claims = run(capsys, "inspect", written(tmp_path / "b", encode(bundle)))["claimed"]
        assert claims["signer"] == {"unreadable": "its certificate"}

    @pytest.mark.parametrize(
        ("content", "code"),
        [
            (b"{}", "format.version"),
            (b"{", "format.not_json"),
            (b"", "quote.malformed"),
            (b"hello", "quote.malformed"),
            (b'{"dsseEnvelope":{}}', "bundle.malformed"),
            (b'{"dsseEnvelope":{"payload":"W10="}}', "bundle.malformed"),
            (b'{"layout":{}}', "bundle.malformed"),
        ],
    )
    def test_something_else(
        self, tmp_path: Path, capsys: Capture, content: bytes, code: str
    ) -> None:
        assert refused(capsys, "inspect", written(tmp_path / "x", content))["code"] == code

    def test_what_is_not_there_or_no_document(self, tmp_path: Path, capsys: Capture) -> None:
        assert refused(capsys, "inspect", str(tmp_path / "none"))["kind"] == "usage"
        path = written(tmp_path / "x", bytes((4 << 20) + 1))
        assert "at most" in refused(capsys, "inspect", path)["message"]

    def test_a_signature_belongs_to_a_quote(self, guest: Path, capsys: Capture) -> None:
        error = refused(capsys, "inspect", str(guest), "--signature", str(guest))
        assert error["kind"] == "usage"


class TestAnything:
    """T4: whatever a file holds, the answer is claims or an error of ours."""

    @given(st.binary(max_size=200))
    def test_bytes(self, data: bytes) -> None:
        with suppress(Error):
            file_claims(data)
        with suppress(Error):
            file_claims(data, signature=data)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=20),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
        )
    )
    def test_json(self, document: object) -> None:
        with suppress(Error):
            file_claims(json.dumps({"layout": 1, "index": document}).encode())
        with suppress(Error):
            file_claims(json.dumps(document).encode())
        with suppress(Error):
            file_claims(
                json.dumps({"dsseEnvelope": {"payload": PAYLOAD}} | as_object(document)).encode()
            )


def as_object(document: object) -> dict[str, object]:
    return document if isinstance(document, dict) else {"verificationMaterial": document}
