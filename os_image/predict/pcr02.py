"""PCR 2: drivers that the firmware loads from option ROMs. There are none.

Extended by: the firmware (OVMF). Bytes: the separator only, because the machine's one device with
an option ROM, the network card, is plugged without it (`romfile=`).

Source: TCG PC Client Platform Firmware Profile 1.06, "PCR Usage", PCR[2] UEFI driver and
application code.
"""

from __future__ import annotations

from os_image.predict.bank import Event, separator

INDEX = 2


def events() -> tuple[Event, ...]:
    """The extends of PCR 2, in order."""
    return (separator(INDEX),)
