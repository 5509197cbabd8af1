"""PCR 11: the parts of the unified kernel image.

Extended by: systemd-stub. Bytes: for each measured section that is present, in the stub's own order
and not in the file's, first its name with a terminating NUL, then its content (as loaded, that is
of the section's virtual size). The boot phases that systemd would add later are masked in the
image, so the value does not depend on when it is read.

Source: systemd 257, src/boot/stub.c (measure_sections) and src/fundamental/uki.c (order);
UAPI Linux TPM PCR Registry, PCR 11.
"""

from __future__ import annotations

from blindllama.measurements import Component
from os_image.pe import sections
from os_image.predict.bank import Event, PredictionError, event_of

INDEX = 11

MEASURED = {
    ".linux": Component.KERNEL,
    ".osrel": Component.OS_RELEASE,
    ".cmdline": Component.COMMAND_LINE,
    ".initrd": Component.INITRD,
    ".uname": Component.KERNEL,
    ".sbat": Component.BOOT_IMAGE,
}
"""The measured sections that our images have, in the stub's order, and what each holds."""
REQUIRED = frozenset(MEASURED) - {".sbat"}

UNMEASURED = frozenset({".text", ".rodata", ".data", ".sdmagic", ".reloc"})
"""The stub itself: PCR 4 has it."""

_SOURCE = "systemd 257, src/boot/stub.c, measure_sections"


def events(uki: bytes) -> tuple[Event, ...]:
    """The extends of PCR 11, in order.

    Args:
        uki: The unified kernel image, the whole PE file.

    Raises:
        PeFormatError: It is not a PE image.
        PredictionError: It has a section twice, lacks one, or has one (microcode, device tree,
            profile, signed policy …) that makes the stub do more than is predicted here.
    """
    found = sections(uki)
    contents = {part.name: part.content for part in found}
    unknown = sorted(contents.keys() - set(MEASURED) - UNMEASURED)
    missing = sorted(REQUIRED - contents.keys())
    if unknown or missing or len(contents) != len(found):
        raise PredictionError(
            f"sections of the UKI: expected {', '.join(MEASURED)} once each, "
            f"got {', '.join(part.name for part in found)}"
        )
    return tuple(
        event_of(
            INDEX,
            data,
            what=f"UKI section {name}, {role}",
            source=_SOURCE,
            component=Component.BOOT_STEPS if role == "name" else MEASURED[name],
        )
        for name in MEASURED
        if name in contents
        for role, data in (("name", name.encode("ascii") + b"\0"), ("content", contents[name]))
    )
