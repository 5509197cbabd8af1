"""What can go wrong on the way to Azure; each with a stable reason that docs/azure.md explains."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from supply_chain.errors import BuildError


class Reason(StrEnum):
    """What went wrong, for programs and for the table of remedies in docs/azure.md."""

    NOT_INSTALLED = "azure.not_installed"
    """The optional requirements of this room are not installed."""
    CONFIG = "azure.config"
    """`deploy.toml` is missing, or does not say what it must."""
    NOT_LOGGED_IN = "azure.login"
    """Nobody is logged in, or the login has ended or was refused."""
    SUBSCRIPTION = "azure.subscription"
    """The login has no such subscription."""
    PERMISSION = "azure.permission"
    """Whoever is logged in may not do this."""
    CAPACITY = "azure.capacity"
    """A quota is used up, or the region has no such machine to give."""
    CONFLICT = "azure.conflict"
    """What stands in Azure is in use, or in a state that forbids the request."""
    MISSING = "azure.missing"
    """Something that was there is gone, or something that is named does not exist."""
    REFUSED = "azure.refused"
    """Azure refused a request for a reason that waiting does not mend."""
    UNAVAILABLE = "azure.unavailable"
    """Azure, or the way to it, failed every time that it was asked."""
    FOREIGN = "azure.deploy.foreign"
    """Something of that name exists that this deployment has not made."""
    RELEASE = "azure.deploy.release"
    """The release's folder is no release, or the policy is not one for Azure."""
    DISK = "azure.deploy.disk"
    """Azure did not take what was uploaded for a disk."""
    GUEST = "azure.deploy.guest"
    """The machine runs and does not answer."""
    SIZE = "azure.upload.size"
    """The disk in Azure was made for an image of another size."""
    UNKNOWN_DATA = "azure.upload.unknown_data"
    """The disk in Azure holds data that this upload did not write."""
    ACCESS = "azure.upload.access"
    """The shared access signature is expired, or is not for writing, and no new one was given."""
    UPLOAD_UNAVAILABLE = "azure.upload.unavailable"
    """The disk's storage, or the way to it, failed every time that it was asked."""
    UPLOAD_REFUSED = "azure.upload.refused"
    """The disk's storage refused a request for a reason that waiting does not mend."""


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


_MOST_CHARACTERS = 300


def printable_line(cause: object) -> str:
    """What another program said, as one line that fits into a message and moves no cursor."""
    line = next(iter(str(cause).strip().splitlines()), "")
    kept = "".join(letter if letter.isprintable() else " " for letter in line)
    return kept if len(kept) <= _MOST_CHARACTERS else f"{kept[:_MOST_CHARACTERS]}…"
