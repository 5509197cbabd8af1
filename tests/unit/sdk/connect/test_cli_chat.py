"""`blindllama chat`, line by line."""

from __future__ import annotations

import io
import json

import pytest

from blindllama._cli import ExitCode, main
from tests.simulators.attested_server import WORDS
from tests.unit.sdk.connect.conftest import Deployed

Capture = pytest.CaptureFixture[str]


class TestChat:
    def talk(self, deployed: Deployed, monkeypatch: pytest.MonkeyPatch, *lines: str) -> list[str]:
        """Arguments of a chat whose standard input has these lines."""
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        return ["chat", *deployed.arguments]

    def test_each_line_of_a_pipe_is_answered(
        self, deployed: Deployed, capsys: Capture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        arguments = self.talk(deployed, monkeypatch, "Hi", "", "  And then?")
        assert main(arguments) == ExitCode.DONE
        out, err = capsys.readouterr()
        assert out == ("".join(WORDS) + "\n") * 2
        assert "> " not in err
        assert deployed.server.paths == ["/v1/chat/completions"] * 2
        assert deployed.server.attestations == 1

    def test_the_talk_so_far_goes_with_each_line(
        self, deployed: Deployed, capsys: Capture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        arguments = [*self.talk(deployed, monkeypatch, "Hi"), "--system", "Be brief.", "--json"]
        assert main(arguments) == ExitCode.DONE
        event, document = capsys.readouterr().out.splitlines()
        answer = "".join(WORDS)
        assert json.loads(event) == {"event": {"name": "answer", "text": answer}}
        assert json.loads(document)["talk"] == [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": answer},
        ]

    def test_a_person_sees_where_to_type(
        self, deployed: Deployed, capsys: Capture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        arguments = self.talk(deployed, monkeypatch, "Hi")
        monkeypatch.setattr("sys.stdin.isatty", lambda: True)
        assert main(arguments) == ExitCode.DONE
        assert capsys.readouterr().err.count("> ") == 2

    def test_an_empty_pipe_is_no_talk(
        self, deployed: Deployed, capsys: Capture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert main(self.talk(deployed, monkeypatch)) == ExitCode.DONE
        assert capsys.readouterr().out == ""
        assert deployed.server.application_bytes == 0

    def test_nothing_is_said_to_a_guest_that_is_refused(
        self, deployed: Deployed, capsys: Capture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deployed.guest.quoter.extend(11, bytes(32))
        assert main(self.talk(deployed, monkeypatch, "a secret")) == ExitCode.REFUSED
        assert "secret" not in "".join(capsys.readouterr())
        assert deployed.server.application_bytes == 0
