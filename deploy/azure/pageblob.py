"""The page blob behind a managed disk, as far as an upload may touch it: read its state, put pages.

The one module that knows Azure's storage library, which is imported when it is first needed. What
the service answers becomes one of three things here: try again later, ask for a new signature, or
an error that ends the upload.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from deploy.azure.errors import AzureError, Reason
from deploy.azure.library import library
from deploy.azure.piece import Piece

if TYPE_CHECKING:
    from collections.abc import Iterator

_API_VERSION = "2021-12-02"
"""Fixed: what is sent does not change with the library's version."""
_LATER = frozenset({408, 429, 500, 502, 503, 504})
"""What the service answers when the same request may succeed later."""
_FORBIDDEN = 403
_LOOPBACK = "127.0.0.1"
_CONNECT_S, _READ_S = 20, 60


class TryLaterError(Exception):
    """The service, or the way to it, is out of order for the moment."""

    def __init__(self, what: str, *, after_s: float = 0.0) -> None:
        """Keep what happened and how long the service asks to be left alone."""
        self.after_s = after_s
        super().__init__(what)


class SignatureError(Exception):
    """The shared access signature does not open the blob: as a rule, it is expired."""


def target_of(address: str) -> str:
    """The address of a blob without its signature, for journals and messages.

    Raises:
        AzureError: It is not an address of a blob with a signature.
    """
    parts = urlsplit(address)
    # Without TLS the signature, which is a secret, would be read on the way.
    secret = parts.scheme == "https" or parts.hostname == _LOOPBACK
    if not secret or not parts.hostname or "sig" not in parse_qs(parts.query):
        raise AzureError(
            Reason.ACCESS,
            "address of the disk: expected https://…?…&sig=…, as `az disk grant-access "
            "--access-level Write` prints it",
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


class PageBlob:
    """A page blob that exists already; nothing here makes, clears or deletes one."""

    def __init__(self, address: str) -> None:
        """Take the address with its signature, which no message repeats.

        Raises:
            AzureError: The storage library is not installed, or the address is none.
        """
        target_of(address)
        # Its own retries would neither count as ours nor take a new signature.
        self._client: Any = library("azure.storage.blob").BlobClient.from_blob_url(
            address,
            api_version=_API_VERSION,
            retry_total=0,
            connection_timeout=_CONNECT_S,
            read_timeout=_READ_S,
        )

    def close(self) -> None:
        """Give its connections back."""
        self._client.close()

    def size(self) -> int:
        """How long the blob is, in bytes."""
        with _translated():
            return int(self._client.get_blob_properties().size)

    def written(self) -> list[Piece]:
        """Where anything was ever written, in order."""
        with _translated():
            return [
                Piece(offset=span.start, length=span.end - span.start + 1)
                for span in self._client.list_page_ranges()
            ]

    def put(self, offset: int, data: bytes) -> None:
        """The blob holds this data at this place.

        Args:
            offset: A multiple of 512.
            data: At most 4 MiB, in whole pages.
        """
        with _translated():
            # Without a digest of the content: the blob of a managed disk does not take one.
            self._client.upload_page(data, offset, len(data), validate_content=False)


@contextmanager
def _translated() -> Iterator[None]:
    core = library("azure.core.exceptions")
    try:
        yield
    except (core.ServiceRequestError, core.ServiceResponseError) as exc:
        raise TryLaterError(f"{type(exc).__name__}: the connection failed") from exc
    except core.HttpResponseError as exc:
        status = exc.status_code
        if status in _LATER:
            after = exc.response.headers.get("Retry-After", "") if exc.response else ""
            raise TryLaterError(
                f"status {status}", after_s=float(after) if after.isdigit() else 0.0
            ) from exc
        if status == _FORBIDDEN:
            raise SignatureError(_code(exc)) from exc
        raise AzureError(
            Reason.UPLOAD_REFUSED,
            f"disk in Azure: expected success, got status {status} ({_code(exc)})",
        ) from exc


def _code(error: Any) -> str:  # noqa: ANN401 - the library is optional, and so are its types
    """The service's own word for it; its longer text repeats parts of the signature."""
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or error.reason)
