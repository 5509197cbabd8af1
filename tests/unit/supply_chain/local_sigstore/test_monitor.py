"""A watcher of the log: what it believes, what it remembers, what it refuses."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sigstore.dsse import Statement
from sigstore.sign import SigningContext

from supply_chain.digest import sha256_bytes
from supply_chain.errors import FetchError
from supply_chain.local_sigstore import running
from supply_chain.local_sigstore.checkpoint import Checkpoint
from supply_chain.local_sigstore.log_reader import Leaf, LogReader, _entries_path, reader_of
from supply_chain.local_sigstore.monitor import (
    Found,
    LogError,
    Look,
    entries_of,
    log_of,
    look,
    trusted_logs,
)
from tests.simulators.sigstore_client import IDENTITY, STATEMENT

if TYPE_CHECKING:
    from supply_chain.local_sigstore.trust_root import LogVersion

OTHER = "somebody@else.example"


def sign(state: Path, *names: str, identity: str = IDENTITY, version: LogVersion = 1) -> None:
    with running(state, log_version=version) as instance:
        context = SigningContext.from_trust_config(instance.trust_config)
        with context.signer(instance.identity_token(identity)) as signer:
            for name in names:
                signer.sign_artifact(name.encode())


def watch(state: Path, memory: Path, version: LogVersion = 1) -> Look:
    with running(state) as instance:
        log = log_of(trusted_logs(instance.trusted_root_json), version)
        return look(reader_of(instance.url, version), log, memory)


def listed(state: Path, memory: Path, identity: str, version: LogVersion = 1) -> list[Found]:
    with running(state) as instance:
        log = log_of(trusted_logs(instance.trusted_root_json), version)
        reader = reader_of(instance.url, version)
        return entries_of(reader, look(reader, log, memory).now, identity)


@pytest.mark.parametrize("version", [1, 2])
def test_a_log_that_grew_is_believed(tmp_path: Path, version: LogVersion) -> None:
    state, memory = tmp_path / "state", tmp_path / "memory"
    assert watch(state, memory, version).before is None
    sign(state, "one", "two", version=version)
    second = watch(state, memory, version)
    assert second.before is not None
    assert (second.before.size, second.now.size) == (1, 3)
    sign(state, "three", version=version)
    third = watch(state, memory, version)
    assert third.before == second.now
    assert watch(state, memory, version).before == third.now


@pytest.mark.parametrize("version", [1, 2])
def test_a_log_that_was_shortened_is_refused(tmp_path: Path, version: LogVersion) -> None:
    sign(tmp_path / "state", "one", version=version)
    shutil.copytree(tmp_path / "state", tmp_path / "older")
    sign(tmp_path / "state", "two", version=version)
    seen = watch(tmp_path / "state", tmp_path / "memory", version)
    with pytest.raises(LogError, match="was shortened: it has 2 entries and had 3") as raised:
        watch(tmp_path / "older", tmp_path / "memory", version)
    assert raised.value.code == "build.log"
    # What was remembered still stands: the shortened log is refused again, the whole one is not.
    assert watch(tmp_path / "state", tmp_path / "memory", version).before == seen.now


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("more", [(), ("also",)])
def test_a_log_that_was_forked_is_refused(
    tmp_path: Path, version: LogVersion, more: tuple[str, ...]
) -> None:
    sign(tmp_path / "state", "one", version=version)
    shutil.copytree(tmp_path / "state", tmp_path / "fork")
    sign(tmp_path / "state", "two", version=version)
    sign(tmp_path / "fork", "another two", *more, version=version)
    watch(tmp_path / "state", tmp_path / "memory", version)
    with pytest.raises(LogError, match="was forked: its (first )?3 entries are not") as raised:
        watch(tmp_path / "fork", tmp_path / "memory", version)
    assert raised.value.code == "build.log"


def test_a_checkpoint_of_another_key_is_refused(tmp_path: Path) -> None:
    sign(tmp_path / "state", "one")
    with running(tmp_path / "other") as stranger:
        log = log_of(trusted_logs(stranger.trusted_root_json), 1)
    with (
        running(tmp_path / "state") as instance,
        pytest.raises(LogError, match="no signature of the log"),
    ):
        look(reader_of(instance.url, 1), log, tmp_path)
    assert not list(tmp_path.glob("*.checkpoint"))


def test_a_memory_that_was_edited_is_refused(tmp_path: Path) -> None:
    sign(tmp_path / "state", "one")
    watch(tmp_path / "state", tmp_path / "memory")
    (path,) = (tmp_path / "memory").glob("*.checkpoint")
    path.write_text(path.read_text().replace("\n2\n", "\n1\n", 1))
    with pytest.raises(LogError, match=r"\.checkpoint: checkpoint: the log's signature"):
        watch(tmp_path / "state", tmp_path / "memory")


@pytest.mark.parametrize("version", [1, 2])
def test_an_identity_s_entries_are_listed(tmp_path: Path, version: LogVersion) -> None:
    state = tmp_path / "state"
    sign(state, "mine", version=version)
    sign(state, "theirs", identity=OTHER, version=version)
    sign(state, "mine too", version=version)
    found = listed(state, tmp_path / "memory", IDENTITY, version)
    assert [entry.index for entry in found] == [1, 3]
    assert [entry.claim.digest_hex for entry in found] == [
        sha256_bytes(b"mine").hex,
        sha256_bytes(b"mine too").hex,
    ]
    assert {entry.identity for entry in found} == {IDENTITY}
    assert [entry.index for entry in listed(state, tmp_path / "memory", OTHER, version)] == [2]
    assert listed(state, tmp_path / "memory", IDENTITY + "x", version) == []


def test_a_statement_is_listed_by_its_digest(tmp_path: Path) -> None:
    with running(tmp_path / "state") as instance:
        context = SigningContext.from_trust_config(instance.trust_config)
        with context.signer(instance.identity_token(IDENTITY)) as signer:
            signer.sign_dsse(Statement(STATEMENT))
    (found,) = listed(tmp_path / "state", tmp_path / "memory", IDENTITY)
    assert (found.claim.kind, found.claim.digest_hex) == (
        "dsse 0.0.1",
        sha256_bytes(STATEMENT).hex,
    )


class Hiding:
    """A log that shows other leaves than those it has signed."""

    def __init__(self, honest: LogReader, leaves: list[Leaf]) -> None:
        self._honest = honest
        self._leaves = leaves

    def checkpoint(self) -> str:
        return self._honest.checkpoint()

    def consistency(self, old: int, new: int) -> list[bytes]:
        return self._honest.consistency(old, new)

    def leaves(self, size: int) -> list[Leaf]:
        return self._leaves[:size]


def test_a_log_that_hides_an_entry_is_refused(tmp_path: Path) -> None:
    sign(tmp_path / "state", "one", "two")
    with running(tmp_path / "state") as instance:
        log = log_of(trusted_logs(instance.trusted_root_json), 1)
        honest = reader_of(instance.url, 1)
        now = look(honest, log, tmp_path / "memory").now
        shown = honest.leaves(now.size)
        shown[2] = replace(shown[2], data=b'{"kind":"genesis","apiVersion":"0.0.1","spec":{}}')
        with pytest.raises(LogError, match="hides or forges some") as raised:
            entries_of(Hiding(honest, shown), now, IDENTITY)
    assert raised.value.code == "build.log"


def test_a_very_large_log_is_not_read(tmp_path: Path) -> None:
    huge = Checkpoint(origin="x", size=100_001, root=bytes(32))
    with pytest.raises(LogError, match="at most 100000 are read"):
        entries_of(Hiding(reader_of("http://127.0.0.1:9", 1), []), huge, IDENTITY)


def test_a_log_that_does_not_answer_is_told() -> None:
    with pytest.raises(FetchError, match="the log cannot be read"):
        reader_of("http://127.0.0.1:9", 1).checkpoint()


def test_an_answer_that_is_no_log_s_is_told(tmp_path: Path) -> None:
    with running(tmp_path) as instance, pytest.raises(FetchError, match="cannot be read: 404"):
        reader_of(f"{instance.url}/elsewhere", 2).checkpoint()


def test_a_trust_configuration_names_its_logs_too(tmp_path: Path) -> None:
    with running(tmp_path) as instance:
        assert trusted_logs(instance.trust_config_json) == trusted_logs(instance.trusted_root_json)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"tlogs":[{}]}', '{"tlogs":[7]}'])
def test_a_trusted_root_without_logs_is_refused(text: str) -> None:
    with pytest.raises(LogError, match="expected one with logs") as raised:
        trusted_logs(text)
    assert raised.value.code == "build.log"


def test_exactly_one_log_of_a_version_is_watched(tmp_path: Path) -> None:
    with running(tmp_path) as instance:
        logs = trusted_logs(instance.trusted_root_json)
    for some in ([logs[0], logs[0]], [logs[1]]):
        with pytest.raises(LogError, match="expected one log of version 1"):
            log_of(some, 1)


@pytest.mark.parametrize(
    ("number", "width", "path"),
    [
        (0, 256, "000"),
        (7, 3, "007.p/3"),
        (1067, 256, "x001/067"),
        (1234067, 256, "x001/x234/067"),
    ],
)
def test_a_tile_s_path_is_in_groups_of_three_digits(number: int, width: int, path: str) -> None:
    assert _entries_path(number, width) == f"/api/v2/tile/entries/{path}"
