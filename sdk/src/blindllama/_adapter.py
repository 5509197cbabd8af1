"""How requests sends through the attested pool, whatever it was told about proxies and roots."""

from __future__ import annotations

from collections.abc import Mapping

import requests
from requests.adapters import HTTPAdapter

from blindllama._pool import AttestedPool

__all__ = ["AttestedAdapter"]


class AttestedAdapter(HTTPAdapter):
    """Carries requests to one origin; what callers say about proxies and certificates is moot."""

    def __init__(self, pool: AttestedPool) -> None:
        """Open nothing yet."""
        super().__init__(max_retries=0)
        self._pool = pool

    def get_connection_with_tls_context(
        self,
        request: requests.PreparedRequest,  # noqa: ARG002 - requests' signature
        verify: bool | str | None,  # noqa: ARG002, FBT001
        proxies: Mapping[str, str] | None = None,  # noqa: ARG002
        cert: object = None,  # noqa: ARG002
    ) -> AttestedPool:
        """Return the one pool, whatever is asked for."""
        return self._pool

    def get_connection(self, url: object, proxies: object = None) -> AttestedPool:  # noqa: ARG002
        """Return the one pool to callers of the older method, who would get an unattested one."""
        return self._pool

    def cert_verify(self, conn: object, url: object, verify: object, cert: object) -> None:
        """Leave the pool as it is: certificates have no part in this."""
