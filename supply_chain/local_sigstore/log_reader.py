"""Reading a log over HTTP, as anybody may: its checkpoint, its leaves, and that it only grew."""

from __future__ import annotations

import base64
import ipaddress
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import requests

from supply_chain.errors import FetchError
from supply_chain.local_sigstore.merkle import MerkleTree, leaf_hash
from supply_chain.local_sigstore.rekor import ENTRIES_PATH
from supply_chain.local_sigstore.rekor_v2 import CHECKPOINT_PATH, TILE_PATH, TILE_WIDTH

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT_S = 15.0
MAX_ANSWER_BYTES = 32 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """One leaf of a log."""

    data: bytes
    time_s: int | None
    """When the log says that it was integrated; version 2 does not say."""


class LogReader(Protocol):
    """What a monitor asks of a log."""

    def checkpoint(self) -> str:
        """Return the signed note over the log as it is now."""

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Return the proof that the tree of one size is a prefix of the one of another."""

    def leaves(self, size: int) -> list[Leaf]:
        """Return the first leaves."""


class LogReaderV1:
    """Reads a log of version 1, whose API answers each question."""

    def __init__(self, url: str) -> None:
        """Ask at this address."""
        self._fetcher = _Fetcher(url)

    def checkpoint(self) -> str:
        """Return the signed note over the log as it is now."""
        return str(self._fetcher.json("/api/v1/log", "signedTreeHead"))

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Return the proof that the tree of one size is a prefix of the one of another."""
        path = f"/api/v1/log/proof?firstSize={old}&lastSize={new}"
        return [bytes.fromhex(str(node)) for node in self._fetcher.json(path, "hashes")]

    def leaves(self, size: int) -> list[Leaf]:
        """Return the first leaves."""
        return [self._leaf(index) for index in range(size)]

    def _leaf(self, index: int) -> Leaf:
        document = self._fetcher.json(f"{ENTRIES_PATH}?logIndex={index}")
        try:
            (entry,) = document.values()
            return Leaf(data=base64.b64decode(entry["body"]), time_s=int(entry["integratedTime"]))
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise FetchError(f"entry {index} of the log: expected a body, got {exc!r}") from exc


class LogReaderV2:
    """Reads a log of version 2, which publishes tiles and leaves the rest to its readers."""

    def __init__(self, url: str) -> None:
        """Ask at this address."""
        self._fetcher = _Fetcher(url)

    def checkpoint(self) -> str:
        """Return the signed note over the log as it is now."""
        return self._fetcher.bytes(CHECKPOINT_PATH).decode(errors="replace")

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Return the proof that the tree of one size is a prefix of the one of another."""
        tree = MerkleTree()
        for leaf in self.leaves(new):
            tree.append(leaf_hash(leaf.data))
        return tree.consistency_proof(old, new)

    def leaves(self, size: int) -> list[Leaf]:
        """Return the first leaves."""
        found: list[Leaf] = []
        for begin in range(0, size, TILE_WIDTH):
            width = min(TILE_WIDTH, size - begin)
            data = self._fetcher.bytes(_entries_path(begin // TILE_WIDTH, width))
            found += [Leaf(data=leaf, time_s=None) for leaf in _split(data)]
        return found


def reader_of(url: str, version: int) -> LogReader:
    """Return what reads a log of a version at an address."""
    return LogReaderV2(url) if version == 2 else LogReaderV1(url)


def _entries_path(number: int, width: int) -> str:
    digits = f"{number:03}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[begin : begin + 3] for begin in range(0, len(digits), 3)]
    index = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
    part = "" if width == TILE_WIDTH else f".p/{width}"
    return f"{TILE_PATH}entries/{index}{part}"


def _split(data: bytes) -> Iterator[bytes]:
    place = 0
    while place < len(data):
        end = place + 2 + int.from_bytes(data[place : place + 2], "big")
        yield data[place + 2 : end]
        place = end


class _Fetcher:
    """GET requests to one address, each limited in time and size."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._session = requests.Session()
        # A proxy of the environment has no business between this machine and itself.
        self._session.trust_env = not _is_loopback(url)

    def bytes(self, path: str) -> bytes:
        """Return the body of an answer.

        Raises:
            FetchError: The log refuses, is out of reach, or says too much.
        """
        url = self._url + path
        try:
            with self._session.get(url, timeout=TIMEOUT_S, stream=True) as answer:
                answer.raise_for_status()
                body = answer.raw.read(MAX_ANSWER_BYTES + 1, decode_content=True)
        except (requests.RequestException, OSError) as exc:
            raise FetchError(f"the log cannot be read: {exc}") from exc
        if len(body) > MAX_ANSWER_BYTES:
            raise FetchError(f"{url}: expected at most {MAX_ANSWER_BYTES} bytes, got more")
        return bytes(body)

    def json(self, path: str, *names: str) -> Any:  # noqa: ANN401 - any JSON value
        """Return the JSON value of an answer, or the one under these names in it.

        Raises:
            FetchError: As `bytes`, or there is none.
        """
        try:
            value: Any = json.loads(self.bytes(path))
            for name in names:
                value = value[name]
        except (ValueError, LookupError, TypeError) as exc:
            raise FetchError(f"{self._url}{path}: expected JSON of a log, got {exc!r}") from exc
        return value


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
