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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from os_image.guest import runtime
from os_image.guest.app_description import read_app_description
from os_image.guest.batch import Batcher
from os_image.guest.errors import AppError, BusyError, GuestError, RequestError, TpmError
from os_image.guest.evidence import (
    Surroundings,
    encode_evidence,
    encode_shared,
    qualifying_data,
)
from os_image.guest.health import Health, answers_ok
from os_image.guest.http_message import HEAD_LIMIT, Request, read_request, render_response
from os_image.guest.quoter import Quoter
from os_image.guest.request import BODY_LIMIT, parse_nonce

_TPM_PATIENCE_S = 60.0
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
class Limits:
    """What callers together may take, and how long each may."""

    callers: int = 4096
    """Waiting for the next quote; whoever comes then is told to try again."""
    connections: int = 8192
    """Open at once; one more is closed without a word. The unit may open more files than that."""
    request_s: float = 10.0
    """Seconds in which a request must be there, and an answer be read."""
    answer_s: float = 30.0
    """Seconds after which a caller is told that no quote came: a TPM may hang for ever."""


class Service:
    """Answers requests: nonces with quotes, and whether the application is well."""

    def __init__(self, settings: Settings, limits: Limits) -> None:
        self._settings = settings
        self._limits = limits
        self._quoter = Quoter(settings.tcti)
        self._batcher = Batcher(self._quote, limit=limits.callers)
        self._health = Health(self._app_answers)
        self._connections = 0

    async def open_tpm(self) -> None:
        """Opens the TPM, as soon as the system lets the service do so.

        Raises:
            TpmError: It did not within a minute.
        """
        await self._quoter.open(patience_s=_TPM_PATIENCE_S)

    def close(self) -> None:
        """Lets go of the TPM."""
        self._quoter.close()

    async def answer_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Reads one request, answers it, and closes."""
        if self._connections >= self._limits.connections:
            writer.transport.abort()
            return
        self._connections += 1
        try:
            await self._send(writer, await self._respond(reader))
        except ConnectionError:
            # The caller went away while it spoke.
            writer.transport.abort()
        finally:
            self._connections -= 1

    async def _respond(self, reader: asyncio.StreamReader) -> bytes:
        try:
            return await self._answer(await self._receive(reader))
        except RequestError as error:
            return _error(error.status, str(error))
        except BusyError:
            return _error(503, "Too many callers wait; try again.")
        except TimeoutError:
            return _error(408, "The request took too long.")
        except GuestError:
            return _error(503, "No quote can be made now; try again.")

    async def _receive(self, reader: asyncio.StreamReader) -> Request:
        async with asyncio.timeout(self._limits.request_s):
            return await read_request(reader, body_limit=BODY_LIMIT)

    async def _send(self, writer: asyncio.StreamWriter, response: bytes) -> None:
        try:
            async with asyncio.timeout(self._limits.request_s):
                writer.write(response)
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (ConnectionError, TimeoutError):
            # The caller went away, or does not read: nobody waits for it.
            writer.transport.abort()

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
        try:
            async with asyncio.timeout(self._limits.answer_s):
                shared, path = await self._batcher.attest(nonce)
        except TimeoutError as error:
            raise TpmError("attestation: no quote came in time") from error
        return encode_evidence(shared, path)

    async def _healthz(self) -> bytes:
        if not self._quoter.opened or not await self._health.healthy():
            raise RequestError("The application does not answer yet.", status=503)
        return render_response(200, b"ok\n", content_type="text/plain; charset=utf-8")

    async def _quote(self, nonce_tree_root: bytes) -> bytes:
        try:
            surroundings = _read_surroundings(self._settings)
            quote = await self._quoter.quote(qualifying_data(surroundings.spki, nonce_tree_root))
        except GuestError as error:
            # Once for all who share the failure.
            print(f"attestation: {error}", file=sys.stderr)  # noqa: T201 - the journal reads it
            raise
        return encode_shared(quote, surroundings)

    async def _app_answers(self) -> bool:
        try:
            app = read_app_description(self._settings.app)
        except AppError:
            return False
        pages = (answers_ok(pod.address, pod.health_port, pod.health_path) for pod in app.pods)
        return all(await asyncio.gather(*pages))


async def serve(settings: Settings, limits: Limits = Limits()) -> None:
    """Serves until it is cancelled.

    Raises:
        TpmError: The TPM cannot be opened.
    """
    service = Service(settings, limits)
    settings.socket.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(
        service.answer_connection, settings.socket, limit=HEAD_LIMIT, backlog=1024
    )
    # The ingress runs as another user; what this socket gives is for everybody.
    settings.socket.chmod(0o666)
    try:
        async with server:
            await service.open_tpm()
            await server.serve_forever()
    finally:
        service.close()


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


if __name__ == "__main__":
    raise SystemExit(main())
