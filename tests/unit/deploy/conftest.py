"""Real programs where they are installed, and firmware of a few bytes to run in QEMU."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deploy.qemu.machine import HOST_TOOLS, Firmware
from deploy.qemu.vtpm import ProvisionedTpm, provision

NOW = datetime(2026, 1, 1, tzinfo=UTC)

FLASH_BYTES = 1 << 20
RESET_VECTOR = FLASH_BYTES - 16
"""Where an x86 processor begins: 16 bytes below the end of the flash."""
HALT = b"\xf4\xeb\xfd"
"""hlt; jump back to it."""
RESET = bytes.fromhex("baf90cb006ee")
"""mov dx,0xcf9; mov al,6; out dx,al: the chipset's reset."""


@pytest.fixture(scope="session")
def host_tools() -> None:
    """Skip where a program that this room starts is missing, and name it."""
    missing = [name for name in HOST_TOOLS if shutil.which(name, path="/usr/sbin:/usr/bin") is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")


@pytest.fixture(scope="session")
def tpm_state(tmp_path_factory: pytest.TempPathFactory, host_tools: None) -> Path:
    """A workspace's state with a provisioned TPM in it."""
    state = tmp_path_factory.mktemp("state")
    provision(state, now=NOW)
    return state


@pytest.fixture(scope="session")
def tpm(tpm_state: Path) -> ProvisionedTpm:
    return provision(tpm_state, now=NOW)


@pytest.fixture
def blank_disk(tmp_path: Path) -> Path:
    disk = tmp_path / "blank.img"
    disk.write_bytes(bytes(1 << 20))
    return disk


def make_firmware(folder: Path, code: bytes) -> Firmware:
    """A flash image whose first instructions are these."""
    image = folder / "code.fd"
    image.write_bytes(b"\xf4" * RESET_VECTOR + code.ljust(16, b"\xf4"))
    variables = folder / "vars.fd"
    variables.write_bytes(b"\xff" * (128 << 10))
    return Firmware(code=image, variables=variables)
