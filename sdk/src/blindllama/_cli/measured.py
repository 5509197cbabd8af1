"""Measurements from any file that has them: what a release predicts, or what a machine has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from blindllama._cli.claims import read_claims_file, statement_of
from blindllama._cli.connect import evidence_path
from blindllama._strict_json import parse_json, parse_model
from blindllama.errors import UsageError
from blindllama.evidence import parse_evidence
from blindllama.explain import Machine, told_events
from blindllama.measurements import (
    ExpectedPcrs,
    MeasurementsPredicate,
    PlatformMeasurements,
    PlatformName,
    expected_pcrs,
)
from blindllama.pcr import PcrBank

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Booted", "Predicted", "as_prediction", "read_measured"]

_STEP = 2
_LIMIT = 4 << 20


class _Product(BaseModel):
    """`measurements.json`, the product of the step that measures."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1]
    debug: bool
    platforms: dict[str, PlatformMeasurements]


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """What a release says of its registers; its signatures were not looked at."""

    name: str
    platforms: Mapping[PlatformName, ExpectedPcrs]


@dataclass(frozen=True, slots=True, kw_only=True)
class Booted:
    """What a machine says of its registers; its quote was not looked at."""

    name: str
    machine: Machine


def read_measured(path: Path) -> Predicted | Booted:
    """Return the measurements in a file, or in a release's folder.

    Raises:
        FormatError: it is none of the documents that have measurements.
        UsageError: it cannot be read.
    """
    file = evidence_path(path)
    data = read_claims_file(file)
    document: Any = parse_json(data, limit=_LIMIT, step=_STEP, what="file")
    if not isinstance(document, dict):
        raise UsageError(f"{file}; expected a release's or a guest's evidence, or measurements")
    if "layout" in document and "measurements" in document:
        statement = statement_of(document["measurements"])
        predicate = parse_model(
            statement.get("predicate"), MeasurementsPredicate, step=_STEP, what="measurements"
        )
        return _predicted(f"release {predicate.sequence}", predicate.platforms)
    if "platforms" in document:
        product = parse_model(document, _Product, step=_STEP, what="measurements")
        return _predicted(file.name, product.platforms)
    evidence = parse_evidence(data)
    return Booted(
        name=file.name,
        machine=Machine(
            values=evidence.pcrs, event_log=evidence.event_log, app_events=evidence.app_events
        ),
    )


def as_prediction(booted: Booted, platform: PlatformName) -> ExpectedPcrs:
    """Return what a machine has as if somebody had predicted it, to compare another with it."""
    machine = booted.machine
    return ExpectedPcrs(
        platform=platform,
        bank=PcrBank.SHA256,
        values=machine.values,
        events=MappingProxyType({pcr: told_events(pcr, machine) for pcr in machine.values}),
    )


def _predicted(name: str, platforms: Mapping[str, PlatformMeasurements]) -> Predicted:
    known = {platform.value: platform for platform in PlatformName}
    return Predicted(
        name=name,
        platforms=MappingProxyType(
            {
                known[platform]: expected_pcrs(known[platform], wire)
                for platform, wire in platforms.items()
                if platform in known
            }
        ),
    )
