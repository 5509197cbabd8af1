"""The routes: each reads a strict body and renders what the model says."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from aiohttp import web

from front.answer import ChatAnswer, CompletionAnswer, embedding_list, error_event, model_list
from front.errors import ApiError, Code
from front.generate import MODEL, GenerateAnswer, GenerateRequest
from front.request import (
    Body,
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    Generating,
    parse_body,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aiohttp.typedefs import Handler

    from front.answer import Answer
    from front.limits import Deadline
    from front.task import Finish, Piece, Task, Usage
    from front.work import Settings, Work

log = logging.getLogger("front")

BODY_BYTES = 1 << 20
_BODY_S = 30.0
_LAST_WORDS_S = 1.0
_EVENTS = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store"}

_Asked = TypeVar("_Asked", bound=Body)
_OpenAiAnswer = TypeVar("_OpenAiAnswer", CompletionAnswer, ChatAnswer)


class Api:
    """The application, around one model server's work."""

    def __init__(
        self,
        settings: Settings,
        work: Work,
        *,
        seconds: Callable[[], int],
        identity: Callable[[], str],
    ) -> None:
        """An application that was asked nothing yet.

        Args:
            settings: What is served.
            work: The model server's time.
            seconds: Whole seconds since 1970.
            identity: A new random name for an answer.
        """
        self._settings, self._work = settings, work
        self._seconds, self._identity = seconds, identity

    def application(self) -> web.Application:
        """The routes; everything else is refused, among it all of the server's own pages."""
        app = web.Application(client_max_size=BODY_BYTES, middlewares=[_faults])
        app.add_routes(
            [web.get("/health", self._health), web.get("/v1/models", self._models)]
            + (
                [web.post("/v1/embeddings", self._embeddings)]
                if self._settings.embeddings
                else [
                    web.post("/v1/completions", self._completions),
                    web.post("/v1/chat/completions", self._chat),
                    web.post(f"/v2/models/{MODEL}/generate", self._generate),
                    web.post(f"/v2/models/{MODEL}/generate_stream", self._generate_stream),
                ]
            )
        )
        app.on_cleanup.append(self._close)
        return app

    async def _close(self, _app: web.Application) -> None:
        await self._work.close()

    async def _health(self, _request: web.Request) -> web.Response:
        if await self._work.ready():
            return _json(b'{"status":"ok"}')
        raise ApiError(Code.SERVER_UNAVAILABLE, "the model has not said anything yet")

    async def _models(self, _request: web.Request) -> web.Response:
        return _json(model_list(self._settings.model))

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        asked = await _body(CompletionRequest, request)
        self._check_model(asked.model)
        answer = self._openai(CompletionAnswer, asked)
        return await self._answer(
            request, asked.task(self._longest), answer, streaming=asked.stream
        )

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        asked = await _body(ChatRequest, request)
        self._check_model(asked.model)
        answer = self._openai(ChatAnswer, asked)
        return await self._answer(
            request, asked.task(self._longest), answer, streaming=asked.stream
        )

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        return await self._generated(request, streaming=False)

    async def _generate_stream(self, request: web.Request) -> web.StreamResponse:
        return await self._generated(request, streaming=True)

    async def _generated(self, request: web.Request, *, streaming: bool) -> web.StreamResponse:
        asked = await _body(GenerateRequest, request)
        asked.check_stream(streaming=streaming)
        task = asked.task(self._longest)
        return await self._answer(request, task, GenerateAnswer(), streaming=streaming)

    async def _embeddings(self, request: web.Request) -> web.Response:
        asked = await _body(EmbeddingRequest, request)
        self._check_model(asked.model)
        found = await self._work.embed(asked.texts, self._work.deadline())
        return _json(
            embedding_list(found, model=self._settings.model, encoding=asked.encoding_format)
        )

    async def _answer(
        self, request: web.Request, task: Task, answer: Answer, *, streaming: bool
    ) -> web.StreamResponse:
        deadline = self._work.deadline()
        async with self._work.generate(task, deadline) as pieces:
            if streaming:
                return await _stream(request, pieces, answer, deadline)
            text: list[str] = []
            finish: Finish = "stop"
            usage: Usage | None = None
            async for piece in pieces:
                text.append(piece.text)
                finish, usage = piece.finish or finish, piece.usage or usage
        return _json(answer.whole("".join(text), finish, usage))

    @property
    def _longest(self) -> int:
        return self._settings.limits.max_tokens

    def _openai(self, form: type[_OpenAiAnswer], asked: Generating) -> _OpenAiAnswer:
        return form(
            identity=self._identity(),
            created=self._seconds(),
            model=self._settings.model,
            tells_usage=asked.tells_usage,
        )

    def _check_model(self, name: str | None) -> None:
        # Some servers take an adapter's name or path for a model: there is one model.
        if name not in {None, self._settings.model}:
            raise ApiError(
                Code.MODEL_NOT_FOUND,
                f"model; expected {self._settings.model}, the one that is served",
                param="model",
            )


@web.middleware
async def _faults(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what goes wrong into OpenAI's form of an error."""
    try:
        return await handler(request)
    except ApiError as error:
        found = error
    except web.HTTPException as exc:
        found = _http_fault(exc)
    except ConnectionResetError:
        raise  # the caller has gone
    except Exception as exc:  # noqa: BLE001 - the one place; its text may hold a prompt
        log.error("failed: %s", type(exc).__name__)  # noqa: TRY400 - so may its trace
        found = ApiError(Code.SERVER_FAILED, "the API failed")
    return web.json_response(found.document(), status=found.status, headers=found.headers)


def _http_fault(exc: web.HTTPException) -> ApiError:
    if exc.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return ApiError(Code.BODY_TOO_LARGE, f"body; expected at most {BODY_BYTES} bytes")
    if exc.status == HTTPStatus.METHOD_NOT_ALLOWED:
        return ApiError(Code.METHOD_NOT_ALLOWED, "another method is expected at this path")
    if exc.status == HTTPStatus.NOT_FOUND:
        return ApiError(Code.NOT_FOUND, "nothing is served at this path")
    return ApiError(Code.INVALID_JSON, "expected a plain HTTP request with one JSON object")


async def _body(model: type[_Asked], request: web.Request) -> _Asked:
    try:
        async with asyncio.timeout(_BODY_S):
            body = await request.read()
    except TimeoutError:
        raise ApiError(Code.TIME_LIMIT, f"body; expected within {_BODY_S:g} s") from None
    return parse_body(model, body)


async def _stream(
    request: web.Request, pieces: AsyncIterator[Piece], answer: Answer, deadline: Deadline
) -> web.StreamResponse:
    response = web.StreamResponse(headers=_EVENTS)
    finish: Finish = "stop"
    usage: Usage | None = None
    await response.prepare(request)
    try:
        # Whoever does not read keeps the server from nobody for longer than that.
        async with deadline.within():
            await _write(response, answer.first())
            async for piece in pieces:
                finish, usage = piece.finish or finish, piece.usage or usage
                if piece.text:
                    await _write(response, answer.piece(piece.text))
            await _write(response, answer.last(finish, usage))
    except ApiError as error:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_S):
                await _write(response, error_event(error.document()))
    return response


async def _write(response: web.StreamResponse, data: bytes) -> None:
    if data:
        await response.write(data)


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")
