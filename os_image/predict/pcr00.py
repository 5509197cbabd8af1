"""PCR 0: the firmware's code.

Extended by: OVMF itself. Bytes:
1. the firmware's version: OVMF 2022.11 gives the empty UTF-16 text, two zero bytes;
2. the PEI volume as it lies in memory when it is measured. Its modules have written into their
   own data by then: about 20 bytes depend on the number of CPUs and the size of low memory, so
   this one digest is a golden value of the machine profile;
3. the DXE volume, exactly as it is inside the code image;
4. the separator.

Source: TCG PC Client Platform Firmware Profile 1.06, "PCR Usage", PCR[0], EV_S_CRTM_VERSION and
EV_EFI_PLATFORM_FIRMWARE_BLOB; EDK II, SecurityPkg/Tcg/Tcg2Pei (MeasureCRTMVersion,
MeasureFvImage).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blindllama.measurements import Component
from os_image.predict.bank import FIRMWARE_PROFILE, Event, event_of, separator

if TYPE_CHECKING:
    from os_image.predict.firmware import FirmwareVolumes

INDEX = 0

_VERSION = bytes(2)
_BLOB = f"{FIRMWARE_PROFILE}, EV_EFI_PLATFORM_FIRMWARE_BLOB"


def events(firmware: FirmwareVolumes, pei_volume: bytes) -> tuple[Event, ...]:
    """The extends of PCR 0, in order.

    Args:
        firmware: The volumes inside OVMF's code image.
        pei_volume: The golden digest (32 bytes) of the PEI volume on this machine profile.
    """
    return (
        event_of(
            INDEX,
            _VERSION,
            what="firmware version (empty)",
            source=f"{FIRMWARE_PROFILE}, EV_S_CRTM_VERSION",
            component=Component.FIRMWARE,
        ),
        Event(
            pcr=INDEX,
            digest=pei_volume,
            what="firmware volume PEIFV, golden for this machine profile",
            source=_BLOB,
            component=Component.FIRMWARE,
        ),
        event_of(
            INDEX,
            firmware.dxe,
            what="firmware volume DXEFV",
            source=_BLOB,
            component=Component.FIRMWARE,
        ),
        separator(INDEX),
    )
