"""in-toto statements: what is claimed about which files, as the bytes that are signed.

The bytes are made with the standard library's JSON, never through protobuf, whose `Struct` turns
every integer into a float. Keys are sorted and there is no white space, so that one statement has
one form and one digest.

Source: in-toto attestation framework, spec/v1 (Statement, ResourceDescriptor).
"""

from __future__ import annotations

import json
from datetime import UTC
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer

from blindllama.measurements import MEASUREMENTS_TYPE, MeasurementsPredicate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supply_chain.digest import Sha256

RELEASE_INDEX_TYPE = "https://blindllama.dev/attestation/release-index/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
"""The payload type of every DSSE envelope around an in-toto document."""

Timestamp = Annotated[
    AwareDatetime,
    PlainSerializer(lambda moment: moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")),
]
"""A time in UTC, to the second, as RFC 3339 writes it."""


class Wire(BaseModel):
    """A part of a statement; its Python names become the wire's camelCase."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)


class Digest(Wire):
    """A digest set with one member."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    @classmethod
    def of(cls, digest: Sha256) -> Self:
        """The digest set of a digest."""
        return cls(sha256=digest.hex)


class Resource(Wire):
    """A named file or document with its digest: a subject, a dependency or a by-product."""

    name: Annotated[str, Field(min_length=1)]
    digest: Digest


class Statement(Wire):
    """A predicate about subjects."""

    type_: Annotated[Literal["https://in-toto.io/Statement/v1"], Field(alias="_type")] = (
        "https://in-toto.io/Statement/v1"
    )
    subject: Annotated[tuple[Resource, ...], Field(min_length=1)]
    predicate_type: Annotated[str, Field(alias="predicateType")]
    predicate: dict[str, Any]

    def to_bytes(self) -> bytes:
        """The bytes to sign."""
        return canonical(self.model_dump(by_alias=True, mode="json"))


class ReleaseIndexPredicate(Wire):
    """Which release the subjects make up, how new it is, and until when it may be used."""

    version: Literal[1] = 1
    name: Annotated[str, Field(min_length=1)]
    sequence: Annotated[int, Field(ge=1)]
    created: Timestamp
    expires: Timestamp
    revoked: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Sequence numbers of earlier releases that must no longer be used."""


def measurements_statement(
    subjects: Mapping[str, Sha256], predicate: MeasurementsPredicate
) -> Statement:
    """The statement that a guest of these disks has these PCRs.

    Args:
        subjects: The two disks, by their product names.
        predicate: What is measured; the layout's digest in it is that of the payload inside its
            envelope, and a provenance's digest that of the statement inside its bundle.
    """
    return Statement(
        subject=resources(subjects),
        predicate_type=MEASUREMENTS_TYPE,
        predicate=predicate.model_dump(mode="json", exclude_none=True, by_alias=True),
    )


def index_statement(files: Mapping[str, Sha256], predicate: ReleaseIndexPredicate) -> Statement:
    """The statement that these files, by their paths in the release folder, are the release."""
    return Statement(
        subject=resources(files),
        predicate_type=RELEASE_INDEX_TYPE,
        predicate=predicate.model_dump(mode="json", by_alias=True),
    )


def resources(digests: Mapping[str, Sha256]) -> tuple[Resource, ...]:
    """The named digests as resources, sorted by name."""
    return tuple(
        Resource(name=name, digest=Digest.of(digest)) for name, digest in sorted(digests.items())
    )


def canonical(document: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """The one form of a JSON document: sorted keys, no white space, UTF-8."""
    return json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()
