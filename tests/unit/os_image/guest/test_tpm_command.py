"""Commands and responses as a software TPM exchanged them, recorded in `tests/golden`."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from os_image.guest import tpm_command
from os_image.guest.errors import TpmError
from os_image.guest.transport import Transport, named_transport

AK, INDEX, NO_INDEX = 0x81000003, 0x01C101D0, 0x01C10000
NONCE = bytes(range(32))
RETRY = struct.pack(">HII", 0x8001, 10, 0x922)

CASES: dict[str, Callable[[Transport], object]] = {
    "read_public": lambda tpm: tpm_command.read_public(tpm, AK),
    "quote": lambda tpm: tpm_command.quote(tpm, AK, NONCE, range(16)),
    "read_pcrs": lambda tpm: tpm_command.read_pcrs(tpm, range(8)),
    "has_handle": lambda tpm: tpm_command.has_handle(tpm, INDEX),
    "read_nv_public": lambda tpm: tpm_command.read_nv_public(tpm, INDEX),
    "read_nv": lambda tpm: tpm_command.read_nv(tpm, INDEX, authority=INDEX, offset=0, size=64),
}


@pytest.fixture(scope="module")
def recorded(checkout: Path) -> dict[str, tuple[bytes, bytes]]:
    document = json.loads((checkout / "tests/golden/tpm-commands.json").read_bytes())
    return {
        name: (base64.b64decode(command), base64.b64decode(response))
        for name, (command, response) in document.items()
    }


@pytest.fixture
def replayed(recorded: dict[str, tuple[bytes, bytes]]) -> Callable[[str], Transport]:
    """A TPM that answers as it did, and takes no other command."""

    def transport(name: str) -> Transport:
        command, response = recorded[name]

        def send(sent: bytes) -> bytes:
            assert sent == command
            return response

        return send

    return transport


def test_what_a_quote_says(replayed: Callable[[str], Transport]) -> None:
    attest, signature = tpm_command.quote(replayed("quote"), AK, NONCE, range(16))
    assert attest[:6] == b"\xffTCG\x80\x18"
    assert NONCE in attest
    # RSASSA with SHA-256, and a signature of 2048 bits.
    assert signature[:6] == bytes.fromhex("0014000b0100")
    assert len(signature) == 6 + 256
    found = tpm_command.parse_attest(attest)
    assert found.pcr_digest == attest[-32:]
    assert (found.reset_count, found.restart_count) == (1, 0)


def test_what_else_is_read(replayed: Callable[[str], Transport]) -> None:
    assert tpm_command.read_public(replayed("read_public"), AK)[:4] == bytes.fromhex("0001000b")
    assert tpm_command.read_pcrs(replayed("read_pcrs"), range(8)) == (bytes(32),) * 8
    public = tpm_command.read_nv_public(replayed("read_nv_public"), INDEX)
    assert public.size_bytes == 2000
    assert public.attributes & tpm_command.NV_AUTHREAD
    assert len(CASES["read_nv"](replayed("read_nv"))) == 64  # type: ignore[arg-type]


def test_whether_an_index_is_there(replayed: Callable[[str], Transport]) -> None:
    """A TPM answers with the first handle from the one that was asked for on."""
    assert tpm_command.has_handle(replayed("has_handle"), INDEX)
    assert not tpm_command.has_handle(replayed("has_no_handle"), NO_INDEX)


def test_an_error_names_the_command_and_the_code(replayed: Callable[[str], Transport]) -> None:
    with pytest.raises(TpmError, match="0x173: expected response code 0, got 0x18b"):
        tpm_command.read_public(replayed("no_such_key"), 0x81000077)


@pytest.mark.parametrize("name", CASES)
def test_a_response_that_is_cut_off_says_nothing_else(
    recorded: dict[str, tuple[bytes, bytes]], name: str
) -> None:
    """Refused, or, where only what nobody reads is missing, the same as the whole one."""
    response = recorded[name][1]
    whole = CASES[name](lambda _: response)
    for size in range(len(response)):
        cut = response[:size]
        with pytest.raises(TpmError):
            CASES[name](lambda _, answer=cut: answer)  # type: ignore[misc]
        # With a header that fits.
        fits = cut[:2] + struct.pack(">I", size) + cut[6:]
        try:
            assert CASES[name](lambda _, answer=fits: answer) == whole  # type: ignore[misc]
        except TpmError:
            continue
        assert size > len(response) - 80


def test_a_busy_tpm_is_asked_again_but_not_for_ever(
    recorded: dict[str, tuple[bytes, bytes]],
) -> None:
    answers = [RETRY, RETRY, recorded["read_pcrs"][1]]
    assert CASES["read_pcrs"](lambda _: answers.pop(0))
    asked: list[bytes] = []

    def busy(command: bytes) -> bytes:
        asked.append(command)
        return RETRY

    with pytest.raises(TpmError, match="got 0x922"):
        CASES["read_pcrs"](busy)
    assert len(asked) == 5


@pytest.mark.parametrize(
    "name", ["", "device:", "swtpm:", "swtpm:host=127.0.0.1", "swtpm:host=h,port=x", "mssim:"]
)
def test_another_way_to_a_tpm_is_refused(name: str) -> None:
    with pytest.raises(TpmError, match="expected device:PATH or swtpm:"):
        named_transport(name)


def test_a_device_is_written_and_read_once(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="absent"):
        named_transport(f"device:{tmp_path / 'absent'}")(b"")
