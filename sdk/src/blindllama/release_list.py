"""What a repository says about its releases, and how its files are called.

The list says which release is the newest and which were taken back. Its signatures, its age and its
version are the business of TUF; here is what it means.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from blindllama._strict_json import canonical_json, parse_json, parse_model

__all__ = ["POLICY_FILE", "RELEASES_FILE", "Listing", "ReleaseList", "evidence_file"]

RELEASES_FILE: Final = "releases.json"
POLICY_FILE: Final = "policy.toml"

_STEP = 4
LIST_LIMIT: Final = 1 << 16
"""Most bytes of a list; ten thousand revoked releases take 50 KB."""

_Sequence = Annotated[int, Field(ge=1)]


def evidence_file(sequence: int) -> str:
    """Return the name of a release's evidence in a repository."""
    return f"{sequence}/evidence.json"


class ReleaseList(BaseModel):
    """`releases.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1] = 1
    name: Annotated[str, Field(min_length=1, max_length=200)]
    newest: _Sequence
    """The sequence number of the only release that clients accept."""
    revoked: Annotated[tuple[_Sequence, ...], Field(max_length=10_000)] = ()
    """What was taken back. When the newest is, clients accept none until there is a newer one."""

    def to_bytes(self) -> bytes:
        """Return the list as the JSON that `from_bytes` reads."""
        return canonical_json(self.model_dump(mode="json")) + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the list in the bytes of `releases.json`.

        Raises:
            FormatError: with code `format.*`.
        """
        value = parse_json(data, limit=LIST_LIMIT, step=_STEP, what="list of releases")
        return parse_model(value, cls, step=_STEP, what="list of releases")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A list of releases that a repository's keys have signed, and until when it holds."""

    name: str
    newest: int
    revoked: frozenset[int]
    expires: datetime
    """When the first of the repository's documents expires; the timestamp does within days."""
