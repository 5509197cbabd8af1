"""`blindllama explain` says why two files differ, and believes neither."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from blindllama._cli import ExitCode, main
from tests.simulators.booted_guest import (
    APP,
    BootedGuest,
    Papers,
    boot,
    encode,
    event_log,
    expected_pcrs,
    sha256,
)
from tests.simulators.signed_release import SignedRelease
from tests.simulators.software_ak import SoftwareAk, SoftwareQuoter
from tests.unit.sdk.cli.reading import Capture, refused, run, written

OTHER_APP = (("app-disk", b'{"algorithm":"sha256","block_size":512}'), APP[1])
AK = SoftwareAk.make_rsa()


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
