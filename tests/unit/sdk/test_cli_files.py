"""The commands that read files alone: `inspect` and `explain` believe nothing; `--help` is cheap."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindllama._cli import ExitCode, main
from blindllama._cli.claims import file_claims
from blindllama._cli.parser import make_parser
from blindllama.errors import Error
from tests.simulators.booted_guest import (
    APP,
    BOOT,
    BootedGuest,
    Papers,
    boot,
    encode,
    event_log,
    expected_pcrs,
    sha256,
)
from tests.simulators.signed_release import SignedRelease, make_signed_release
from tests.simulators.software_ak import SoftwareAk, SoftwareQuoter

Capture = pytest.CaptureFixture[str]

OTHER_APP = (("app-disk", b'{"algorithm":"sha256","block_size":512}'), APP[1])
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
HEAVY = ("requests", "cryptography", "pydantic", "sigstore", "in_toto", "rich", "tuf", "openai")


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> SignedRelease:
    return make_signed_release(tmp_path_factory.mktemp("state"), sequence=7)


@pytest.fixture
def guest(checkout: Path) -> Path:
    return checkout / "tests/golden/evidence-v1.json"


@pytest.fixture
def document(guest: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(guest.read_bytes())
    return loaded


def run(capsys: Capture, *arguments: str) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == ExitCode.DONE
    loaded: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert loaded["verified"] is False
    return loaded


def refused(capsys: Capture, *arguments: str) -> dict[str, Any]:
    main([*arguments, "--json"])
    loaded: dict[str, Any] = json.loads(capsys.readouterr().out)
    error: dict[str, Any] = loaded["error"]
    return error


def written(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


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


class TestExplain:
    def predicted(self, path: Path, app: tuple[tuple[str, bytes], ...] = APP) -> str:
        """A file of measurements, as a release has it."""
        expected = expected_pcrs(app=app)
        platform = {
            "bank": "sha256",
            "pcrs": {str(pcr): value.hex() for pcr, value in expected.values.items()},
            "events": {
                str(pcr): [
                    {
                        "digest": event.digest.hex(),
                        "what": event.what,
                        "source": event.source,
                        "component": "app-disk" if event.what == "app-disk" else "boot-steps",
                    }
                    for event in events
                ]
                for pcr, events in expected.events.items()
            },
        }
        document = {"version": 1, "debug": False, "platforms": {"qemu-swtpm": platform}}
        return written(path, encode(document))

    def booted(
        self, path: Path, app: tuple[tuple[str, bytes], ...] = APP, *, log: bytes | None = None
    ) -> str:
        """A file of evidence."""
        quoter = SoftwareQuoter(ak=AK)
        boot(quoter, app=app)
        guest = BootedGuest(
            quoter=quoter,
            papers=Papers.of(quoter),
            spki=b"",
            log=event_log() if log is None else log,
        )
        document = guest.document(bytes(32)) | {
            "app_events": [
                {"pcr": 15, "name": name, "data": base64.b64encode(data).decode()}
                for name, data in app
            ]
        }
        if log is not None:
            document["app_events"] = []
        return written(path, encode(document))

    def test_two_releases(self, tmp_path: Path, capsys: Capture) -> None:
        one = self.predicted(tmp_path / "1.json")
        two = self.predicted(tmp_path / "2.json", OTHER_APP)
        (difference,) = run(capsys, "explain", one, two)["differences"]
        assert difference["pcrs"] == [15]
        assert difference["component"] == "app-disk"
        assert difference["sentence"].startswith("the application disk")
        assert sha256(OTHER_APP[0][1]).hex() in difference["raw"][0]

    def test_a_part_that_only_one_of_them_has(self, tmp_path: Path, capsys: Capture) -> None:
        one = self.predicted(tmp_path / "1.json")
        two = self.predicted(tmp_path / "2.json", APP[:1])
        (difference,) = run(capsys, "explain", one, two)["differences"]
        assert difference["pcrs"] == [15]
        assert difference["raw"] == [
            f"PCR 15, sealed: expected {sha256(APP[1][1]).hex()}, got none"
        ]

    def test_two_releases_that_are_equal(self, tmp_path: Path, capsys: Capture) -> None:
        one = self.predicted(tmp_path / "1.json")
        assert main(["explain", one, one]) == ExitCode.DONE
        assert capsys.readouterr().out == (
            "CLAIMED by both files; nothing of it was verified.\n\nnothing differs\n"
        )

    def test_releases_that_name_no_events(
        self, release: SignedRelease, tmp_path: Path, capsys: Capture
    ) -> None:
        folder = tmp_path / "release"
        folder.mkdir()
        written(folder / "evidence.json", release.evidence)
        found = run(capsys, "explain", str(folder), self.predicted(tmp_path / "1.json"))
        assert len(found["differences"]) == 12
        for difference in found["differences"]:
            assert difference["sentence"] == "it differs, and the releases do not say in what"

    def test_a_guest_with_its_log(self, tmp_path: Path, capsys: Capture) -> None:
        release, guest = tmp_path / "r.json", tmp_path / "g.json"
        arguments = [self.predicted(release), self.booted(guest, OTHER_APP)]
        (difference,) = run(capsys, "explain", *arguments)["differences"]
        assert difference["sentence"] == (
            "the application disk (the model and its server) is not that of r.json"
        )

    def test_a_guest_without_a_log_and_a_known_release(
        self, tmp_path: Path, capsys: Capture
    ) -> None:
        asked, known = tmp_path / "9.json", tmp_path / "7.json"
        arguments = [
            self.predicted(asked),
            self.booted(tmp_path / "g.json", OTHER_APP, log=b""),
            *("--known", self.predicted(known, OTHER_APP)),
        ]
        (difference,) = run(capsys, "explain", *arguments)["differences"]
        assert difference["pcrs"] == [15]
        assert difference["sentence"] == "it is that of 7.json, you asked for 9.json"

    def test_two_guests(self, tmp_path: Path, capsys: Capture) -> None:
        one = self.booted(tmp_path / "1.json")
        two = self.booted(tmp_path / "2.json", OTHER_APP)
        assert main(["explain", one, two]) == ExitCode.DONE
        out = capsys.readouterr().out
        assert "PCR 15: event 1, app-disk is not that of 1.json (block_size: 512 in place of" in out

    def test_two_guests_on_no_platform(self, tmp_path: Path, capsys: Capture) -> None:
        one = self.booted(tmp_path / "1.json")
        error = refused(capsys, "explain", one, one, "--platform", "moon")
        assert error["message"].endswith("got moon")

    def test_the_other_way_round(self, tmp_path: Path, capsys: Capture) -> None:
        arguments = [self.booted(tmp_path / "g.json"), self.predicted(tmp_path / "r.json")]
        assert "exchange the two" in refused(capsys, "explain", *arguments)["message"]

    def test_a_platform_that_both_have(self, tmp_path: Path, capsys: Capture) -> None:
        one = self.predicted(tmp_path / "1.json")
        found = run(capsys, "explain", one, one, "--platform", "qemu-swtpm")
        assert found["platform"] == "qemu-swtpm"

    @pytest.mark.parametrize("name", ["azure-trusted-launch", "moon"])
    def test_a_platform_that_is_not_there(self, tmp_path: Path, capsys: Capture, name: str) -> None:
        one = self.predicted(tmp_path / "1.json")
        error = refused(capsys, "explain", one, one, "--platform", name)
        assert error["message"] == f"--platform; expected qemu-swtpm; got {name}"

    @pytest.mark.parametrize(
        ("content", "kind"),
        [(b"[]", "usage"), (b"{}", "refused"), (b'{"platforms":1}', "refused"), (b"x", "refused")],
    )
    def test_a_file_without_measurements(
        self, tmp_path: Path, capsys: Capture, content: bytes, kind: str
    ) -> None:
        one = self.predicted(tmp_path / "1.json")
        path = written(tmp_path / "x", content)
        assert refused(capsys, "explain", path, one)["kind"] == kind


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


PAYLOAD = base64.b64encode(b'{"predicate":[],"subject":[1,{"digest":2}]}').decode()
AK = SoftwareAk.make_rsa()
assert BOOT  # the boot that both sides of every comparison have


def commands() -> list[str]:
    actions = make_parser()._subparsers
    assert actions is not None
    choices = actions._group_actions[0].choices
    assert choices is not None
    return list(choices)


@pytest.mark.parametrize("arguments", [[], *([name] for name in commands())])
def test_help_loads_nothing_that_verifies(arguments: list[str]) -> None:
    program = (
        "import sys; from blindllama._cli import main\n"
        f"try: main({[*arguments, '--help']})\n"
        f"finally: print([m for m in {HEAVY} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert "exit codes:\n  0    done" in done.stdout
    assert done.stdout.strip().endswith("[]")
