"""PCR 15: the application disk, then the seal.

Extended by: the guest's measured setup (`os_image/guest/measured_setup`), before it opens the disk
with exactly the parameters that it extends; the seal is extended before the application starts,
so that nothing which runs later can make this register look like another application's.

Bytes:
1. the application's descriptor: canonical JSON of the dm-verity parameters, root hash included;
2. the sentinel, a fixed text.

Source: docs/measurements.md; UAPI Linux TPM PCR Registry, PCR 15 (system identity; the units of
systemd that would extend it with machine-specific values are masked in the image).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blindllama.measurements import Component
from os_image.guest.app_disk import SENTINEL
from os_image.predict.bank import event_of

if TYPE_CHECKING:
    from os_image.predict.bank import Event

INDEX = 15

_SOURCE = "docs/measurements.md, PCR 15"


def events(app_descriptor: bytes) -> tuple[Event, ...]:
    """The extends of PCR 15, in order.

    Args:
        app_descriptor: The canonical JSON that describes the application disk's dm-verity tree.
    """
    return (
        event_of(
            INDEX,
            app_descriptor,
            what="application disk, verity parameters",
            source=_SOURCE,
            component=Component.APP_DISK,
            text=app_descriptor.decode("ascii"),
        ),
        event_of(
            INDEX,
            SENTINEL,
            what="sentinel: the application is sealed",
            source=_SOURCE,
            component=Component.SEAL,
        ),
    )
