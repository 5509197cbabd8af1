from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deploy.qemu import probe, vm
from deploy.qemu.machine import MachineProfile
from supply_chain.errors import BootError
from tests.unit.deploy.conftest import HALT, NOW, RESET, make_firmware

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from deploy.qemu.vtpm import ProvisionedTpm


@pytest.fixture(scope="session")
def console(checkout: Path) -> bytes:
    """What a real probe boot printed."""
    return (checkout / "tests" / "golden" / "boot" / "probe.console").read_bytes()


def test_a_real_probes_output(console: bytes) -> None:
    probed = probe.parse_probe(console, qemu="7.2.22")
    assert sorted(probed.pcrs) == list(range(16))
    assert probed.pcrs[12] == bytes(32)
    assert probed.pcrs[2].hex().startswith("3d458cfe55cc03ea")
    assert probed.event_log[32:47] == b"Spec ID Event03"


def test_of_two_attempts_on_one_console_the_last_counts(console: bytes) -> None:
    half = console[: len(console) // 2]
    assert probe.parse_probe(half + console, qemu="") == probe.parse_probe(console, qemu="")


@pytest.mark.parametrize(
    "mutate",
    [
        pytest.param(lambda text: text[:0], id="nothing"),
        pytest.param(lambda text: text.replace(b"v1 end", b"v1 en"), id="no end"),
        pytest.param(lambda text: text.replace(b"v1 begin", b"v1 begi"), id="no beginning"),
        pytest.param(lambda text: text.replace(b"pcr 7 ", b"pcr 77 "), id="another register"),
        pytest.param(lambda text: text.replace(b"pcr 15 00", b"pcr 15 0"), id="a short value"),
        pytest.param(lambda text: text.replace(b"\nlog ", b"\nlag "), id="no log"),
        pytest.param(lambda text: text.replace(b"\nlog ", b"\nlog A", 1), id="a damaged log"),
    ],
)
def test_an_incomplete_output_is_refused(console: bytes, mutate: Callable[[bytes], bytes]) -> None:
    with pytest.raises(BootError) as caught:
        probe.parse_probe(mutate(console), qemu="")
    assert caught.value.code == "build.boot"


def kept_file(golden: Path, console: bytes, tmp_path: Path) -> Path:
    """A kept result for the machine of these tests, made from the recorded boot."""
    golden.mkdir()
    firmware = make_firmware(tmp_path, HALT)
    key = probe._key(MachineProfile(), firmware, vm.qemu_version())
    path = golden / f"{key.hex}.json"
    path.write_bytes(probe._serialise(probe.parse_probe(console, qemu=vm.qemu_version())))
    return path


def test_a_kept_result_is_used_without_a_boot(
    tmp_path: Path, console: bytes, tpm: ProvisionedTpm
) -> None:
    golden = tmp_path / "golden"
    kept_file(golden, console, tmp_path)
    probed = probe.probe_boot(
        golden=golden,
        machine=MachineProfile(),
        firmware=make_firmware(tmp_path, HALT),
        probe_disk=tmp_path / "not needed",
        tpm=tpm,
        now=NOW,
    )
    assert probed == probe.parse_probe(console, qemu=vm.qemu_version())


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"qemu":"","pcrs":{"0":"00"},"event_log":""}']
)
def test_a_damaged_kept_result_is_refused(
    tmp_path: Path, console: bytes, tpm: ProvisionedTpm, content: bytes
) -> None:
    golden = tmp_path / "golden"
    kept_file(golden, console, tmp_path).write_bytes(content)
    with pytest.raises(BootError, match="delete it") as caught:
        probe.probe_boot(
            golden=golden,
            machine=MachineProfile(),
            firmware=make_firmware(tmp_path, HALT),
            probe_disk=tmp_path,
            tpm=tpm,
            now=NOW,
        )
    assert caught.value.code == "build.boot"


def test_the_key_depends_on_all_that_is_measured(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    firmware, other = make_firmware(tmp_path, HALT), make_firmware(tmp_path / "other", RESET)
    keys = {
        probe._key(MachineProfile(), firmware, "7.2.22"),
        probe._key(MachineProfile(), firmware, "10.0.0"),
        probe._key(MachineProfile(), other, "7.2.22"),
        probe._key(MachineProfile(cpus=4), firmware, "7.2.22"),
        probe._key(MachineProfile(memory_mib=4096), firmware, "7.2.22"),
    }
    assert len(keys) == 5


def test_a_probe_that_prints_nothing_is_an_error_and_nothing_is_kept(
    tmp_path: Path, blank_disk: Path, tpm: ProvisionedTpm
) -> None:
    golden = tmp_path / "golden"
    with pytest.raises(BootError, match="did not finish"):
        probe.probe_boot(
            golden=golden,
            machine=MachineProfile(cpus=1, memory_mib=512),
            firmware=make_firmware(tmp_path, RESET),
            probe_disk=blank_disk,
            tpm=tpm,
            now=NOW,
        )
    assert not golden.exists()
