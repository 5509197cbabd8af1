"""A guest as a client sees it: what it measured at boot, and the evidence that it sends.

The boot is short but has the form of a real one: firmware events in a crypto-agile log, the app
disk and the seal in register 15. Any quoter does: swtpm, or a key in software.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from blindllama.measurements import ExpectedEvent, ExpectedPcrs, PlatformName
from blindllama.pcr import PcrBank, replay
from tests.simulators.ak_authority import Issuer, new_root

SEPARATOR = bytes(4)
EV_NO_ACTION = 3

BOOT: Mapping[int, tuple[tuple[int, bytes, str], ...]] = MappingProxyType(
    {
        0: ((0x80000008, b"firmware volume", "DXE volume"), (4, SEPARATOR, "separator")),
        1: ((0x80000002, b"Boot0000", "boot option"), (4, SEPARATOR, "separator")),
        2: ((4, SEPARATOR, "separator"),),
        3: ((4, SEPARATOR, "separator"),),
        4: (
            (5, b"Calling EFI Application from Boot Option", "boot attempt"),
            (4, SEPARATOR, "separator"),
            (0x80000003, b"uki", "Authenticode of the UKI"),
            (0x80000003, b"linux", "Authenticode of the kernel"),
        ),
        5: ((0x80000006, b"gpt", "partition table"), (4, SEPARATOR, "separator")),
        6: ((4, SEPARATOR, "separator"),),
        7: ((0x80000001, b"SecureBoot", "Secure Boot variable"), (4, SEPARATOR, "separator")),
        9: ((0xD, b"command line", "kernel command line"), (0xD, b"initrd", "initrd")),
        11: ((0xD, b".linux", "name of a UKI section"), (0xD, b"linux", "a UKI section")),
    }
)
"""Register to (event type, data, what the release calls it), in order of extension."""

APP: tuple[tuple[str, bytes], ...] = (
    ("app-disk", b'{"algorithm":"sha256","block_size":4096}'),
    ("sealed", b"blindllama/app-disk/sealed/v1"),
)


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


class Quoter(Protocol):
    """A TPM, or what stands for one."""

    @property
    def public_key(self) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey: ...
    def pcrs(self) -> Mapping[int, bytes]: ...
    def extend(self, pcr: int, digest: bytes) -> None: ...
    def quote(self, qualifying_data: bytes) -> tuple[bytes, bytes]: ...


def boot(quoter: Quoter, *, app: Sequence[tuple[str, bytes]] = APP) -> None:
    """Extend the registers as the genuine guest does."""
    for pcr, events in BOOT.items():
        for _, data, _ in events:
            quoter.extend(pcr, sha256(data))
    for _, data in app:
        quoter.extend(15, sha256(data))


def expected_pcrs(
    platform: PlatformName = PlatformName.QEMU_SWTPM,
    *,
    app: Sequence[tuple[str, bytes]] = APP,
) -> ExpectedPcrs:
    """What the release of this guest predicts."""
    events = {
        pcr: tuple(
            ExpectedEvent(digest=sha256(data), what=what, source="tests") for _, data, what in boots
        )
        for pcr, boots in BOOT.items()
    }
    events[15] = tuple(
        ExpectedEvent(digest=sha256(data), what=name, source="tests") for name, data in app
    )
    values = {
        pcr: replay(event.digest for event in events.get(pcr, ()))
        for pcr in (0, 1, 2, 3, 4, 5, 7, 9, 11, 12, 13, 15)
    }
    return ExpectedPcrs(
        platform=platform,
        bank=PcrBank.SHA256,
        values=MappingProxyType(values),
        events=MappingProxyType(events),
    )


def event_log(boots: Mapping[int, Sequence[tuple[int, bytes, str]]] = BOOT) -> bytes:
    """The firmware's log of this boot, crypto-agile, with a SHA-256 bank only."""
    header = b"Spec ID Event03\0" + bytes(4) + b"\0\2\0\2" + _u32(1) + b"\x0b\0\x20\0" + b"\0"
    log = _u32(0) + _u32(EV_NO_ACTION) + bytes(20) + _u32(len(header)) + header
    for pcr, events in boots.items():
        for kind, data, _ in events:
            log += _u32(pcr) + _u32(kind) + _u32(1) + b"\x0b\0" + sha256(data)
            log += _u32(len(data)) + data
    return log


@dataclass(frozen=True, kw_only=True)
class Papers:
    """Certificates of an attestation key: the leaf, its issuers, and who pins the root."""

    leaf: bytes
    issuers: tuple[bytes, ...]
    root: bytes
    """SHA-256 fingerprint of the root."""

    @classmethod
    def of(cls, quoter: Quoter, root: Issuer | None = None) -> Papers:
        top = new_root() if root is None else root
        middle = top.issue()
        return cls(
            leaf=middle.certify(quoter.public_key),
            issuers=(middle.der, top.der),
            root=top.fingerprint,
        )


@dataclass(frozen=True, kw_only=True)
class BootedGuest:
    """Makes evidence documents; `change` is what a test does to a document before it is sent."""

    quoter: Quoter
    papers: Papers
    spki: bytes
    log: bytes = field(default_factory=event_log)

    def document(
        self, nonce: bytes, *, others: Sequence[bytes] = (), index: int = 0
    ) -> dict[str, Any]:
        """The evidence for a nonce; `others` are callers that share the quote."""
        leaves = list(others)
        leaves.insert(index, nonce)
        root, siblings = tree(leaves, index)
        attest, signature = self.quoter.quote(bound(self.spki, root))
        return self.wire(attest, signature, index=index, leaves=len(leaves), siblings=siblings)

    def wire(
        self,
        attest: bytes,
        signature: bytes,
        *,
        index: int = 0,
        leaves: int = 1,
        siblings: Sequence[bytes] = (),
        pcrs: Mapping[int, bytes] | None = None,
    ) -> dict[str, Any]:
        """The document around a statement, genuine or forged."""
        values = self.quoter.pcrs() if pcrs is None else pcrs
        return {
            "version": 1,
            "kind": "tpm-quote",
            "quote": {"attest": text(attest), "signature": text(signature)},
            "pcrs": {"sha256": [values[pcr].hex() for pcr in range(16)]},
            "ak": {
                "certificate": text(self.papers.leaf),
                "intermediates": [text(der) for der in self.papers.issuers],
            },
            "nonce_path": {
                "index": index,
                "leaves": leaves,
                "siblings": [text(sibling) for sibling in siblings],
            },
            "spki": text(self.spki),
            "event_log": text(self.log),
            "app_events": [{"pcr": 15, "name": name, "data": text(data)} for name, data in APP],
            "clock": {"reset_count": 1, "restart_count": 0},
        }

    def with_key(self, spki: bytes) -> BootedGuest:
        return replace(self, spki=spki)


def encode(document: object) -> bytes:
    """A document's bytes."""
    return json.dumps(document, separators=(",", ":")).encode()


def text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def bound(spki: bytes, root: bytes) -> bytes:
    """Qualifying data, written down once more from the specification."""
    return sha256(b"blindllama/quote/v1\0" + sha256(spki) + root)


def tree(nonces: Sequence[bytes], index: int) -> tuple[bytes, list[bytes]]:
    """Root and path by the recursive definition of RFC 6962, section 2.1: not as the SDK walks."""
    if len(nonces) == 1:
        return sha256(b"\0" + nonces[0]), []
    half = 1
    while half * 2 < len(nonces):
        half *= 2
    if index < half:
        left, path = tree(nonces[:half], index)
        right, _ = tree(nonces[half:], 0)
        path.append(right)
    else:
        left, _ = tree(nonces[:half], 0)
        right, path = tree(nonces[half:], index - half)
        path.append(left)
    return sha256(b"\1" + left + right), path


def _u32(value: int) -> bytes:
    return value.to_bytes(4, "little")
