"""The PCRs that a release will produce, per platform, from its files alone.

PCRs 2, 3, 4, 5, 7, 9, 11, 12, 13 and 15 come from the artefacts; 0 and 1 need the golden values of
the machine profile. PCRs 6, 8, 10 and 14 are not predicted: 10 follows from 0 to 9 by the kernel's
rule, the others receive nothing that identifies the release.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from blindllama.measurements import (
    ExpectedEvent,
    ExpectedPcrs,
    MachineProfile,
    MeasuredEvent,
    PlatformMeasurements,
    PlatformName,
)
from blindllama.pcr import PcrBank, replay
from os_image.predict import (
    pcr00,
    pcr01,
    pcr02,
    pcr03,
    pcr04,
    pcr05,
    pcr07,
    pcr09,
    pcr11,
    pcr12,
    pcr13,
    pcr15,
)
from os_image.predict.firmware import check_empty_variables, parse_firmware

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from os_image.predict.bank import Event
    from os_image.predict.golden import GoldenPcrs
    from os_image.secure_boot.keys import Certificates


def predict_pcrs(
    *,
    uki: bytes,
    disk: Path,
    firmware_code: bytes,
    firmware_variables: bytes,
    app_descriptor: bytes,
    golden: GoldenPcrs,
) -> ExpectedPcrs:
    """The PCRs of a guest on `qemu-swtpm`, with their events.

    Args:
        uki: The unified kernel image, the whole PE file.
        disk: The image of the OS disk, whose GPT is measured.
        firmware_code: OVMF's code image.
        firmware_variables: OVMF's variable store, which must be empty.
        app_descriptor: The canonical JSON that describes the application disk's verity tree.
        golden: What a probe boot told about this machine profile.

    Raises:
        PeFormatError: The UKI or its kernel is no PE image.
        PredictionError: An artefact has a form that is not understood.
    """
    check_empty_variables(firmware_variables)
    return _expected(
        PlatformName.QEMU_SWTPM,
        {
            pcr00.INDEX: pcr00.events(parse_firmware(firmware_code), golden.pei_volume),
            pcr01.INDEX: pcr01.events(golden.boot_variables),
            pcr02.INDEX: pcr02.events(),
            pcr03.INDEX: pcr03.events(),
            pcr04.INDEX: pcr04.events(uki),
            pcr05.INDEX: pcr05.events(disk),
            pcr07.INDEX: pcr07.events(),
            **_image_events(uki, app_descriptor),
        },
    )


def predict_azure_pcrs(*, uki: bytes, app_descriptor: bytes) -> ExpectedPcrs:
    """The PCRs of a guest on `azure-trusted-launch`, with their events.

    Only what does not depend on Microsoft's firmware: 4, 9, 11, 12, 13 and 15.

    Raises:
        PeFormatError: The UKI or its kernel is no PE image.
        PredictionError: The UKI has a form that is not understood.
    """
    events = {pcr04.INDEX: pcr04.events(uki), **_image_events(uki, app_descriptor)}
    return _expected(PlatformName.AZURE_TRUSTED_LAUNCH, events)


def predict_secure_boot(
    expected: ExpectedPcrs, *, uki: bytes, enrolled: Certificates
) -> ExpectedPcrs:
    """The PCRs of the same machine with keys enrolled and the UKI signed; 4 and 7 differ.

    Args:
        expected: What was predicted for the machine without keys.
        uki: The signed unified kernel image.
        enrolled: The keys; the last of them signed it.

    Raises:
        PeFormatError: The UKI or its kernel is no PE image.
    """
    events = {
        pcr04.INDEX: pcr04.events(uki, secure_boot=True),
        pcr07.INDEX: pcr07.events(enrolled),
    }
    signed = _expected(expected.platform, events)
    return ExpectedPcrs(
        platform=expected.platform,
        bank=expected.bank,
        values=MappingProxyType({**expected.values, **signed.values}),
        events=MappingProxyType({**expected.events, **signed.events}),
    )


def platform_measurements(
    expected: ExpectedPcrs, machine: MachineProfile | None = None
) -> PlatformMeasurements:
    """The wire form of a prediction, for the measurements statement."""
    return PlatformMeasurements(
        bank="sha256",
        pcrs={str(index): value.hex() for index, value in sorted(expected.values.items())},
        machine=machine,
        events={
            str(index): tuple(
                MeasuredEvent(
                    digest=event.digest.hex(),
                    what=event.what,
                    source=event.source,
                    component=event.component,
                    text=event.text,
                )
                for event in events
            )
            for index, events in sorted(expected.events.items())
        },
    )


def _image_events(uki: bytes, app_descriptor: bytes) -> dict[int, tuple[Event, ...]]:
    return {
        pcr09.INDEX: pcr09.events(uki),
        pcr11.INDEX: pcr11.events(uki),
        pcr12.INDEX: pcr12.events(),
        pcr13.INDEX: pcr13.events(),
        pcr15.INDEX: pcr15.events(app_descriptor),
    }


def _expected(platform: PlatformName, events: Mapping[int, tuple[Event, ...]]) -> ExpectedPcrs:
    for index, extends in events.items():
        if any(event.pcr != index for event in extends):
            raise ValueError(f"events of PCR {index}: expected this register only, got another")
    return ExpectedPcrs(
        platform=platform,
        bank=PcrBank.SHA256,
        values=MappingProxyType(
            {index: replay(event.digest for event in events[index]) for index in sorted(events)}
        ),
        events=MappingProxyType(
            {
                index: tuple(
                    ExpectedEvent(
                        digest=event.digest,
                        what=event.what,
                        source=event.source,
                        component=event.component,
                        text=event.text,
                    )
                    for event in events[index]
                )
                for index in sorted(events)
            }
        ),
    )
