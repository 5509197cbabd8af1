"""Other clients over a session's connections: httpx, openai, and the local proxy.

They send through the session's `Carrier`, and so to the attested guest or not at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from blindllama._carrier import Carrier

if TYPE_CHECKING:
    from httpx import AsyncClient, Client
    from openai import AsyncOpenAI, OpenAI

    from blindllama.proxy import Proxy

__all__ = ["Clients"]


class Clients:
    """The part of a session that makes clients; their connections are its own, and end with it."""

    _carrier: Carrier

    def proxy(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        log: Callable[[str], None] | None = None,
        allow_remote: bool = False,
    ) -> Proxy:
        """Return a local server that passes programs' requests on to the guest; see `Proxy`.

        Args:
            host: The address to listen at, not a name.
            port: 0 takes a free one.
            log: Takes one line for each request: method, path and status, never what was said.
            allow_remote: Listen at an address that other machines reach; they would speak plain
                HTTP over the network.

        Raises:
            UsageError: no such address, or one that other machines reach.
        """
        from blindllama.proxy import Proxy  # noqa: PLC0415 - few need a server

        return Proxy(self._carrier, host=host, port=port, log=log, allow_remote=allow_remote)

    def httpx(self) -> Client:
        """Return a client of httpx for the guest; needs the extra `blindllama[httpx]`.

        Its connections are this session's, and end with it.
        """
        from blindllama._httpx import httpx_client  # noqa: PLC0415 - an extra

        return httpx_client(self._carrier)

    def async_httpx(self) -> AsyncClient:
        """Return an asynchronous client of httpx for the guest, as `httpx`."""
        from blindllama._httpx import async_httpx_client  # noqa: PLC0415 - an extra

        return async_httpx_client(self._carrier)

    def openai(self, *, api_key: str = "none") -> OpenAI:
        """Return the stock client of openai for the guest; needs `blindllama[openai]`.

        Its connections are this session's, and end with it. The guest asks for no key; one that
        is given is sent to it. A refusal is a `VerificationError` here too.
        """
        from blindllama._httpx import openai_client  # noqa: PLC0415 - an extra

        return openai_client(self._carrier, api_key=api_key)

    def async_openai(self, *, api_key: str = "none") -> AsyncOpenAI:
        """Return the stock asynchronous client of openai for the guest, as `openai`."""
        from blindllama._httpx import async_openai_client  # noqa: PLC0415 - an extra

        return async_openai_client(self._carrier, api_key=api_key)
