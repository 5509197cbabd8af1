"""Guests of a few instructions: real QEMU, real swtpm, no operating system."""

from __future__ import annotations

import contextlib
import http.server
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme

from deploy.qemu import running, vm
from deploy.qemu.machine import Accelerator, MachineProfile
from supply_chain.errors import BootError
from supply_chain.progress import SilentProgress
from tests.unit.deploy.conftest import HALT, NOW, RESET, make_firmware

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploy.qemu.vtpm import ProvisionedTpm

SMALL = MachineProfile(cpus=1, memory_mib=512)


class Notes:
    """Progress that remembers what it was told."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)

    def step(self, title: str) -> Notes:
        return self

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "guest"
    yield directory
    vm.down(directory)


def parts(folder: Path, code: bytes, disk: Path, tpm: ProvisionedTpm) -> vm.Parts:
    return vm.Parts(
        machine=SMALL,
        firmware=make_firmware(folder, code),
        os_disk=disk,
        app_disk=disk,
        tpm=tpm,
    )


def test_a_guest_runs_until_it_is_ended(
    home: Path, tmp_path: Path, blank_disk: Path, tpm: ProvisionedTpm
) -> None:
    guest = vm.start(home, parts(tmp_path, HALT, blank_disk, tpm), now=NOW, port=vm.free_port())
    records = [running.read_record(home / name) for name in ("qemu.json", "swtpm.json")]
    processes = [record for record in records if record is not None]
    assert len(processes) == 2
    assert vm.is_running(home)
    assert vm.read_guest(home) == guest
    assert not vm.is_healthy(guest)
    assert vm.down(home)
    assert not any(running.is_alive(process) for process in processes)
    assert not vm.is_running(home)


def test_down_may_be_called_again_and_without_a_guest(
    home: Path, tmp_path: Path, blank_disk: Path, tpm: ProvisionedTpm
) -> None:
    assert not vm.down(home)
    vm.start(home, parts(tmp_path, HALT, blank_disk, tpm), now=NOW, port=None)
    assert [vm.down(home), vm.down(home)] == [True, False]
    assert vm.read_guest(tmp_path / "never") is None
    assert not vm.is_running(tmp_path / "never")


def test_a_second_guest_in_the_same_place_is_refused(
    home: Path, tmp_path: Path, blank_disk: Path, tpm: ProvisionedTpm
) -> None:
    made = parts(tmp_path, HALT, blank_disk, tpm)
    vm.start(home, made, now=NOW, port=None)
    with pytest.raises(BootError, match="a guest is running") as caught:
        vm.start(home, made, now=NOW, port=None)
    assert caught.value.code == "build.boot"
    assert vm.is_running(home)


def test_a_guest_that_never_answers_is_ended_after_one_retry(
    home: Path, tmp_path: Path, blank_disk: Path, tpm: ProvisionedTpm
) -> None:
    notes = Notes()
    with pytest.raises(BootError, match="did not answer within 2 s") as caught:
        vm.boot(
            home,
            parts(tmp_path, HALT, blank_disk, tpm),
            now=NOW,
            timeout_s=2,
            progress=notes,
        )
    assert caught.value.code == "build.boot"
    assert [text.endswith("trying once more") for text in notes.texts] == [True]
    assert not vm.is_running(home)


def test_a_guest_that_resets_itself_is_noticed_at_once(
    home: Path, tmp_path: Path, blank_disk: Path, tpm: ProvisionedTpm
) -> None:
    with pytest.raises(BootError, match="ended before it answered"):
        vm.boot(home, parts(tmp_path, RESET, blank_disk, tpm), now=NOW, timeout_s=60)
    assert running.read_record(home / "qemu.json") is None


def test_qemus_complaint_is_in_the_error(home: Path, tmp_path: Path, tpm: ProvisionedTpm) -> None:
    made = parts(tmp_path, HALT, tmp_path / "no-such-disk.img", tpm)
    with pytest.raises(BootError, match=r"QEMU said: .*no-such-disk"):
        vm.boot(home, made, now=NOW, timeout_s=60)


def test_an_interrupted_start_leaves_nothing_behind(
    home: Path, tmp_path: Path, blank_disk: Path, tpm: ProvisionedTpm
) -> None:
    made = parts(tmp_path, HALT, blank_disk, tpm)
    made.firmware.variables.unlink()
    with pytest.raises(FileNotFoundError):
        vm.start(home, made, now=NOW, port=None)
    assert not vm.is_running(home)
    assert not list(home.glob("*.json")) or vm.read_guest(home) is not None


def test_a_comma_in_the_path_of_a_disk_is_no_option(
    home: Path, tmp_path: Path, blank_disk: Path, tpm: ProvisionedTpm
) -> None:
    odd = blank_disk.rename(tmp_path / "a,readonly=off")
    vm.start(home, parts(tmp_path, HALT, odd, tpm), now=NOW, port=None)
    assert vm.is_running(home)


class _Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 404)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def https_server() -> Iterator[int]:
    """Something that answers like a guest until the block ends; its port."""
    server = http.server.HTTPServer(("127.0.0.1", 0), _Health)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("nobody.example").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_health_is_asked_over_tls_without_trust(tmp_path: Path) -> None:
    with https_server() as port:
        guest = vm.Guest(directory=tmp_path, port=port, started=NOW, sockets=tmp_path)
        assert vm.is_healthy(guest)
    assert not vm.is_healthy(guest)


def test_the_version_of_qemu_is_a_number(host_tools: None) -> None:
    assert all(part.isdigit() for part in vm.qemu_version().split("."))


def test_an_accelerator_is_chosen_by_trying(tmp_path: Path, host_tools: None) -> None:
    firmware = make_firmware(tmp_path, HALT)
    assert vm.usable_accelerator(firmware) in set(Accelerator)


def test_a_port_that_is_taken_is_refused_before_anything_starts(
    home: Path, tmp_path: Path, blank_disk: Path, tpm: ProvisionedTpm
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BootError, match=f"port {port} .* --port 0") as caught:
            vm.boot(home, parts(tmp_path, HALT, blank_disk, tpm), now=NOW, port=port)
    assert caught.value.code == "build.boot"
    assert not home.exists()


def test_whoever_else_answers_at_the_port_is_not_the_guest(tmp_path: Path) -> None:
    with https_server() as port:
        guest = vm.Guest(directory=tmp_path, port=port, started=NOW, sockets=tmp_path)
        assert vm.is_healthy(guest)
        (tmp_path / "qemu.output").touch()
        with pytest.raises(BootError, match="somebody else answers"):
            vm.wait_until_ready(guest, 5, SilentProgress(), vm.is_healthy)


def test_a_damaged_record_of_a_guest_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "guest.json").write_text("{")
    with pytest.raises(BootError, match="does not describe a guest: delete"):
        vm.read_guest(tmp_path)


_BOOT = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from deploy.qemu import vm, vtpm
from deploy.qemu.machine import Firmware, MachineProfile
home, state, code, variables, disk = map(Path, sys.argv[1:])
now = datetime(2026, 1, 1, tzinfo=UTC)
parts = vm.Parts(
    machine=MachineProfile(cpus=1, memory_mib=512),
    firmware=Firmware(code=code, variables=variables),
    os_disk=disk,
    app_disk=disk,
    tpm=vtpm.provision(state, now=now),
)
vm.boot(home, parts, now=now)
"""


@pytest.mark.parametrize(("how", "left"), [(signal.SIGINT, False), (signal.SIGKILL, True)])
def test_what_an_ended_boot_leaves_can_be_ended(
    home: Path,
    tmp_path: Path,
    blank_disk: Path,
    tpm_state: Path,
    checkout: Path,
    how: signal.Signals,
    left: bool,
) -> None:
    firmware = make_firmware(tmp_path, HALT)
    with subprocess.Popen(
        [
            *(sys.executable, "-c", _BOOT, home, tpm_state),
            *(firmware.code, firmware.variables, blank_disk),
        ],
        cwd=checkout,
        env={"PYTHONPATH": f"{checkout}:{checkout / 'sdk/src'}"},
        stderr=subprocess.DEVNULL,
    ) as booting:
        deadline = time.monotonic() + 30
        while not vm.is_running(home) and time.monotonic() < deadline:
            time.sleep(0.05)
        recorded = [running.read_record(home / name) for name in ("qemu.json", "swtpm.json")]
        booting.send_signal(how)
        booting.wait(30)
    processes = [record for record in recorded if record is not None]
    assert len(processes) == 2
    assert [running.is_alive(process) for process in processes] == [left, left]
    assert vm.down(home) is left
    assert not any(running.is_alive(process) for process in processes)


@pytest.mark.parametrize(
    ("what", "attempts", "boots"),
    [
        ("did not answer within 300 s", 2, 2),
        (f"panicked: {vm.EMULATOR_PANIC}: 0000 [#1]", 2, 3),
        (f"panicked: {vm.EMULATOR_PANIC}: 0000 [#1]", 1, 1),
        ("panicked: device-mapper: verity: block 3 is corrupted", 2, 2),
    ],
)
def test_only_a_panic_of_the_emulator_is_forgiven_once_more(
    what: str, attempts: int, boots: int
) -> None:
    failures = [vm.may_try_again(BootError(what), number, attempts) for number in range(1, 6)]
    assert failures == [True] * (boots - 1) + [False] * (6 - boots)
