"""PCR 13: system and configuration extensions that the stub could take from the ESP. None are.

It stays zero, and a verifier that demands zero refuses every extension image.

Source: systemd 257, systemd-stub(7), "TPM PCR Notes"; UAPI Linux TPM PCR Registry, PCR 13.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from os_image.predict.bank import Event

INDEX = 13


def events() -> tuple[Event, ...]:
    """No extends: the register keeps 32 zero bytes."""
    return ()
