"""What a release says that its PCRs will be: the signed wire form, and the expected values.

`MeasurementsPredicate` is the predicate of the statement of type `MEASUREMENTS_TYPE`; its subjects
are the two disks. `ExpectedPcrs` is what the verifier compares a quote with, for one platform.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from blindllama.errors import UsageError
from blindllama.pcr import PCR_COUNT, PcrBank, parse_pcr_index

__all__ = [
    "MEASUREMENTS_TYPE",
    "Component",
    "DigestSet",
    "ExpectedEvent",
    "ExpectedPcrs",
    "MachineProfile",
    "MeasuredEvent",
    "Measurements",
    "MeasurementsPredicate",
    "PcrIndexText",
    "PlatformMeasurements",
    "PlatformName",
    "Sha256Hex",
    "expected_pcrs",
    "measurements_file",
]

MEASUREMENTS_TYPE = "https://blindllama.dev/attestation/measurements/v1"
"""The predicate type of a measurements statement."""


class PlatformName(StrEnum):
    """The platforms on which a release can run. The caller names one; the server never does."""

    QEMU_SWTPM = "qemu-swtpm"
    AZURE_TRUSTED_LAUNCH = "azure-trusted-launch"


class Component(StrEnum):
    """The part of a machine that an extend is about; one part may be in several registers."""

    FIRMWARE = "firmware"
    BOOT_OPTIONS = "boot-options"
    SECURE_BOOT = "secure-boot"
    PARTITIONS = "partitions"
    BOOT_IMAGE = "boot-image"
    """The whole UKI, with kernel, command line and initrd in it."""
    KERNEL = "kernel"
    COMMAND_LINE = "command-line"
    """With the root hash of the root file system in it."""
    INITRD = "initrd"
    OS_RELEASE = "os-release"
    APP_DISK = "app-disk"
    SEAL = "seal"
    BOOT_STEPS = "boot-steps"
    """Fixed texts and separators that each boot of this kind extends."""


_SHA256_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)


def _sha256_hex(text: str) -> str:
    if not _SHA256_HEX.fullmatch(text):
        raise ValueError("expected 64 lowercase hex digits")
    return text


def _pcr_index(text: str) -> str:
    parse_pcr_index(text)
    return text


Sha256Hex = Annotated[str, AfterValidator(_sha256_hex)]
"""A SHA-256 digest on the wire: 64 lowercase hex digits."""

PcrIndexText = Annotated[str, AfterValidator(_pcr_index)]
"""The number of a PCR as JSON and TOML keys hold it."""

_Text = Annotated[str, Field(min_length=1, max_length=4096)]
_Name = Annotated[str, Field(min_length=1, max_length=200)]


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class DigestSet(_Wire):
    """A digest as in-toto writes it, restricted to SHA-256."""

    sha256: Sha256Hex


class MeasuredEvent(_Wire):
    """One predicted extend: its digest, what it measures, and from where that is known."""

    digest: Sha256Hex
    what: _Text
    source: Annotated[str, Field(max_length=4096)]
    component: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")] | None = None
    """A `Component`; a name that this client does not know explains less and breaks nothing."""
    text: Annotated[str, Field(max_length=4096)] | None = None
    """What was hashed, where that is short and can be read: a command line, disk parameters."""


class MachineProfile(_Wire):
    """The virtual machine to which PCRs 0 and 1 belong; an explanation, compared with nothing."""

    cpus: Annotated[int, Field(ge=1)]
    memory_mib: Annotated[int, Field(ge=1)]
    firmware_sha256: Sha256Hex
    qemu: _Text


class PlatformMeasurements(_Wire):
    """The PCRs of one platform."""

    bank: Literal["sha256"]
    pcrs: Annotated[dict[PcrIndexText, Sha256Hex], Field(min_length=1, max_length=PCR_COUNT)]
    machine: MachineProfile | None = None
    events: dict[PcrIndexText, Annotated[tuple[MeasuredEvent, ...], Field(max_length=4096)]] = (
        Field(default_factory=dict)
    )


class MeasurementsPredicate(_Wire):
    """The predicate of a measurements statement, exactly as it is signed."""

    version: Literal[1]
    sequence: Annotated[int, Field(ge=1)]
    debug: bool
    layout: DigestSet
    """Digest of the layout's signed payload (the bytes inside its DSSE envelope)."""
    provenance: Annotated[dict[_Name, DigestSet], Field(min_length=1)]
    """Per step, the digest of the provenance statement (the payload inside its bundle)."""
    platforms: Annotated[dict[_Name, PlatformMeasurements], Field(min_length=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedEvent:
    """One extend that the release predicts, to explain a mismatch. It never decides anything."""

    digest: bytes
    """What is extended: 32 bytes."""
    what: str
    source: str
    component: str | None = None
    """A `Component`, or a name that a newer release uses."""
    text: str | None = None
    """What was hashed, where the release tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedPcrs:
    """The PCR values that a genuine guest of this release has on one platform."""

    platform: PlatformName
    bank: PcrBank
    values: Mapping[int, bytes]
    """PCR index to its value, 32 bytes each; never empty."""
    events: Mapping[int, tuple[ExpectedEvent, ...]]
    """The predicted extends of a PCR, in order, where the release tells them."""

    def __post_init__(self) -> None:
        """Refuse a set that would accept everything, or that holds what no PCR can hold."""
        if not self.values:
            raise UsageError("expected PCRs; expected at least one value; got none")
        for index, value in self.values.items():
            if not 0 <= index < PCR_COUNT or len(value) != self.bank.size_bytes:
                raise UsageError(
                    f"expected value of PCR {index}; "
                    f"expected index 0 to {PCR_COUNT - 1} and {self.bank.size_bytes} bytes; "
                    f"got {len(value)} bytes"
                )


Measurements = Mapping[PlatformName, ExpectedPcrs]
"""Expected PCRs of every platform that a release supports and this SDK knows."""


def measurements_file(*, debug: bool, platforms: Mapping[str, PlatformMeasurements]) -> bytes:
    """Return `measure/measurements.json`, the one product of the step that measures.

    The values that a client compares are in a signed statement; that they are the product of the
    chain's last step, and not the signer's invention, shows by the digest of these bytes. Canonical
    JSON (sorted keys, no white space, ASCII) and a newline.
    """
    wire = {
        name: part.model_dump(mode="json", exclude_none=True) for name, part in platforms.items()
    }
    document = {"version": 1, "debug": debug, "platforms": wire}
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"


def expected_pcrs(platform: PlatformName, wire: PlatformMeasurements) -> ExpectedPcrs:
    """Return the expected PCRs that the signed measurements of one platform state."""
    return ExpectedPcrs(
        platform=platform,
        bank=PcrBank(wire.bank),
        values=MappingProxyType(
            {
                parse_pcr_index(index): bytes.fromhex(value)
                for index, value in sorted(wire.pcrs.items(), key=lambda item: int(item[0]))
            }
        ),
        events=MappingProxyType(
            {
                parse_pcr_index(index): tuple(
                    ExpectedEvent(
                        digest=bytes.fromhex(event.digest),
                        what=event.what,
                        source=event.source,
                        component=event.component,
                        text=event.text,
                    )
                    for event in events
                )
                for index, events in wire.events.items()
            }
        ),
    )
