"""What is killed in a running guest comes back, or the guest stops answering; nothing unattested."""

from __future__ import annotations

import http.client
import os
import signal
import ssl
from urllib.parse import urlsplit

import pytest

from blindllama import Error
from deploy.qemu import running, vm
from tests.e2e.inside.inspected import Inspected
from tests.e2e.raw import claimed_evidence, registers
from tests.e2e.waiting import wait_until

pytestmark = pytest.mark.e2e

NONCE = bytes(range(32))
BODY = '{"nonce":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}'
TIMEOUT_S = 120


def attestation_status(url: str) -> tuple[int, str | None]:
    """Status of a demand for evidence, and when to come again."""
    target = urlsplit(url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection(
        str(target.hostname), target.port, timeout=TIMEOUT_S, context=context
    )
    try:
        connection.request("POST", "/attestation", body=BODY)
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.getheader("Retry-After")
    finally:
        connection.close()


def test_the_debug_image_answers_as_its_release_says(inspected: Inspected) -> None:
    """The faults below are what changes."""
    assert "Paris" in inspected.answer()


@pytest.mark.parametrize("unit", ["blindllama-attest.service", "blindllama-ingress.service"])
def test_a_killed_service_comes_back(inspected: Inspected, unit: str) -> None:
    """The same key, the same registers, another process; meanwhile there is no evidence."""
    before, key = inspected.main_pid(unit), claimed_evidence(inspected.guest.url, NONCE).spki
    assert before > 0
    inspected.console.run(f"systemctl kill --signal=KILL {unit}")
    wait_until(lambda: inspected.main_pid(unit) not in {0, before}, f"{unit} to come back")
    wait_until(lambda: vm.is_healthy(inspected.guest), "the guest to answer")
    assert claimed_evidence(inspected.guest.url, NONCE).spki == key
    assert "Paris" in inspected.answer()


def test_without_its_agent_nothing_is_asked_of_the_guest(inspected: Inspected) -> None:
    """A new client gets no evidence and therefore sends no prompt; with the agent, it does."""
    unit = "blindllama-attest.service"
    inspected.console.run(f"systemctl stop {unit}")
    try:
        assert inspected.main_pid(unit) == 0
        assert not vm.is_healthy(inspected.guest)
        assert attestation_status(inspected.guest.url)[0] == http.client.BAD_GATEWAY
        with pytest.raises(Error):
            inspected.connect()
    finally:
        inspected.console.run(f"systemctl start {unit}")
    wait_until(lambda: vm.is_healthy(inspected.guest), "the guest to answer")
    assert "Paris" in inspected.answer()


def test_a_killed_container_comes_back(inspected: Inspected) -> None:
    """Each of the application's processes, one after another; answers stay the model's own."""
    ask = (
        f"{inspected.in_pod(0)} podman ps --filter status=running"
        " --format '{{.Names}} {{.Pid}}' --noheading"
    )
    inspected.console.run("true")
    found = dict(line.split() for line in inspected.console.run(ask).splitlines())
    servers = {name: pid for name, pid in found.items() if "infra" not in name}
    assert servers
    for name, pid in servers.items():
        inspected.console.run(f"kill -KILL {pid}")

        def another(name: str = name, pid: str = pid) -> bool:
            now = dict(line.split() for line in inspected.console.run(ask).splitlines())
            return now.get(name, pid) != pid

        wait_until(another, f"container {name} to come back")
    wait_until(lambda: vm.is_healthy(inspected.guest), "the application to answer")
    assert "Paris" in inspected.answer()


def test_a_slow_tpm_gives_503_and_then_evidence_again(inspected: Inspected) -> None:
    """A TPM that does not answer for longer than a caller is kept waiting."""
    tpm = running.read_record(inspected.guest.directory / "swtpm.json")
    assert tpm is not None
    assert tpm.pid is not None
    before = registers(inspected.guest.url)
    os.kill(tpm.pid, signal.SIGSTOP)
    try:
        assert attestation_status(inspected.guest.url) == (http.client.SERVICE_UNAVAILABLE, "1")
    finally:
        os.kill(tpm.pid, signal.SIGCONT)
    wait_until(lambda: attestation_status(inspected.guest.url)[0] == http.client.OK, "a quote")
    assert registers(inspected.guest.url) == before
    assert "Paris" in inspected.answer()
