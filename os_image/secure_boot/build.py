"""A built OS image, signed: its disk, its machine's variables, and what it will measure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from blindllama.measurements import (
    PlatformMeasurements,
    PlatformName,
    expected_pcrs,
    measurements_file,
)
from os_image.build import BOOT_PATH, DESCRIPTION_NAME, DISK_NAME, UKI_NAME
from os_image.esp import with_esp
from os_image.predict.predict import platform_measurements, predict_secure_boot
from os_image.secure_boot.keys import SecureBootError
from os_image.secure_boot.sign import sign_uki
from os_image.secure_boot.variables import enrolled

if TYPE_CHECKING:
    from os_image.secure_boot.keys import Certificates, SigningKey
    from supply_chain.inputs.locked import LockedInputs

LOCK_SETS = ("tools", "signing", "firmware")
"""The sets of the lock that a signed image needs."""
VARIABLES_NAME = "OVMF_VARS.fd"
MEASUREMENTS_NAME = "measurements.json"
_EMPTY_VARIABLES = "usr/share/OVMF/OVMF_VARS_4M.fd"


def build_signed_image(
    image: Path,
    measurements: Path,
    *,
    key: SigningKey,
    certificates: Certificates,
    inputs: LockedInputs,
    out: Path,
) -> None:
    """Write the signed disk and UKI, the variable store with the keys, and the measurements.

    Args:
        image: The folder that `build_os_image` filled.
        measurements: What was predicted for it without Secure Boot, the step's product.
        key: Who signs.
        certificates: The keys of the machine.
        inputs: The packages; the sets `tools`, `signing` and `firmware` are used.
        out: Where the four files go.

    Raises:
        SecureBootError: What was built is missing or is not what this version writes.
        BuildError: A step failed.
    """
    facts, debug, machine = _read(image, measurements)
    uki = sign_uki((image / UKI_NAME).read_bytes(), key, signing=inputs.tree("signing"))
    (out / UKI_NAME).write_bytes(uki)
    with_esp(
        image / DISK_NAME,
        {BOOT_PATH: uki},
        size_bytes=facts["partitions"][0]["size_bytes"],
        tools=inputs.tree("tools"),
        out=out / DISK_NAME,
    )
    empty = (inputs.tree("firmware").root / _EMPTY_VARIABLES).read_bytes()
    (out / VARIABLES_NAME).write_bytes(enrolled(empty, certificates))
    signed = predict_secure_boot(
        expected_pcrs(PlatformName.QEMU_SWTPM, machine), uki=uki, enrolled=certificates
    )
    wire = platform_measurements(signed, machine.machine)
    (out / MEASUREMENTS_NAME).write_bytes(
        measurements_file(debug=debug, platforms={PlatformName.QEMU_SWTPM.value: wire})
    )


def _read(image: Path, measurements: Path) -> tuple[dict[str, Any], bool, PlatformMeasurements]:
    try:
        facts = json.loads((image / DESCRIPTION_NAME).read_bytes())
        document = json.loads(measurements.read_bytes())
        wire = json.dumps(document["platforms"][PlatformName.QEMU_SWTPM.value])
        machine = PlatformMeasurements.model_validate_json(wire)
        return facts, bool(document["debug"]), machine
    except OSError as exc:
        raise SecureBootError(
            f"{exc.filename} cannot be read: {exc.strerror}; build first: invoke build"
        ) from exc
    except (ValueError, KeyError, TypeError, ValidationError) as exc:
        raise SecureBootError(
            f"{image} and {measurements}: not what this version builds: {exc!r}"
        ) from exc
