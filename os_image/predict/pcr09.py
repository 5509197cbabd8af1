"""PCR 9: what the kernel was really given: its command line and its initrd.

Extended by: the kernel's EFI stub. Bytes:
1. the command line in UTF-16LE with a terminating NUL character;
2. the initrd as systemd-stub composes it: the `.initrd` section, padded to four bytes, and an
   archive with the UKI's os-release.

Anything that a host or an attacker puts in front of the kernel through the stub, such as SMBIOS
command line extras, credentials or add-ons, changes this register.

Source: Linux 6.12, drivers/firmware/efi/libstub/efi-stub-helper.c (efi_measure_tagged_event,
LOADED_IMAGE::LoadOptions and "Linux initrd"); systemd 257, src/boot/stub.c and src/boot/cpio.c;
Linux, Documentation/driver-api/early-userspace/buffer-format.rst ("newc" archives).
"""

from __future__ import annotations

from blindllama.measurements import Component
from os_image.pe import section
from os_image.predict.bank import Event, PredictionError, event_of

INDEX = 9

_DIRECTORY = 0o040555
_FILE = 0o100444
_FIRST_INODE = 1
_TRAILER = b"070701%032d00000001%048d0000000B%08dTRAILER!!!\0\0\0\0" % (0, 0, 0)
"""The end mark, a constant of the stub: its one B is a capital, unlike the digits elsewhere."""


def events(uki: bytes) -> tuple[Event, ...]:
    """The extends of PCR 9, in order.

    Args:
        uki: The unified kernel image, the whole PE file.

    Raises:
        PeFormatError: A section is missing.
        PredictionError: The stub would rewrite the command line.
    """
    source = "Linux 6.12, efi-stub-helper.c, efi_measure_tagged_event"
    return (
        event_of(
            INDEX,
            load_options(section(uki, ".cmdline").content),
            what="kernel command line",
            source=source,
            component=Component.COMMAND_LINE,
            text=section(uki, ".cmdline").content.decode("ascii"),
        ),
        event_of(
            INDEX,
            composed_initrd(section(uki, ".initrd").content, section(uki, ".osrel").content),
            what="initrd with what systemd-stub appends",
            source=source,
            component=Component.INITRD,
        ),
    )


def load_options(cmdline: bytes) -> bytes:
    """The command line as the kernel's EFI stub receives it: UTF-16LE and a NUL character.

    Args:
        cmdline: Content of the `.cmdline` section.

    Raises:
        PredictionError: It is not printable ASCII, or has spaces at an end, and the stub would
            change it.
    """
    text = cmdline.decode("ascii", errors="replace")
    if not (text.isascii() and text.isprintable()) or text != text.strip():
        raise PredictionError(
            f"kernel command line: expected trimmed printable ASCII, got {text!r}"
        )
    return (text + "\0").encode("utf-16-le")


def composed_initrd(initrd: bytes, os_release: bytes) -> bytes:
    """The `.initrd` section, padded to four bytes, and systemd-stub's archive of the os-release."""
    return _padded(initrd) + _stub_archive(os_release)


def _stub_archive(os_release: bytes) -> bytes:
    return (
        _entry(".extra", b"", mode=_DIRECTORY, inode=_FIRST_INODE)
        + _entry(".extra/os-release", os_release, mode=_FILE, inode=_FIRST_INODE + 1)
        + _TRAILER
    )


def _entry(name: str, content: bytes, *, mode: int, inode: int) -> bytes:
    encoded = name.encode("ascii") + b"\0"
    links, nothing = 1, 0
    fields = (
        inode,
        mode,
        nothing,  # owner
        nothing,  # group
        links,
        nothing,  # time of modification
        len(content),
        nothing,  # device, major
        nothing,  # device, minor
        nothing,  # special device, major
        nothing,  # special device, minor
        len(encoded),
        nothing,  # checksum, unused in this format
    )
    header = b"070701" + b"".join(b"%08x" % field for field in fields)
    return _padded(header + encoded) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
