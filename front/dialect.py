"""How each kind of model server is asked and answers: pure translations, one class each.

| kind | server | engine |
| --- | --- | --- |
| `llama-server` | llama.cpp's | GGUF |
| `trtllm-serve` | TensorRT-LLM's, PyTorch backend | a Hugging Face checkpoint |
| `triton` | Triton with a model `ensemble` of text inputs | TensorRT plans, or any |

Source: llama.cpp, tools/server/README.md; TensorRT-LLM, trtllm-serve; Triton Inference Server,
protocol/extension_generate.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from front.errors import ApiError, Code
from front.grammar import grammar_without
from front.task import Embeddings, Piece, Usage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from front.task import Finish, Task


class AnswerFormError(Exception):
    """A server's answer is not what its kind answers; the text repeats nothing of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A POST with a JSON body."""

    path: str
    document: Mapping[str, Any]


class Dialect(Protocol):
    """What one kind of server is asked, and what its answers mean."""

    @property
    def has_end_mark(self) -> bool:
        """Whether a stream without `[DONE]` has broken off."""

    def generate(self, task: Task) -> Call:
        """The request of a streamed answer.

        Raises:
            ApiError: `not_served`; this kind of server does not do such a task.
        """

    def piece(self, event: Mapping[str, Any]) -> Piece:
        """The meaning of one event of the stream.

        Raises:
            AnswerFormError: It has none.
        """

    def embed(self, texts: Sequence[str]) -> Call:
        """The request of some embeddings.

        Raises:
            ApiError: `not_served`.
        """

    def refusal(self, status: int, document: Mapping[str, Any]) -> ApiError:
        """Why the server refused a request; no text of its answer is repeated."""


class OpenAiDialect:
    """The part of OpenAI's API that servers speak alike: here, that of `trtllm-serve`."""

    has_end_mark = True

    def __init__(self, model: str) -> None:
        self._model = model

    def generate(self, task: Task) -> Call:
        """The request of a streamed answer.

        Raises:
            ApiError: `not_served`; words cannot be forbidden.
        """
        document = self._sampled(task)
        if isinstance(task.prompt, str):
            return Call(path="/v1/completions", document=document | {"prompt": task.prompt})
        turns = [{"role": turn.role, "content": turn.content} for turn in task.prompt]
        return Call(path="/v1/chat/completions", document=document | {"messages": turns})

    def piece(self, event: Mapping[str, Any]) -> Piece:
        """The meaning of a chunk of a completion or of a chat.

        Raises:
            AnswerFormError: It is none.
        """
        try:
            choices, usage = event["choices"], event.get("usage")
            choice = choices[0] if choices else {}
            text = choice["text"] if "text" in choice else choice.get("delta", {}).get("content")
            reason = choice.get("finish_reason")
            found = None if usage is None else _usage(usage)
        except (KeyError, IndexError, TypeError, AttributeError, ValueError) as exc:
            raise AnswerFormError("expected a chunk of a completion") from exc
        if not isinstance(text, str | None):
            raise AnswerFormError("expected a chunk of a completion")
        finish: Finish | None = (
            None if reason is None else "length" if reason == "length" else "stop"
        )
        return Piece(text=text or "", finish=finish, usage=found)

    def embed(self, texts: Sequence[str]) -> Call:
        """The request of some embeddings."""
        return Call(path="/v1/embeddings", document={"model": self._model, "input": list(texts)})

    def refusal(self, status: int, document: Mapping[str, Any]) -> ApiError:
        """Why the server refused a request."""
        return _refusal(status, document)

    def _sampled(self, task: Task) -> dict[str, Any]:
        sampling = task.sampling
        document: dict[str, Any] = {
            "model": self._model,
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "presence_penalty": sampling.presence_penalty,
            "frequency_penalty": sampling.frequency_penalty,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if sampling.stop:
            document["stop"] = list(sampling.stop)
        if sampling.seed is not None:
            document["seed"] = sampling.seed
        return document | self._extra(task)

    def _extra(self, task: Task) -> dict[str, Any]:
        if task.sampling.bad_words:
            raise _not_served("bad_words", "this server cannot forbid words")
        return {}


class LlamaDialect(OpenAiDialect):
    """llama.cpp's server: OpenAI's API, grammars, and a cache that stays off."""

    def _extra(self, task: Task) -> dict[str, Any]:
        # The server's own setting is off as well; a cached prefix would tell what others asked.
        extra: dict[str, Any] = {"cache_prompt": False}
        if task.sampling.bad_words:
            extra["grammar"] = grammar_without(task.sampling.bad_words)
        return extra


class TritonDialect:
    """Triton's generate extension, with the inputs of the reference's ensemble."""

    has_end_mark = False

    def generate(self, task: Task) -> Call:
        """The request of a streamed answer.

        Raises:
            ApiError: `not_served`; the ensemble knows no chats.
        """
        if not isinstance(task.prompt, str):
            raise _not_served("messages", "this server continues texts and knows no chats")
        sampling = task.sampling
        document: dict[str, Any] = {
            "text_input": task.prompt,
            "max_tokens": sampling.max_tokens,
            "bad_words": list(sampling.bad_words) or [""],
            "stop_words": list(sampling.stop) or [""],
            "stream": True,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
        }
        if sampling.seed is not None:
            document["random_seed"] = sampling.seed
        return Call(path="/v2/models/ensemble/generate_stream", document=document)

    def piece(self, event: Mapping[str, Any]) -> Piece:
        """The meaning of an event: its text. Triton says neither why it ends nor how long it was.

        Raises:
            AnswerFormError: It has no text.
        """
        text = event.get("text_output")
        if not isinstance(text, str):
            raise AnswerFormError("expected text_output")
        return Piece(text=text)

    def embed(self, texts: Sequence[str]) -> Call:
        """Nothing: the ensemble makes text.

        Raises:
            ApiError: `not_served`.
        """
        raise _not_served("input", f"this server makes no embeddings of {len(texts)} texts")

    def refusal(self, status: int, document: Mapping[str, Any]) -> ApiError:
        """Why the server refused a request."""
        return _refusal(status, document)


def dialect(kind: str, model: str) -> Dialect:
    """How a kind of server is asked.

    Args:
        kind: `llama-server`, `trtllm-serve` or `triton`.
        model: The name under which it serves its model.
    """
    if kind == "triton":
        return TritonDialect()
    return LlamaDialect(model) if kind == "llama-server" else OpenAiDialect(model)


KINDS = ("llama-server", "trtllm-serve", "triton")


def embeddings(document: Mapping[str, Any]) -> Embeddings:
    """The vectors of an answer to `/v1/embeddings`, in the order of the texts.

    Raises:
        AnswerFormError: It is none.
    """
    try:
        entries = sorted(document["data"], key=lambda entry: int(entry["index"]))
        return Embeddings(
            vectors=tuple(tuple(map(float, entry["embedding"])) for entry in entries),
            prompt_tokens=int(document["usage"]["prompt_tokens"]),
        )
    except (KeyError, TypeError, ValueError) as exc:
        raise AnswerFormError("expected a list of embeddings") from exc


def _usage(usage: Mapping[str, Any]) -> Usage:
    return Usage(
        prompt_tokens=int(usage["prompt_tokens"]),
        completion_tokens=int(usage["completion_tokens"]),
    )


_BAD_REQUEST = 400


def _refusal(status: int, document: Mapping[str, Any]) -> ApiError:
    error = document.get("error")
    detail: Mapping[str, Any] = error if isinstance(error, dict) else {}
    if detail.get("type") == "exceed_context_size_error":
        got, limit = detail.get("n_prompt_tokens"), detail.get("n_ctx")
        return ApiError(
            Code.CONTEXT_LENGTH_EXCEEDED, f"prompt; expected at most {limit} tokens; got {got}"
        )
    if status == _BAD_REQUEST:
        return ApiError(Code.INVALID_VALUE, "the model server does not take this request")
    return ApiError(Code.SERVER_FAILED, f"the model server failed with status {status}")


def _not_served(param: str, why: str) -> ApiError:
    return ApiError(Code.NOT_SERVED, f"{param}; {why}", param=param)
