"""What a caller brings to the verification of evidence, in the corpus' JSON and as values."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from blindllama.measurements import ExpectedEvent, ExpectedPcrs, PlatformName
from blindllama.pcr import PcrBank
from blindllama.verify import VerifiedEvidence, verify_evidence
from tests.conformance.corpus import HOME

Json = dict[str, Any]


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


def read_case(path: Path = HOME / "given" / "evidence.json") -> Case:
    """What the caller of most evidence vectors brings."""
    return case_of(json.loads(path.read_bytes()))


def case_of(document: Json) -> Case:
    """The values in the JSON form."""
    expected = document["expected"]
    return Case(
        nonce=base64.b64decode(document["nonce"]),
        spki=base64.b64decode(document["spki"]),
        roots=frozenset(bytes.fromhex(root) for root in document["roots"]),
        now=datetime.fromisoformat(document["now"]),
        platform=PlatformName(document["platform"]),
        expected=ExpectedPcrs(
            platform=PlatformName(expected["platform"]),
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


def write_case(case: Case, path: Path) -> None:
    """Write a case in the form that `read_case` reads."""
    document: Json = {
        "nonce": base64.b64encode(case.nonce).decode(),
        "spki": base64.b64encode(case.spki).decode(),
        "roots": sorted(root.hex() for root in case.roots),
        "now": case.now.isoformat(),
        "platform": case.platform.value,
        "expected": {
            "platform": case.expected.platform.value,
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
