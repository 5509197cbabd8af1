"""The attestation service: HTTP on a UNIX socket, between the ingress and the TPM.

    POST /attestation   {"nonce": "<base64 of 32 bytes>"}   ->  the evidence document
    GET  /healthz                                           ->  "ok" once the application answers

The same service runs outside a guest, against a software TPM:

    python -m os_image.guest.attest --socket S --tcti swtpm:host=127.0.0.1,port=2321 ...

Source: docs/verification.md, step 6.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from os_image.guest import runtime
from os_image.guest.app_description import read_app_description
from os_image.guest.batch import Batcher
from os_image.guest.errors import AppError, BusyError, GuestError, RequestError, TpmError
from os_image.guest.evidence import Surroundings, encode_evidence, qualifying_data
from os_image.guest.health import Health, answers_ok
from os_image.guest.http_message import HEAD_LIMIT, Request, read_request, render_response
from os_image.guest.request import BODY_LIMIT, parse_nonce
from os_image.guest.tpm import Quote, Tpm

_REQUEST_TIMEOUT_S = 10.0
_CONNECTION_LIMIT = 4096
_TPM_PATIENCE_S = 60.0
_TPM_POLL_S = 0.2
_JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where the service finds what it speaks about."""

    socket: Path
    tcti: str
    spki: Path
    event_log: Path
    app_events: Path
    app: Path
    """The application's description."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attested:
    quote: Quote
    surroundings: Surroundings


class Service:
    """Answers requests; everything that touches the TPM happens on one thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._tpm_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tpm")
        self._tpm: Tpm | None = None
        self._batcher = Batcher(self._quote)
        self._health = Health(self._app_answers)
        self._connections = 0

    async def open_tpm(self) -> None:
        """Opens the TPM, as soon as the system lets the service do so.

        Raises:
            TpmError: It did not within a minute.
        """
        loop = asyncio.get_running_loop()
        self._tpm = await loop.run_in_executor(self._tpm_thread, _open_tpm, self._settings.tcti)

    async def answer_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Reads one request, answers it, and closes."""
        self._connections += 1
        try:
            request = await self._receive(reader)
            response = await self._answer(request)
        except RequestError as error:
            response = _error(error.status, str(error))
        except BusyError:
            response = _error(503, "Too many callers wait; try again.")
        except TimeoutError:
            response = _error(408, "The request took too long.")
        except GuestError as error:
            print(f"attestation: {error}", file=sys.stderr)  # noqa: T201 - the journal reads it
            response = _error(503, "No quote can be made now; try again.")
        finally:
            self._connections -= 1
        await _send(writer, response)

    async def _receive(self, reader: asyncio.StreamReader) -> Request:
        if self._connections > _CONNECTION_LIMIT:
            raise BusyError(f"attestation: {_CONNECTION_LIMIT} connections are open")
        async with asyncio.timeout(_REQUEST_TIMEOUT_S):
            return await read_request(reader, body_limit=BODY_LIMIT)

    async def _answer(self, request: Request) -> bytes:
        match request.method, request.path:
            case "POST", "/attestation":
                document = await self._attestation(parse_nonce(request.body))
                return render_response(200, document, content_type=_JSON)
            case "GET", "/healthz":
                return await self._healthz()
            case _, "/attestation" | "/healthz":
                raise RequestError("This method is not allowed here.", status=405)
            case _:
                raise RequestError("There is nothing here.", status=404)

    async def _attestation(self, nonce: bytes) -> bytes:
        attested, path = await self._batcher.attest(nonce)
        return encode_evidence(attested.quote, path, attested.surroundings)

    async def _healthz(self) -> bytes:
        if self._tpm is None or not await self._health.healthy():
            raise RequestError("The application does not answer yet.", status=503)
        return render_response(200, b"ok\n", content_type="text/plain; charset=utf-8")

    async def _quote(self, nonce_tree_root: bytes) -> _Attested:
        tpm = self._tpm
        if tpm is None:
            raise TpmError("quote: the TPM is not open yet")
        surroundings = _read_surroundings(self._settings)
        data = qualifying_data(surroundings.spki, nonce_tree_root)
        loop = asyncio.get_running_loop()
        quote = await loop.run_in_executor(self._tpm_thread, tpm.quote, data)
        return _Attested(quote=quote, surroundings=surroundings)

    async def _app_answers(self) -> bool:
        try:
            app = read_app_description(self._settings.app)
        except AppError:
            return False
        pages = (answers_ok(pod.address, pod.health_port, pod.health_path) for pod in app.pods)
        return all(await asyncio.gather(*pages))


async def serve(settings: Settings) -> None:
    """Serves until it is cancelled.

    Raises:
        TpmError: The TPM cannot be opened.
    """
    service = Service(settings)
    settings.socket.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(
        service.answer_connection, settings.socket, limit=HEAD_LIMIT, backlog=1024
    )
    # The ingress runs as another user; what this socket gives is for everybody.
    settings.socket.chmod(0o666)
    async with server:
        await service.open_tpm()
        await server.serve_forever()


def parse_settings(arguments: Sequence[str]) -> Settings:
    """The settings that the command line gives; the defaults are those of the guest."""
    parser = argparse.ArgumentParser(prog="attest", description="Answers nonces with quotes.")
    parser.add_argument("--socket", type=Path, default=runtime.ATTEST_SOCKET)
    parser.add_argument("--tcti", default="device:/dev/tpmrm0")
    parser.add_argument("--spki", type=Path, default=runtime.SPKI)
    parser.add_argument("--event-log", type=Path, default=runtime.EVENT_LOG)
    parser.add_argument("--app-events", type=Path, default=runtime.APP_EVENTS)
    parser.add_argument("--app", type=Path, default=runtime.APP_ROOT / "app.json")
    return Settings(**vars(parser.parse_args(arguments)))


def main() -> int:
    """Runs the service with the command line's settings; 1 when the TPM cannot be opened."""
    os.umask(0o077)
    try:
        asyncio.run(serve(parse_settings(sys.argv[1:])))
    except GuestError as error:
        print(f"attestation: {error}", file=sys.stderr)  # noqa: T201 - the journal reads it
        return 1
    return 0


def _open_tpm(tcti: str) -> Tpm:
    # Started in parallel with udev, which gives the device to the service's group.
    deadline = time.monotonic() + _TPM_PATIENCE_S
    while True:
        try:
            return Tpm(tcti)
        except TpmError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_TPM_POLL_S)


def _read_surroundings(settings: Settings) -> Surroundings:
    try:
        return Surroundings(
            spki=settings.spki.read_bytes(),
            event_log=settings.event_log.read_bytes(),
            app_events=settings.app_events.read_bytes(),
        )
    except OSError as error:
        raise GuestError(f"evidence: {error.filename} is not there yet") from error


def _error(status: int, sentence: str) -> bytes:
    body = json.dumps({"error": sentence}).encode("utf-8")
    headers = {"Retry-After": "1"} if status == 503 else {}
    return render_response(status, body, content_type=_JSON, headers=headers)


async def _send(writer: asyncio.StreamWriter, response: bytes) -> None:
    try:
        async with asyncio.timeout(_REQUEST_TIMEOUT_S):
            writer.write(response)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
    except (ConnectionError, TimeoutError):
        # The caller went away, or does not read: nobody waits for it.
        writer.transport.abort()


if __name__ == "__main__":
    raise SystemExit(main())
