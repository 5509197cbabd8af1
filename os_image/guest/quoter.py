"""The TPM behind a thread of its own: opened with patience, and opened anew after a failure.

The event loop never waits for the TPM, which is slow and may be gone. A TPM that comes back is used
again; while it is away, whoever asks is told so.
"""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

from os_image.guest.errors import TpmError
from os_image.guest.tpm import Quote, Tpm

_POLL_S = 0.2


class Quoter:
    """Quotes one after another; everything that touches the TPM happens on one thread."""

    def __init__(self, tcti: str) -> None:
        self._tcti = tcti
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tpm")
        self._tpm: Tpm | None = None
        self._opened = False

    @property
    def opened(self) -> bool:
        """Whether the TPM has been there once."""
        return self._opened

    async def open(self, *, patience_s: float) -> None:
        """Opens the TPM, as soon as the system lets the service do so.

        Raises:
            TpmError: It did not within `patience_s` seconds.
        """
        loop = asyncio.get_running_loop()
        self._tpm = await loop.run_in_executor(self._thread, self._patiently_opened, patience_s)
        self._opened = True

    async def quote(self, qualifying_data: bytes) -> Quote:
        """A fresh quote with `qualifying_data` (32 bytes) inside; waits while the TPM is opened.

        Raises:
            TpmError: The TPM is not there, refused, or its registers changed all the time.
            CertificateError: The certificate's index does not hold one.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._quote, qualifying_data)

    def close(self) -> None:
        """Lets the thread end after what it does; nothing more can be asked."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _quote(self, qualifying_data: bytes) -> Quote:
        if self._tpm is None:
            self._tpm = Tpm(self._tcti)
        try:
            return self._tpm.quote(qualifying_data)
        except TpmError:
            # A connection that has broken stays broken: the next quote makes a new one.
            self._tpm.close()
            self._tpm = None
            raise

    def _patiently_opened(self, patience_s: float) -> Tpm:
        # Started in parallel with udev, which gives the device to the service's group.
        deadline = time.monotonic() + patience_s
        while True:
            try:
                return Tpm(self._tcti)
            except TpmError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_S)
