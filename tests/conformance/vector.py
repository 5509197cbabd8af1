"""Evidence vectors: what a verifier is given beside the document, and what it must say.

case.json                what the client holds: nonce, TLS key, root, time, expected registers
accept/NAME.json         evidence documents that a real swtpm quoted
forged/NAME.json         documents around statements that a real swtpm signed for an attacker
reject/NAME.json         each made from an accepted one by ONE named mutation
reject/cases.json        for each: its source, its mutation, the code and step of the refusal
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from blindllama.measurements import ExpectedEvent, ExpectedPcrs, PlatformName
from blindllama.pcr import PcrBank
from blindllama.verify import VerifiedEvidence, verify_evidence

HOME = Path(__file__).resolve().parent


@dataclass(frozen=True, kw_only=True)
class Case:
    """What the client brings to the verification."""

    nonce: bytes
    spki: bytes
    roots: frozenset[bytes]
    now: datetime
    platform: PlatformName
    expected: ExpectedPcrs

    def verify(self, document: bytes) -> VerifiedEvidence:
        return verify_evidence(
            document,
            expected=self.expected,
            platform=self.platform,
            roots=self.roots,
            nonce=self.nonce,
            spki=self.spki,
            now=self.now,
        )

    def with_changes(self, changes: Mapping[str, str]) -> Case:
        """The case with some fields replaced, from their JSON form."""
        case = self
        for name, value in changes.items():
            if name == "now":
                case = replace(case, now=datetime.fromisoformat(value))
            elif name == "platform":
                platform = PlatformName(value)
                expected = replace(case.expected, platform=platform)
                case = replace(case, platform=platform, expected=expected)
            elif name == "root":
                case = replace(case, roots=frozenset({bytes.fromhex(value)}))
            elif name == "nonce":
                case = replace(case, nonce=base64.b64decode(value))
            elif name == "spki":
                case = replace(case, spki=base64.b64decode(value))
            elif name.startswith("pcr "):
                case = replace(case, expected=_with_value(case.expected, int(name[4:]), value))
            else:
                raise ValueError(f"unknown field of a case: {name}")
        return case


def read_case(path: Path = HOME / "case.json") -> Case:
    """The case that all vectors share."""
    document = json.loads(path.read_text())
    expected = document["expected"]
    return Case(
        nonce=base64.b64decode(document["nonce"]),
        spki=base64.b64decode(document["spki"]),
        roots=frozenset(bytes.fromhex(root) for root in document["roots"]),
        now=datetime.fromisoformat(document["now"]),
        platform=PlatformName(document["platform"]),
        expected=ExpectedPcrs(
            platform=PlatformName(document["platform"]),
            bank=PcrBank.SHA256,
            values=MappingProxyType(
                {int(pcr): bytes.fromhex(value) for pcr, value in expected["pcrs"].items()}
            ),
            events=MappingProxyType(
                {
                    int(pcr): tuple(
                        ExpectedEvent(
                            digest=bytes.fromhex(event["digest"]),
                            what=event["what"],
                            source=event["source"],
                        )
                        for event in events
                    )
                    for pcr, events in expected["events"].items()
                }
            ),
        ),
    )


def write_case(case: Case, path: Path = HOME / "case.json") -> None:
    """Write a case in the form that `read_case` reads."""
    document: dict[str, Any] = {
        "nonce": base64.b64encode(case.nonce).decode(),
        "spki": base64.b64encode(case.spki).decode(),
        "roots": sorted(root.hex() for root in case.roots),
        "now": case.now.isoformat(),
        "platform": case.platform.value,
        "expected": {
            "pcrs": {str(pcr): value.hex() for pcr, value in case.expected.values.items()},
            "events": {
                str(pcr): [
                    {"digest": event.digest.hex(), "what": event.what, "source": event.source}
                    for event in events
                ]
                for pcr, events in case.expected.events.items()
            },
        },
    }
    path.write_text(json.dumps(document, indent=1) + "\n")


def _with_value(expected: ExpectedPcrs, pcr: int, value: str) -> ExpectedPcrs:
    """The expected registers with one value replaced, or removed where it is empty."""
    values = {index: known for index, known in expected.values.items() if index != pcr}
    if value:
        values[pcr] = bytes.fromhex(value)
    return replace(expected, values=MappingProxyType(values))
