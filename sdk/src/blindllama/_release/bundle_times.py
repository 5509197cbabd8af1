"""The parts of a bundle's JSON that tell the time, for bundles that sigstore has parsed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import JsonValue

__all__ = ["log_entries", "stamps_in", "with_times"]


def with_times(document: JsonValue, *, stamps: list[JsonValue], promise: bool) -> JsonValue:
    """Return a bundle that sigstore has parsed with these stamps, with or without the promise."""
    left_out = () if promise else ("inclusionPromise", "integratedTime")
    entries: list[JsonValue] = [
        {key: value for key, value in entry.items() if key not in left_out}
        for entry in log_entries(document)
    ]
    times: JsonValue = {"rfc3161Timestamps": stamps}
    material = _field(document, "verificationMaterial")
    return {
        **(document if isinstance(document, dict) else {}),
        "verificationMaterial": {
            **(material if isinstance(material, dict) else {}),
            "tlogEntries": entries,
            "timestampVerificationData": times,
        },
    }


def log_entries(document: JsonValue) -> list[dict[str, JsonValue]]:
    """Return the log entries of a bundle that sigstore has parsed."""
    entries = _field(_field(document, "verificationMaterial"), "tlogEntries")
    listed = entries if isinstance(entries, list) else []
    return [entry for entry in listed if isinstance(entry, dict)]


def stamps_in(document: JsonValue) -> list[JsonValue]:
    """Return the time stamps of a bundle that sigstore has parsed."""
    data = _field(_field(document, "verificationMaterial"), "timestampVerificationData")
    stamps = _field(data, "rfc3161Timestamps")
    return stamps if isinstance(stamps, list) else []


def _field(value: JsonValue, key: str) -> JsonValue:
    return value.get(key) if isinstance(value, dict) else None
