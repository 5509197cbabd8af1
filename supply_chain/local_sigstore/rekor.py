"""The transparency log's service: entries in, signed promises and inclusion proofs out.

Source: Rekor's OpenAPI description, version 1; the "checkpoint" and "signed note" formats of
transparency-dev/formats; RFC 8785 for what the signed entry timestamp (SET) is over.
"""

from __future__ import annotations

import base64
import hashlib
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import rfc8785

from supply_chain.local_sigstore.checkpoint import Checkpoint
from supply_chain.local_sigstore.entry import canonical_entry, genesis_entry
from supply_chain.local_sigstore.exchange import RefusedError, Request, Response, json_response
from supply_chain.local_sigstore.keys import sign_ecdsa, spki
from supply_chain.local_sigstore.merkle import leaf_hash

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric import ec

    from supply_chain.local_sigstore.exchange import Routes
    from supply_chain.local_sigstore.log import AppendOnlyLog, Inclusion

ENTRIES_PATH = "/api/v1/log/entries"
_UUID_HEX = 64


class Rekor:
    """A Rekor log, version 1, over an append-only log."""

    def __init__(
        self,
        log: AppendOnlyLog,
        key: ec.EllipticCurvePrivateKey,
        base_url: str,
        clock: Callable[[], datetime],
    ) -> None:
        """Serve the log under its stable name, and sign for it with the key."""
        self._log = log
        self._key = key
        self._clock = clock
        self._log_id = hashlib.sha256(spki(key)).digest()
        self._host = urlsplit(base_url).netloc
        # 63 bits: the number is a signed 64-bit integer in other implementations.
        self._tree_id = int.from_bytes(self._log_id[:8], "big") >> 1
        log.append_if_empty(genesis_entry(base_url), int(clock().timestamp()))

    @property
    def routes(self) -> Routes:
        """What is answered, by method and path."""
        return {
            ("GET", "/api/v1/log"): self.info,
            ("GET", "/api/v1/log/proof"): self.proof,
            ("GET", "/api/v1/log/publicKey"): self.public_key,
            ("POST", ENTRIES_PATH): self.add,
            ("GET", ENTRIES_PATH): self.get_by_index,
            ("GET", f"{ENTRIES_PATH}/"): self.get_by_uuid,
        }

    def add(self, request: Request) -> Response:
        """Answer `POST /api/v1/log/entries`: log the entry and prove that it is logged.

        Raises:
            RefusedError: The entry is malformed, wrongly signed, or in the log already.
        """
        leaf = canonical_entry(request.json())
        known = self._log.find(leaf_hash(leaf))
        if known is not None:
            raise RefusedError(
                409,
                "an equivalent entry is in the log already",
                headers={"Location": f"{ENTRIES_PATH}/{self._uuid(known)}"},
            )
        inclusion = self._log.append(leaf, int(self._clock().timestamp()))
        uuid = self._uuid(inclusion)
        # Rekor's Go client reads both headers and fails without them.
        headers = {"ETag": uuid, "Location": f"{ENTRIES_PATH}/{uuid}"}
        return json_response({uuid: self._entry(inclusion)}, status=201, headers=headers)

    def get_by_index(self, request: Request) -> Response:
        """Answer `GET /api/v1/log/entries?logIndex=N`.

        Raises:
            RefusedError: The index is no number or beyond the log.
        """
        return self._found(self._log.at(_number(request, "logIndex")))

    def get_by_uuid(self, request: Request) -> Response:
        """Answer `GET /api/v1/log/entries/UUID`; the UUID ends in the leaf's hash.

        Raises:
            RefusedError: There is no such entry.
        """
        uuid = request.path.rpartition("/")[2]
        try:
            hashed = bytes.fromhex(uuid[-_UUID_HEX:])
        except ValueError as exc:
            raise RefusedError(400, "entry UUID: expected hexadecimal digits") from exc
        return self._found(self._log.find(hashed))

    def info(self, _request: Request) -> Response:
        """Answer `GET /api/v1/log` with the size, the root and the signed checkpoint."""
        size, root = self._log.head()
        return json_response(
            {
                "inactiveShards": [],
                "rootHash": root.hex(),
                "signedTreeHead": self.checkpoint(size, root),
                "treeID": str(self._tree_id),
                "treeSize": size,
            }
        )

    def proof(self, request: Request) -> Response:
        """Answer `GET /api/v1/log/proof?firstSize=M&lastSize=N` with a consistency proof.

        Raises:
            RefusedError: A size is no number, zero, or beyond the log.
        """
        first, last = _number(request, "firstSize"), _number(request, "lastSize")
        try:
            nodes = self._log.consistency(first, last)
        except ValueError as exc:
            raise RefusedError(400, str(exc)) from exc
        return json_response({"hashes": [node.hex() for node in nodes]})

    def public_key(self, _request: Request) -> Response:
        """Answer `GET /api/v1/log/publicKey` with the key in PEM."""
        body = base64.encodebytes(spki(self._key))
        pem = b"-----BEGIN PUBLIC KEY-----\n" + body + b"-----END PUBLIC KEY-----\n"
        return Response(body=pem, content_type="application/x-pem-file")

    def checkpoint(self, size: int, root: bytes) -> str:
        """The signed note that commits the log to a size and a root."""
        origin = f"{self._host} - {self._tree_id}"
        checkpoint = Checkpoint(origin=origin, size=size, root=root)
        return checkpoint.signed(self._host, self._log_id, partial(sign_ecdsa, self._key))

    def _found(self, inclusion: Inclusion | None) -> Response:
        if inclusion is None:
            raise RefusedError(404, "no such entry")
        return json_response({self._uuid(inclusion): self._entry(inclusion)})

    def _uuid(self, inclusion: Inclusion) -> str:
        return f"{self._tree_id:016x}{leaf_hash(inclusion.record.leaf).hex()}"

    def _entry(self, inclusion: Inclusion) -> dict[str, Any]:
        record = inclusion.record
        promised: dict[str, Any] = {
            "body": base64.b64encode(record.leaf).decode(),
            "integratedTime": record.time_s,
            "logID": self._log_id.hex(),
            "logIndex": record.index,
        }
        set_signature = sign_ecdsa(self._key, rfc8785.dumps(promised))
        proof = {
            "checkpoint": self.checkpoint(inclusion.tree_size, inclusion.root),
            "hashes": [node.hex() for node in inclusion.siblings],
            "logIndex": record.index,
            "rootHash": inclusion.root.hex(),
            "treeSize": inclusion.tree_size,
        }
        verification = {
            "inclusionProof": proof,
            "signedEntryTimestamp": base64.b64encode(set_signature).decode(),
        }
        return {**promised, "verification": verification}


def _number(request: Request, name: str) -> int:
    text = request.query.get(name, "")
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise RefusedError(400, f"{name}: expected a number, got {text[:40]!r}")
    return int(text)
