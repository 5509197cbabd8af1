"""PCR 4: the programs that the firmware starts.

Extended by: OVMF. Bytes:
1. the text that says that a boot option is tried. There is one event of this kind because the OS
   disk is the first option and succeeds; a failed attempt before it would add events;
2. the separator;
3. the Authenticode digest of the UKI, found at the removable-media path of the OS disk;
4. the Authenticode digest of the kernel inside the UKI, which systemd-stub hands to the firmware's
   loader a second time. With Secure Boot on, this event is missing: the stub, itself found good by
   its signature, answers for the kernel in the firmware's place, and the firmware's own handler,
   which would measure it, is not asked. The kernel is in the UKI's digest in any case.

Source: TCG PC Client Platform Firmware Profile 1.06, "PCR Usage", PCR[4], EV_EFI_ACTION and
EV_EFI_BOOT_SERVICES_APPLICATION; EDK II, SecurityPkg DxeTpm2MeasureBootLib; systemd 257,
src/boot/linux.c (linux_exec) and src/boot/secure-boot.c (install_security_override).
"""

from __future__ import annotations

from blindllama.measurements import Component
from os_image.pe import authenticode_sha256, section
from os_image.predict.bank import FIRMWARE_PROFILE, Event, event_of, separator

INDEX = 4

BOOT_ATTEMPT = b"Calling EFI Application from Boot Option"
"""Event text without a terminating NUL: what is hashed."""

_APPLICATION = f"{FIRMWARE_PROFILE}, EV_EFI_BOOT_SERVICES_APPLICATION"


def events(uki: bytes, *, secure_boot: bool = False) -> tuple[Event, ...]:
    """The extends of PCR 4, in order.

    Args:
        uki: The unified kernel image, the whole PE file.
        secure_boot: Whether the firmware checks signatures.

    Raises:
        PeFormatError: It, or the kernel inside it, is not a PE image.
    """
    kernel = section(uki, ".linux").content
    started = (
        event_of(
            INDEX,
            BOOT_ATTEMPT,
            what="attempt to boot the first option",
            source=f"{FIRMWARE_PROFILE}, EV_EFI_ACTION",
            component=Component.BOOT_STEPS,
        ),
        separator(INDEX),
        Event(
            pcr=INDEX,
            digest=authenticode_sha256(uki).bytes,
            what="unified kernel image, Authenticode",
            source=_APPLICATION,
            component=Component.BOOT_IMAGE,
        ),
    )
    inner = Event(
        pcr=INDEX,
        digest=authenticode_sha256(kernel).bytes,
        what="Linux kernel inside the UKI, Authenticode",
        source=_APPLICATION,
        component=Component.KERNEL,
    )
    return started if secure_boot else (*started, inner)
