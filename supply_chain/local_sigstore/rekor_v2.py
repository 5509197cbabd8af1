"""The transparency log in its second version: one kind of entry, no promises, tiles to read from.

A client gets its entry's proof at once and the time from a time stamp authority alone; whoever
watches the log reads the tree itself, in tiles, and computes everything from it.

Source: Rekor v2 API (`rekor_service.proto`, `hashedrekord.proto`); C2SP tlog-tiles.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from supply_chain.local_sigstore.checkpoint import Checkpoint
from supply_chain.local_sigstore.entry import canonical_entry_v2, genesis_entry
from supply_chain.local_sigstore.exchange import RefusedError, Request, Response, json_response
from supply_chain.local_sigstore.keys import raw_ed25519
from supply_chain.local_sigstore.merkle import leaf_hash

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric import ed25519

    from supply_chain.local_sigstore.exchange import Routes
    from supply_chain.local_sigstore.log import AppendOnlyLog, Inclusion

ENTRIES_PATH = "/api/v2/log/entries"
CHECKPOINT_PATH = "/api/v2/checkpoint"
TILE_PATH = "/api/v2/tile/"
TILE_WIDTH = 256
_TILE = re.compile(
    r"(?P<level>[0-9]{1,2}|entries)/(?P<index>(?:x[0-9]{3}/)*[0-9]{3})(?:\.p/(?P<width>[0-9]{1,3}))?"
)


def log_id_v2(base_url: str, key: ed25519.Ed25519PublicKey) -> bytes:
    """The identifier of a log: the key hash of its signed notes, not cut off.

    Source: C2SP signed-note, Ed25519 (algorithm 1).
    """
    name = urlsplit(base_url).netloc.encode()
    return hashlib.sha256(name + b"\n\x01" + raw_ed25519(key)).digest()


class RekorV2:
    """A Rekor log, version 2, over an append-only log."""

    def __init__(
        self,
        log: AppendOnlyLog,
        key: ed25519.Ed25519PrivateKey,
        base_url: str,
        clock: Callable[[], datetime],
    ) -> None:
        """Serve the log under its stable name, and sign for it with the key."""
        self._log = log
        self._key = key
        self._clock = clock
        self._origin = urlsplit(base_url).netloc
        self._log_id = log_id_v2(base_url, key.public_key())
        log.append_if_empty(genesis_entry(base_url), int(clock().timestamp()))

    @property
    def routes(self) -> Routes:
        """What is answered, by method and path."""
        return {
            ("POST", ENTRIES_PATH): self.add,
            ("GET", CHECKPOINT_PATH): self.checkpoint,
            ("GET", TILE_PATH): self.tile,
        }

    def add(self, request: Request) -> Response:
        """Answer `POST /api/v2/log/entries`: log the entry and prove that it is logged.

        Raises:
            RefusedError: The entry is malformed, wrongly signed, or in the log already.
        """
        leaf = canonical_entry_v2(request.json())
        known = self._log.find(leaf_hash(leaf))
        if known is not None:
            raise RefusedError(
                409, f"an equivalent entry is in the log already, at {known.record.index}"
            )
        inclusion = self._log.append(leaf, int(self._clock().timestamp()))
        return json_response(self._entry(inclusion), status=201)

    def checkpoint(self, _request: Request) -> Response:
        """Answer `GET /api/v2/checkpoint` with the signed size and root."""
        size, root = self._log.head()
        return Response(
            body=self._signed(size, root).encode(), content_type="text/plain; charset=utf-8"
        )

    def tile(self, request: Request) -> Response:
        """Answer `GET /api/v2/tile/LEVEL/INDEX[.p/WIDTH]`, with `entries` for the level of leaves.

        Raises:
            RefusedError: There is no such tile, or not yet that much of it.
        """
        match = _TILE.fullmatch(request.path.removeprefix(TILE_PATH))
        if match is None:
            raise RefusedError(400, "tile: expected LEVEL/INDEX or LEVEL/INDEX.p/WIDTH")
        width = TILE_WIDTH if match["width"] is None else int(match["width"])
        begin = int(match["index"].replace("x", "").replace("/", "")) * TILE_WIDTH
        try:
            body = (
                b"".join(_sized(leaf) for leaf in self._log.leaves(begin, begin + width))
                if match["level"] == "entries"
                else b"".join(self._log.nodes(8 * int(match["level"]), begin, begin + width))
            )
        except ValueError as exc:
            raise RefusedError(404, f"tile: {exc}") from exc
        return Response(body=body, content_type="application/octet-stream")

    def _signed(self, size: int, root: bytes) -> str:
        checkpoint = Checkpoint(origin=self._origin, size=size, root=root)
        return checkpoint.signed(self._origin, self._log_id, self._key.sign)

    def _entry(self, inclusion: Inclusion) -> dict[str, Any]:
        record = inclusion.record
        return {
            "logIndex": str(record.index),
            "logId": {"keyId": _base64(self._log_id)},
            "kindVersion": {"kind": "hashedrekord", "version": "0.0.2"},
            # There is no integrated time: a log that signs none cannot be held to it.
            "inclusionProof": {
                "logIndex": str(record.index),
                "rootHash": _base64(inclusion.root),
                "treeSize": str(inclusion.tree_size),
                "hashes": [_base64(node) for node in inclusion.siblings],
                "checkpoint": {"envelope": self._signed(inclusion.tree_size, inclusion.root)},
            },
            "canonicalizedBody": _base64(record.leaf),
        }


def _sized(leaf: bytes) -> bytes:
    """A leaf as an entry bundle holds it: its size in two bytes, big-endian, before it."""
    return len(leaf).to_bytes(2, "big") + leaf


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
