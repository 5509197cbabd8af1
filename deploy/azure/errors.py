"""What can go wrong on the way to Azure; each with a stable reason that docs/azure.md explains."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from supply_chain.errors import BuildError


class Reason(StrEnum):
    """What went wrong, for programs and for the table of remedies in docs/azure.md."""

    NOT_INSTALLED = "azure.not_installed"
    """The optional requirements of this room are not installed."""
    SIZE = "azure.upload.size"
    """The disk in Azure was made for an image of another size."""
    UNKNOWN_DATA = "azure.upload.unknown_data"
    """The disk in Azure holds data that this upload did not write."""
    ACCESS = "azure.upload.access"
    """The shared access signature is expired, or is not for writing, and no new one was given."""
    UNAVAILABLE = "azure.upload.unavailable"
    """Azure, or the way to it, failed every time that it was asked."""
    REFUSED = "azure.upload.refused"
    """Azure refused a request for a reason that waiting does not mend."""


class AzureError(BuildError):
    """Something on the way to Azure failed; the text is for people, `reason` for programs."""

    code: ClassVar[str] = "build.azure"

    def __init__(self, reason: Reason, text: str) -> None:
        """Keep the reason, which also ends the message.

        Args:
            reason: What went wrong.
            text: What, what was expected, what was got; and what to do.
        """
        self.reason = reason
        super().__init__(f"{text} [{reason}]")
