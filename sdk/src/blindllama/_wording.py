"""How measured parts are called in front of people, and how two of them differ."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from blindllama._printable import printable
from blindllama.measurements import Component

if TYPE_CHECKING:
    from collections.abc import Mapping

    from blindllama.measurements import ExpectedEvent

__all__ = ["part_name", "rank", "text_difference"]

_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        Component.FIRMWARE: "the firmware",
        Component.BOOT_OPTIONS: "the firmware's list of devices to boot from",
        Component.SECURE_BOOT: "the Secure Boot settings",
        Component.PARTITIONS: "the partition table of the system disk",
        Component.BOOT_IMAGE: "the boot image (kernel, command line and initrd in one file)",
        Component.KERNEL: "the Linux kernel",
        Component.COMMAND_LINE: "the kernel's command line, which names the root file system",
        Component.INITRD: "the initial RAM disk (initrd)",
        Component.OS_RELEASE: "the operating system's description (os-release)",
        Component.APP_DISK: "the application disk (the model and its server)",
        Component.SEAL: "the seal that is set before the application starts",
        Component.BOOT_STEPS: "the course of the boot",
    }
)

_LEAST_TELLING: Final = (Component.PARTITIONS, Component.BOOT_IMAGE, Component.BOOT_STEPS)
"""They change whenever something inside or before them does, which then tells more."""

_LONGEST_TEXT: Final = 300
_MOST_CHANGES: Final = 4


def part_name(event: ExpectedEvent) -> str:
    """Return what the event is about, for people; the release's own words for an unknown part."""
    return _NAMES.get(event.component or "", event.what)


def rank(component: str | None) -> int:
    """Return how little the part tells about a cause; the lowest is the one to speak of first."""
    return _LEAST_TELLING.index(Component(component)) + 1 if component in _LEAST_TELLING else 0


def text_difference(expected: str | None, got: str | None) -> str | None:
    """Return which words or fields of a readable part differ; None where that is not known."""
    if expected is None or got is None or expected == got:
        return None
    wanted, found = _fields(expected), _fields(got)
    changes = [
        f"{_shown(name)}: {_shown(found.get(name))} in place of {_shown(wanted.get(name))}"
        for name in (*wanted, *(name for name in found if name not in wanted))
        if wanted.get(name) != found.get(name)
    ]
    told = "; ".join(changes[:_MOST_CHANGES]) + ("; …" if changes[_MOST_CHANGES:] else "")
    return told or "the same words in another order"


def _fields(text: str) -> Mapping[str, str]:
    """Return the fields of a JSON object, or the words of a command line by what is before `=`."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict):
        return {str(name): str(value) for name, value in document.items()}
    words = (word.partition("=") for word in text.split())
    return {name: value if sign else "present" for name, sign, value in words}


def _shown(value: str | None) -> str:
    return "nothing" if value is None else printable(value, _LONGEST_TEXT)
