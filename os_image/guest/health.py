"""Whether the application answers, asked at most once a second however many callers want to know."""

import asyncio
from collections.abc import Awaitable, Callable

Probe = Callable[[], Awaitable[bool]]

_TIMEOUT_S = 5.0
_KEPT_S = 1.0
_STATUS_LIMIT = 256


class Health:
    """Remembers the last answer for a second, and lets callers share a probe in flight."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._lock = asyncio.Lock()
        self._asked_at = float("-inf")
        self._healthy = False

    async def healthy(self) -> bool:
        """True when the application answered at most a second ago."""
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if now - self._asked_at > _KEPT_S:
                self._healthy = await self._probe()
                self._asked_at = asyncio.get_running_loop().time()
            return self._healthy


async def answers_ok(address: str, port: int, path: str) -> bool:
    """True when a GET of `path` is answered with status 200 within five seconds."""
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            return await _status(address, port, path) == b"200"
    except (OSError, TimeoutError):
        return False


async def _status(address: str, port: int, path: str) -> bytes:
    reader, writer = await asyncio.open_connection(address, port, limit=_STATUS_LIMIT)
    try:
        request = f"GET {path} HTTP/1.1\r\nHost: {address}:{port}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode("ascii", errors="replace"))
        await writer.drain()
        line = await reader.readline()
    except ValueError:
        # A status line beyond the limit is none.
        return b""
    finally:
        writer.close()
    words = line.split(b" ", 2)
    return words[1] if len(words) > 1 else b""
