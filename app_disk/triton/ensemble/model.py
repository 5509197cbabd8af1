"""The model `ensemble` for Triton's python backend: texts in, texts out, computed by llama-server.

Triton runs it in a process of its own, with the package `front` beside it. A request becomes the same
task as in the API, and llama-server is asked in the same words.

Source: Triton Inference Server, python_backend, README.md, "Decoupled mode".
"""

from __future__ import annotations

import json
import socket
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Any

import numpy as np
import triton_python_backend_utils as pb_utils

from front.dialect import AnswerFormError, LlamaDialect
from front.task import Sampling, Task
from front.words import word_list

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEFAULT_TOKENS = 16
_OK = 200


class TritonPythonModel:
    """What Triton makes of this module."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read where llama-server is, from the parameters of the model's configuration."""
        parameters = json.loads(args["model_config"])["parameters"]
        self._socket = parameters["socket"]["string_value"]
        # The one model is served whatever a request calls it.
        self._dialect = LlamaDialect("ensemble")

    def execute(self, requests: list[Any]) -> None:
        """Answer each request, piece by piece if it asks for that."""
        for request in requests:
            sender = request.get_response_sender()
            try:
                self._answer(request, sender)
            except (OSError, HTTPException, AnswerFormError, ValueError) as exc:
                # The kind alone: its text may hold a prompt, and this one is written to a log.
                error = pb_utils.TritonError(f"the model server failed: {type(exc).__name__}")
                sender.send(pb_utils.InferenceResponse(error=error))
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def _answer(self, request: Any, sender: Any) -> None:  # noqa: ANN401 - Triton's, without types
        pieces = self._pieces(_task(request))
        if not _one(request, "stream", default=False):
            sender.send(_response("".join(pieces)))
            return
        for piece in pieces:
            if sender.is_cancelled():
                return  # leaving the loop closes the connection, which ends the work
            sender.send(_response(piece))

    def _pieces(self, task: Task) -> Iterator[str]:
        call = self._dialect.generate(task)
        connection = HTTPConnection("server")
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.sock.connect(self._socket)
            connection.request("POST", call.path, json.dumps(call.document))
            response = connection.getresponse()
            if response.status != _OK:
                raise AnswerFormError(f"status {response.status}")
            for line in response:
                name, _, data = line.strip().partition(b":")
                if name != b"data" or data.strip() == b"[DONE]":
                    continue
                text = self._dialect.piece(json.loads(data)).text
                if text:
                    yield text
        finally:
            connection.close()


def _task(request: Any) -> Task:  # noqa: ANN401 - Triton's, without types
    seed = _one(request, "random_seed", default=0)
    return Task(
        prompt=_one(request, "text_input", default=b"").decode(),
        sampling=Sampling(
            max_tokens=int(_one(request, "max_tokens", default=_DEFAULT_TOKENS)),
            temperature=float(_one(request, "temperature", default=0.0)),
            top_p=float(_one(request, "top_p", default=1.0)),
            seed=int(seed),
            stop=_words(request, "stop_words"),
            bad_words=_words(request, "bad_words"),
        ),
    )


def _one(request: Any, name: str, *, default: Any) -> Any:  # noqa: ANN401 - any type of input
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return default if tensor is None else tensor.as_numpy()[0]


def _words(request: Any, name: str) -> tuple[str, ...]:  # noqa: ANN401 - Triton's, without types
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    given = [] if tensor is None else [word.decode() for word in tensor.as_numpy()]
    # One text is a list with commas in it, as the reference's clients send it.
    return word_list(given[0] if len(given) == 1 else given)


def _response(text: str) -> Any:  # noqa: ANN401 - Triton's, without types
    output = pb_utils.Tensor("text_output", np.array([text.encode()], dtype=np.object_))
    return pb_utils.InferenceResponse(output_tensors=[output])
