from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from supply_chain.errors import FetchError
from supply_chain.inputs.download import ATTEMPTS, NotServedError, download, shown
from tests.simulators.file_server import FileServer, file_server

DATA = os.urandom(200_000)
NAME = "pool/file"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as running:
        running.files[NAME] = DATA
        yield running


def fetch(server: FileServer, part: Path, name: str = NAME) -> None:
    download(f"{server.url}/{name}", part, size=len(DATA), wait_initial_s=0.001)


def test_a_whole_file_in_one_request(server: FileServer, tmp_path: Path) -> None:
    fetch(server, tmp_path / "new" / "part")
    assert (tmp_path / "new" / "part").read_bytes() == DATA
    assert server.requests == [(NAME, None)]


def test_what_is_there_is_not_asked_for_again(server: FileServer, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_bytes(DATA[:1234])
    fetch(server, part)
    assert part.read_bytes() == DATA
    assert server.requests == [(NAME, "bytes=1234-")]


def test_a_complete_part_needs_no_network(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(DATA)
    fetch(server, tmp_path / "part")
    assert server.requests == []


def test_a_broken_connection_is_taken_up_where_it_broke(server: FileServer, tmp_path: Path) -> None:
    server.break_after = [70_000, 50_000]
    fetch(server, tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == DATA
    assert server.requests == [(NAME, None), (NAME, "bytes=70000-"), (NAME, "bytes=120000-")]


def test_a_server_without_ranges_sends_all_of_it_again(server: FileServer, tmp_path: Path) -> None:
    server.ranges = False
    server.break_after = [70_000]
    fetch(server, tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == DATA


def test_a_part_that_is_too_long_is_begun_anew(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(DATA + b"more")
    fetch(server, tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == DATA
    assert server.requests == [(NAME, None)]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(status: int, server: FileServer, tmp_path: Path) -> None:
    server.statuses = [status, status]
    fetch(server, tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == DATA
    assert len(server.requests) == 3


def test_patience_has_an_end(server: FileServer, tmp_path: Path) -> None:
    server.statuses = [503] * 100
    with pytest.raises(FetchError) as caught:
        fetch(server, tmp_path / "part")
    assert caught.value.code == "build.fetch"
    assert len(server.requests) == ATTEMPTS


def test_nobody_there_is_an_error_of_the_network(tmp_path: Path) -> None:
    with pytest.raises(FetchError) as caught:
        download("http://127.0.0.1:9/file", tmp_path / "part", size=1, wait_initial_s=0.001)
    assert caught.value.code == "build.fetch"


@pytest.mark.parametrize("status", [403, 404, 410])
def test_what_is_not_served_is_not_asked_for_twice(
    status: int, server: FileServer, tmp_path: Path
) -> None:
    server.statuses = [status]
    with pytest.raises(NotServedError) as caught:
        fetch(server, tmp_path / "part")
    assert caught.value.code == "build.fetch.not_served"
    assert len(server.requests) == 1


def test_another_status_is_not_tried_again(server: FileServer, tmp_path: Path) -> None:
    server.statuses = [401]
    with pytest.raises(FetchError) as caught:
        fetch(server, tmp_path / "part")
    assert caught.value.code == "build.fetch"
    assert len(server.requests) == 1


def test_more_bytes_than_locked_are_refused(server: FileServer, tmp_path: Path) -> None:
    server.files[NAME] = DATA + b"more"
    with pytest.raises(FetchError, match="longer than expected") as caught:
        fetch(server, tmp_path / "part")
    assert caught.value.code == "build.fetch"
    assert not (tmp_path / "part").exists()
    assert len(server.requests) == 1


def test_fewer_bytes_than_locked_are_refused(server: FileServer, tmp_path: Path) -> None:
    server.files[NAME] = DATA[:-1]
    with pytest.raises(FetchError) as caught:
        fetch(server, tmp_path / "part")
    assert caught.value.code == "build.fetch"


def test_an_unreachable_archive_says_what_to_do_and_shows_no_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "http://someone:secret@127.0.0.1:9/file"
    with pytest.raises(FetchError, match="cannot be reached .*check the network") as caught:
        download(url, tmp_path / "part", size=1, wait_initial_s=0.001)
    assert "http://127.0.0.1:9/file" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    # The pauses between attempts are no news for the console.
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("url", "public"),
    [
        ("https://user:p@ss@host:1/x?y", "https://host:1/x?y"),
        ("http://host/x", "http://host/x"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, public: str) -> None:
    assert shown(url) == public


def test_a_file_that_cannot_grow_is_named_and_kept(server: FileServer, tmp_path: Path) -> None:
    part = tmp_path / "part"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(DATA) - 1, before[1]))
    try:
        with pytest.raises(OSError) as caught:
            fetch(server, part)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.filename == str(part)
    assert part.read_bytes() == DATA[:-1]
    fetch(server, part)
    assert part.read_bytes() == DATA
