"""What a deployment has made in Azure, on this machine's disk: so that it can be removed again.

One line of JSON each: first which deployment, then what happened to which resource. A resource is
written down before Azure is asked for it, so a killed run leaves nothing in Azure that is not
named here; whether such a resource exists, and is ours, its tag in Azure says.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from deploy.azure.errors import AzureError, Reason
from deploy.azure.wanted import kind_of
from supply_chain.digest import sha256_bytes

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from deploy.azure.config import DeployConfig

_VERSION = 1
_BEGUN, _FILLED, _GONE = "begun", "filled", "gone"


def record_path(folder: Path, config: DeployConfig) -> Path:
    """Where a deployment's record is."""
    key = f"{config.subscription}/{config.resource_group.lower()}/{config.name}"
    return folder / f"{config.name}-{sha256_bytes(key.encode()).hex[:16]}.jsonl"


@dataclass(slots=True)
class Record:
    """The record of one deployment, open for writing."""

    _descriptor: int
    made: dict[str, None] = field(default_factory=dict)
    """Identifiers of what this deployment has begun to make and not removed, in that order."""
    filled: set[str] = field(default_factory=set)
    """Those of them that are disks and hold their whole image."""

    @classmethod
    def open(cls, path: Path) -> Self:
        """The record in a file, or a new one.

        Raises:
            AzureError: The file is not a record of this version: what was made is not known.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        record = cls(descriptor)
        data = path.read_bytes()
        # What a torn write has left behind the last line's end is no line.
        whole = data[: data.rfind(b"\n") + 1]
        os.ftruncate(descriptor, len(whole))
        if not whole:
            os.write(descriptor, _line(version=_VERSION))
            return record
        try:
            record.made, record.filled = parse_record(whole)
        except (ValueError, KeyError, TypeError) as exc:
            os.close(descriptor)
            raise AzureError(
                Reason.CONFIG,
                f"{path}: expected a deployment's record, got something else; move it away and "
                "run deploy.azure again: it finds what it made by its tag",
            ) from exc
        return record

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)

    def begin(self, identifier: str) -> None:
        """Azure is about to be asked for this resource, or was found to hold it from us."""
        if identifier not in self.made:
            self._write(_BEGUN, identifier)
            self.made[identifier] = None

    def fill(self, identifier: str) -> None:
        """Azure has confirmed every byte of this disk's image."""
        self._write(_FILLED, identifier)
        self.filled.add(identifier)

    def gone(self, identifier: str) -> None:
        """Azure has confirmed that this resource is no more."""
        self._write(_GONE, identifier)
        self.made.pop(identifier, None)
        self.filled.discard(identifier)

    def _write(self, what: str, identifier: str) -> None:
        os.write(self._descriptor, _line(what=what, id=identifier))
        # Unlike an upload, what is forgotten here would cost money for years.
        os.fsync(self._descriptor)


def parse_record(data: bytes) -> tuple[dict[str, None], set[str]]:
    """What a record says was made and not removed, and which of it is a disk that is filled.

    Raises:
        ValueError, KeyError, TypeError: It is no record.
    """
    head, *lines = data.splitlines()
    if json.loads(head) != {"version": _VERSION}:
        raise ValueError("another version")
    made: dict[str, None] = {}
    filled: set[str] = set()
    for line in lines:
        entry = json.loads(line)
        kind_of(entry["id"])
        match entry["what"]:
            case "begun":
                made[entry["id"]] = None
            case "filled":
                filled.add(entry["id"])
            case "gone":
                made.pop(entry["id"], None)
                filled.discard(entry["id"])
            case other:
                raise ValueError(other)
    return made, filled


def _line(**entry: str | int) -> bytes:
    return json.dumps(entry).encode() + b"\n"
