"""The API of a guest's application, small: OpenAI's completions, chat, embeddings; the reference's.

A stream waits after each of its events until a test has seen it, so a test that gets to its end
has proven that nothing was held back.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.simulators.attested_server import WORDS, Server

MODEL = "smollm2-135m-instruct"
VECTOR = (0.25, -0.5, 1.0)
DEADLINE_S = 30


@dataclass
class OpenAiServer:
    """Answers the application's requests of a simulated guest."""

    server: Server
    seen: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    """Released by the test for each event that it has received; only streams wait for it."""
    waits: bool = False

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.partition("?")[0]
        body = json.loads(self.server.bodies[-1] or b"{}")
        if self.server.closes_after_answer:
            handler.close_connection = True
        if path == "/v1/models":
            _whole(handler, {"object": "list", "data": [_named({"object": "model"})]})
        elif path == "/v1/embeddings":
            item = {"object": "embedding", "index": 0, "embedding": VECTOR}
            _whole(handler, _named({"object": "list", "data": [item], "usage": USAGE}))
        elif path == "/v1/chat/completions":
            self._answer(handler, body, _chat_piece, _chat_whole)
        elif path == "/v1/completions":
            self._answer(handler, body, _text_piece, _text_whole)
        elif path == "/v2/models/ensemble/generate":
            _whole(handler, {"model_name": "ensemble", "text_output": "".join(WORDS)})
        else:
            handler.send_error(404)

    def _answer(
        self,
        handler: BaseHTTPRequestHandler,
        body: dict[str, Any],
        piece: Any,  # noqa: ANN401 - one of the functions below
        whole: Any,  # noqa: ANN401 - likewise
    ) -> None:
        if not body.get("stream"):
            _whole(handler, whole("".join(WORDS)))
            return
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Transfer-Encoding", "chunked")
        _say_whether_it_closes(handler)
        handler.end_headers()
        for word in WORDS:
            _chunk(handler, b"data: " + json.dumps(piece(word)).encode() + b"\n\n")
            if self.waits and not self.seen.acquire(timeout=DEADLINE_S):
                return  # the client waits for more than it was sent: its end is the test's failure
        _chunk(handler, b"data: [DONE]\n\n")
        _chunk(handler, b"")


USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}


def _named(document: dict[str, Any]) -> dict[str, Any]:
    return {"id": MODEL, "model": MODEL, "created": 0, "owned_by": "nobody", **document}


def _chat_piece(word: str) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": word}, "finish_reason": None}
    return _named({"object": "chat.completion.chunk", "choices": [choice]})


def _chat_whole(text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return _named({"object": "chat.completion", "choices": [choice], "usage": USAGE})


def _text_piece(word: str) -> dict[str, Any]:
    choice = {"index": 0, "text": word, "finish_reason": None}
    return _named({"object": "text_completion", "choices": [choice]})


def _text_whole(text: str) -> dict[str, Any]:
    choice = {"index": 0, "text": text, "finish_reason": "stop"}
    return _named({"object": "text_completion", "choices": [choice], "usage": USAGE})


def _whole(handler: BaseHTTPRequestHandler, document: dict[str, Any]) -> None:
    body = json.dumps(document).encode()
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body)))
    _say_whether_it_closes(handler)
    handler.end_headers()
    handler.wfile.write(body)


def _say_whether_it_closes(handler: BaseHTTPRequestHandler) -> None:
    if handler.close_connection:
        handler.send_header("Connection", "close")


def _chunk(handler: BaseHTTPRequestHandler, data: bytes) -> None:
    handler.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
