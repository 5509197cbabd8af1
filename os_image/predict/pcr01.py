"""PCR 1: the firmware's boot options.

Extended by: OVMF's boot manager, which enumerates the devices of the machine, writes `BootOrder`
and one `Boot####` per device into its variables, and measures their contents. Bytes: the contents
of these variables, golden for a machine profile since they hold device paths; then the separator.
Disks' contents have no influence.

Source: TCG PC Client Platform Firmware Profile 1.06, "PCR Usage", PCR[1],
EV_EFI_VARIABLE_BOOT; EDK II, SecurityPkg/Tcg/Tcg2Dxe (MeasureAllBootVariables).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blindllama.measurements import Component
from os_image.predict.bank import FIRMWARE_PROFILE, Event, separator

if TYPE_CHECKING:
    from collections.abc import Iterable

INDEX = 1


def events(boot_variables: Iterable[tuple[str, bytes]]) -> tuple[Event, ...]:
    """The extends of PCR 1, in order.

    Args:
        boot_variables: Name and golden digest (32 bytes) of each variable's content, in the order
            in which the firmware measures them.
    """
    measured = tuple(
        Event(
            pcr=INDEX,
            digest=digest,
            what=f"firmware variable {name}, golden for this machine profile",
            source=f"{FIRMWARE_PROFILE}, EV_EFI_VARIABLE_BOOT",
            component=Component.BOOT_OPTIONS,
        )
        for name, digest in boot_variables
    )
    return (*measured, separator(INDEX))
