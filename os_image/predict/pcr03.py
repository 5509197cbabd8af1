"""PCR 3: configuration of drivers that the firmware loads from option ROMs. There is none.

Extended by: the firmware (OVMF). Bytes: the separator only.

Source: TCG PC Client Platform Firmware Profile 1.06, "PCR Usage", PCR[3] UEFI driver and
application configuration and data.
"""

from __future__ import annotations

from os_image.predict.bank import Event, separator

INDEX = 3


def events() -> tuple[Event, ...]:
    """The extends of PCR 3, in order."""
    return (separator(INDEX),)
