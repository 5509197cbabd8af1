"""Every way of sending a prompt to the guest, and what each says when it was refused."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
import traceback
from collections.abc import Callable
from urllib.parse import urlsplit

from blindllama import completion
from blindllama.errors import NetworkError, VerificationError
from blindllama.session import AttestedSession

SECRET = "the secret of the prompt"
PATH = "/v1/completions"
REFERENCE_PATH = "/v2/models/ensemble/generate"
BODY = {"model": "m", "prompt": SECRET}
NETWORK = "network"
ANSWERED = "answered"
TIMEOUT_S = 60


def outcome(send: Callable[[AttestedSession], object], session: AttestedSession) -> str:
    """The code of the refusal, `network`, or `answered`."""
    try:
        told = send(session)
    except VerificationError as exc:
        reported = exc.report is session.report
        return _said(exc) if reported else f"{exc.code.value} without its report"
    except NetworkError as exc:
        return _said(exc)
    return told if isinstance(told, str) else ANSWERED


def _said(error: VerificationError | NetworkError) -> str:
    if SECRET in "".join(traceback.format_exception(error)):
        return "an error that shows the prompt"
    return error.code.value if isinstance(error, VerificationError) else NETWORK


def _requests(session: AttestedSession) -> None:
    session.post(PATH, json=BODY)


def _stream(session: AttestedSession) -> None:
    list(session.stream_completion(SECRET))


def _reference(session: AttestedSession) -> None:
    completion.create(session=session, text_input=SECRET)


def _httpx(session: AttestedSession) -> None:
    with session.httpx() as client:
        client.post(PATH, json=BODY)


def _async_httpx(session: AttestedSession) -> None:
    async def send() -> None:
        async with session.async_httpx() as client:
            await client.post(PATH, json=BODY)

    asyncio.run(send())


def _openai(session: AttestedSession) -> None:
    with session.openai() as client:
        client.completions.create(model="m", prompt=SECRET)


def _async_openai(session: AttestedSession) -> None:
    async def send() -> None:
        async with session.async_openai() as client:
            await client.completions.create(model="m", prompt=SECRET)

    asyncio.run(send())


def _proxy(session: AttestedSession) -> str:
    with session.proxy() as proxy:
        thread = threading.Thread(target=proxy.serve)
        thread.start()
        connection = http.client.HTTPConnection(urlsplit(proxy.url).netloc, timeout=TIMEOUT_S)
        try:
            connection.request("POST", PATH, body=json.dumps(BODY))
            answer = connection.getresponse()
            content = answer.read()
        except http.client.IncompleteRead:
            return NETWORK  # the head was passed on, and then the guest was gone
        finally:
            connection.close()
            proxy.stop()
            thread.join()
    return ANSWERED if answer.status == 200 else str(json.loads(content)["error"]["code"])


TRANSPORTS: dict[str, Callable[[AttestedSession], object]] = {
    "requests": _requests,
    "stream_completion": _stream,
    "completion.create": _reference,
    "httpx": _httpx,
    "httpx asynchronous": _async_httpx,
    "openai": _openai,
    "openai asynchronous": _async_openai,
    "proxy": _proxy,
}


def path_of(transport: str) -> str:
    """Where a transport's request goes."""
    return REFERENCE_PATH if transport == "completion.create" else PATH
