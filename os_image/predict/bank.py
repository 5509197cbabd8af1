"""What is extended into a PCR, as values.

The arithmetic of a register is not here: it is `blindllama.pcr`, shared with the verifier.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from blindllama.measurements import Component
from blindllama.pcr import PcrBank
from supply_chain.errors import BuildError

FIRMWARE_PROFILE = "TCG PC Client Platform Firmware Profile 1.06"
"""The specification that says which register receives what before the operating system."""

_SEPARATOR = bytes(4)


class PredictionError(BuildError):
    """An artefact has a form whose measurements this code does not know, so none are claimed."""

    code = "predict.unknown_form"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One extend of one register of the sha256 bank."""

    pcr: int
    """The register's index, 0 to 23."""
    digest: bytes
    """The 32 bytes that are extended."""
    what: str
    """The measured thing, for people."""
    source: str
    """The specification or the source file that demands this extend."""
    component: Component
    """The part of the machine that it is about, for explanations."""
    text: str | None = None
    """The measured bytes themselves, where they are short and can be read."""

    def __post_init__(self) -> None:
        """Refuse a digest of another algorithm."""
        size_bytes = PcrBank.SHA256.size_bytes
        if len(self.digest) != size_bytes:
            raise ValueError(
                f"digest of {self.what}: expected {size_bytes} bytes, got {len(self.digest)}"
            )


def event_of(
    pcr: int,
    data: bytes,
    *,
    what: str,
    source: str,
    component: Component,
    text: str | None = None,
) -> Event:
    """The event that extends the SHA-256 of these bytes."""
    return Event(
        pcr=pcr,
        digest=sha256(data).digest(),
        what=what,
        source=source,
        component=component,
        text=text,
    )


def separator(pcr: int) -> Event:
    """The event that ends the firmware's own measurements in PCR 0 to 7: four zero bytes.

    Source: TCG PC Client Platform Firmware Profile 1.06, event type EV_SEPARATOR.
    """
    return event_of(
        pcr,
        _SEPARATOR,
        what="separator: the firmware hands over to what it boots",
        source=f"{FIRMWARE_PROFILE}, EV_SEPARATOR",
        component=Component.BOOT_STEPS,
    )
