"""What is remembered of a repository: by several processes, through crashes, and never in part."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from blindllama.errors import Code, UsageError
from blindllama.repository import Repository
from tests.simulators.hostile_repository import RepositoryServer, answer
from tests.simulators.release_repository import Publisher
from tests.simulators.signed_release import SignedRelease
from tests.unit.sdk.repository.conftest import refused

Releases = tuple[SignedRelease, SignedRelease]
CLIENT = """
import sys
from datetime import datetime
from blindllama import Repository
url, root, memory, now, times = sys.argv[1:]
for _ in range(int(times)):
    repository = Repository(url, root=root, memory=memory)
    print(repository.fetch(datetime.fromisoformat(now)).listing.newest, flush=True)
"""


def start(publisher: Publisher, url: str, memory: Path, *, times: int = 1) -> subprocess.Popen[str]:
    arguments = [url, publisher.trusted_root, memory, publisher.now.isoformat(), str(times)]
    return subprocess.Popen(
        [sys.executable, "-c", CLIENT, *map(str, arguments)],
        env={"PYTHONPATH": ":".join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
    )


def content(memory: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((memory / "repository.json").read_bytes())["content"]
    return found


def test_what_is_remembered(publisher: Publisher, releases: Releases, tmp_path: Path) -> None:
    memory = tmp_path / "deep" / "memory"
    publisher.client(memory=memory).fetch(publisher.now)
    assert sorted(path.name for path in memory.iterdir()) == [
        ".repository.json.lock",
        "repository.json",
    ]
    found = content(memory)
    assert (found["name"], found["sequence"]) == (releases[0].index.name, 1)
    documents = found["documents"]
    assert isinstance(documents, dict)
    assert set(documents) == {"1.root.json", "timestamp.json", "snapshot.json", "targets.json"}
    assert documents["timestamp.json"] == (publisher.folder / "timestamp.json").read_text()


def test_nothing_new_writes_nothing(publisher: Publisher, tmp_path: Path) -> None:
    memory = tmp_path / "memory"
    publisher.client(memory=memory).fetch(publisher.now)
    before = (memory / "repository.json").stat().st_ino
    publisher.client(memory=memory).fetch(publisher.now)
    assert (memory / "repository.json").stat().st_ino == before


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data.replace(b'"sequence":2', b'"sequence":1'),
        lambda data: data.replace(b"1", b"2", 1),
        lambda data: data.replace(b'"timestamp.json"', b'"../x.json"'),
        lambda data: data.replace(b'"content"', b'"contents"'),
    ],
)
def test_a_damaged_memory_is_no_empty_memory(
    publisher: Publisher,
    releases: Releases,
    tmp_path: Path,
    spoil: Callable[[bytes], bytes],
) -> None:
    memory = tmp_path / "memory"
    publisher.publish(releases[1])
    publisher.client(memory=memory).fetch(publisher.now)
    path = memory / "repository.json"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(UsageError, match="remove it to forget on purpose"):
        publisher.client(memory=memory).fetch(publisher.now)


def test_a_memory_that_cannot_be_written(publisher: Publisher, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="memory of the repository"):
        publisher.client(memory=tmp_path / "file").fetch(publisher.now)
    with pytest.raises(UsageError, match="memory of the repository"):
        publisher.client(memory=tmp_path / "file" / "below").fetch(publisher.now)


def test_a_folder_that_takes_no_files(publisher: Publisher) -> None:
    with pytest.raises(UsageError, match="memory of the repository"):
        publisher.client(memory=Path("/proc")).fetch(publisher.now)


def test_no_place_for_scratch(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with pytest.raises(UsageError, match="update of the repository"):
        publisher.client().fetch(publisher.now)


def test_a_full_disk_leaves_the_old_memory(
    publisher: Publisher, releases: Releases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = tmp_path / "memory"
    client = publisher.client(memory=memory)
    client.fetch(publisher.now)
    before = (memory / "repository.json").read_bytes()
    publisher.publish(releases[1])

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("blindllama._own_file.os.fsync", full)
    with pytest.raises(UsageError, match="No space left"):
        client.fetch(publisher.now)
    assert (memory / "repository.json").read_bytes() == before
    assert len(list(memory.iterdir())) == 2


def test_processes_at_once_undo_nothing(
    publisher: Publisher, releases: Releases, server: RepositoryServer, tmp_path: Path
) -> None:
    memory = tmp_path / "memory"
    clients = [start(publisher, server.url, memory, times=15) for _ in range(2)]
    seen = [clients[0].stdout.readline() if clients[0].stdout else ""]
    publisher.publish(releases[1])
    for process in clients:
        out, _ = process.communicate(timeout=60)
        numbers = [int(line) for line in out.split()]
        assert process.returncode == 0
        assert numbers == sorted(numbers)
        seen += out.split()
    assert set(map(int, seen)) <= {1, 2}
    assert content(memory)["sequence"] == 2
    assert publisher.client(memory=memory).fetch(publisher.now).listing.newest == 2


@pytest.mark.parametrize(
    ("name", "remembered"), [("timestamp.json", 0), ("targets.json", 0), ("evidence.json", 2)]
)
def test_killed_in_the_middle_of_an_update(
    publisher: Publisher,
    releases: Releases,
    server: RepositoryServer,
    tmp_path: Path,
    name: str,
    remembered: int,
) -> None:
    """The lock dies with its process, and the memory is the old one or the new."""
    memory = tmp_path / "memory"
    publisher.client(memory=memory).fetch(publisher.now)
    publisher.publish(releases[1])
    reached = threading.Event()

    def hang(_handler: BaseHTTPRequestHandler, _data: bytes) -> None:
        reached.set()
        server.gone.wait()

    server.quirks[name] = hang
    with start(publisher, server.url, memory) as process:
        assert reached.wait(30)
        process.send_signal(signal.SIGKILL)
    assert content(memory)["sequence"] == (remembered or 1)
    del server.quirks[name]
    again = Repository(server.url, root=publisher.trusted_root, memory=memory)
    assert again.fetch(publisher.now).listing.newest == 2


def test_a_client_waits_for_another_and_not_for_ever(
    publisher: Publisher,
    server: RepositoryServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("blindllama._release.repository_memory._MARGIN_S", 0.0)
    memory = tmp_path / "memory"
    reached, go_on = threading.Event(), threading.Event()

    def wait(handler: BaseHTTPRequestHandler, data: bytes) -> None:
        reached.set()
        go_on.wait()
        answer(handler, data)

    server.quirks["timestamp.json"] = wait
    with start(publisher, server.url, memory) as process:
        assert reached.wait(30)
        impatient = Repository(
            server.url, root=publisher.trusted_root, memory=memory, timeout_s=0.1
        )
        with pytest.raises(UsageError, match="another client has held"):
            impatient.fetch(publisher.now)
        go_on.set()
        assert process.communicate(timeout=60)[0] == "1\n"


def test_a_root_that_was_learned_is_kept(publisher: Publisher, tmp_path: Path) -> None:
    """S6: it is verified again from the caller's root each time, and never trusted by itself."""
    memory = tmp_path / "memory"
    publisher.client(memory=memory).fetch(publisher.now)
    other = Publisher(root=tmp_path / "other", now=publisher.now)
    other.root.mkdir()
    other.init()
    foreign = publisher.client(memory=memory, root=other.trusted_root)
    refused(lambda: foreign.fetch(publisher.now), Code.REPOSITORY_SIGNATURE)


def test_clock_contract(publisher: Publisher) -> None:
    """The one private name of the tuf library that is used: its time is the caller's, both ways."""
    client = publisher.client()
    past = datetime.fromisoformat("2020-01-01T00:00:00+00:00")
    assert client.fetch(past).listing.newest == 1
    late = publisher.now + timedelta(days=7)
    refused(lambda: client.fetch(late), Code.REPOSITORY_EXPIRED)
