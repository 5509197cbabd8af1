"""PCR 12: what could be added to the kernel command line from outside the UKI. Nothing is.

systemd-stub would extend it with load options, with add-ons and credentials found on the ESP, and
with `io.systemd.stub.kernel-cmdline-extra` of the SMBIOS tables. So it stays zero, and a verifier
that demands zero refuses all of these.

Source: systemd 257, systemd-stub(7), "TPM PCR Notes"; UAPI Linux TPM PCR Registry, PCR 12.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from os_image.predict.bank import Event

INDEX = 12


def events() -> tuple[Event, ...]:
    """No extends: the register keeps 32 zero bytes."""
    return ()
