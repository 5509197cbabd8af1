"""The bodies of requests, in strict types: a field that is not here is refused, not passed over.

Sampling and text only. There is no field that names a file, an address, an adapter, a tool or a
cache: what the model server might do with one is not the caller's to choose.

Source: OpenAI API reference, `/v1/completions`, `/v1/chat/completions`, `/v1/embeddings`.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from front.errors import ApiError, Code
from front.task import Message, Sampling, Task

DEFAULT_COMPLETION_TOKENS = 16
"""As in OpenAI's API."""

_WORDS = 16
_WORD = Annotated[str, Field(min_length=1, max_length=256)]
_SHOWN = 64
"""Characters of a field's name that an error repeats."""

Penalty = Annotated[float, Field(ge=-2, le=2)]


class Body(BaseModel):
    """A request's body."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class StreamOptions(Body):
    """What a stream also tells."""

    include_usage: bool = False


class Generating(Body):
    """The fields that completions and chats share."""

    model: str | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    presence_penalty: Penalty = 0.0
    frequency_penalty: Penalty = 0.0
    seed: Annotated[int, Field(ge=0, lt=2**32)] | None = None
    n: Literal[1] = 1
    """One answer for each request."""
    stop: _WORD | Annotated[tuple[_WORD, ...], Field(max_length=_WORDS)] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None

    @property
    def tells_usage(self) -> bool:
        """Whether a stream ends with the number of tokens."""
        return self.stream_options is not None and self.stream_options.include_usage

    def sampling(self, max_tokens: int) -> Sampling:
        """The sampling that is asked for."""
        stop = (self.stop,) if isinstance(self.stop, str) else self.stop or ()
        return Sampling(
            max_tokens=max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            seed=self.seed,
            stop=stop,
        )


Tokens = Annotated[int, Field(ge=1)]


class CompletionRequest(Generating):
    """`/v1/completions`."""

    prompt: (
        Annotated[str, Field(min_length=1)]
        | Annotated[
            tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1, max_length=1)
        ]
    )
    """One text, or a list of one."""
    max_tokens: Tokens | None = None

    def task(self, longest: int) -> Task:
        """What is to be generated; `longest` is the most tokens that may be asked for.

        Raises:
            ApiError: `too_many_tokens`.
        """
        wanted = self.max_tokens or min(DEFAULT_COMPLETION_TOKENS, longest)
        prompt = self.prompt if isinstance(self.prompt, str) else self.prompt[0]
        return Task(prompt=prompt, sampling=self.sampling(bounded(wanted, longest, "max_tokens")))


class TextPart(Body):
    """A part of a message; text is the only kind."""

    type: Literal["text"]
    text: str


class ChatMessage(Body):
    """A turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str | Annotated[tuple[TextPart, ...], Field(min_length=1)]

    @property
    def text(self) -> str:
        """All of its text."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


class ChatRequest(Generating):
    """`/v1/chat/completions`."""

    messages: Annotated[tuple[ChatMessage, ...], Field(min_length=1)]
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    """The newer name of `max_tokens`."""

    def task(self, longest: int) -> Task:
        """What is to be generated; `longest` is the most tokens that may be asked for.

        Raises:
            ApiError: `too_many_tokens`.
        """
        wanted = self.max_completion_tokens or self.max_tokens or longest
        turns = tuple(Message(role=turn.role, content=turn.text) for turn in self.messages)
        return Task(prompt=turns, sampling=self.sampling(bounded(wanted, longest, "max_tokens")))


class EmbeddingRequest(Body):
    """`/v1/embeddings`."""

    model: str | None = None
    input: (
        Annotated[str, Field(min_length=1)]
        | Annotated[
            tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1, max_length=64)
        ]
    )
    encoding_format: Literal["float", "base64"] = "float"
    """`base64` is little-endian 32-bit floats; OpenAI's own client asks for it."""

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts, one vector each."""
        return (self.input,) if isinstance(self.input, str) else self.input


_Body = TypeVar("_Body", bound=Body)


def parse_body(model: type[_Body], body: bytes) -> _Body:
    """The request of a body.

    Raises:
        ApiError: `invalid_json`, `unknown_field` or `invalid_value`; `param` names the field, and no
            value of the request is repeated.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as exc:
        found = exc.errors(include_url=False, include_context=False, include_input=False)
        unknown = [one for one in found if one["type"] == "extra_forbidden"]
        first = (unknown or found)[0]
        if first["type"] == "json_invalid":
            raise ApiError(Code.INVALID_JSON, "body; expected one JSON object in UTF-8") from None
        where = _field(first["loc"])
        if unknown:
            known = f"; expected {', '.join(model.model_fields)}" if len(first["loc"]) == 1 else ""
            raise ApiError(
                Code.UNKNOWN_FIELD, f"{where}; no such field is taken{known}", param=where
            ) from None
        # The chain would carry the value into whatever writes a traceback.
        raise ApiError(
            Code.INVALID_VALUE, f"{where or 'body'}; {first['msg']}", param=where or None
        ) from None


def bounded(wanted: int, longest: int, field: str) -> int:
    """The number of tokens asked for.

    Raises:
        ApiError: `too_many_tokens`.
    """
    if wanted > longest:
        raise ApiError(
            Code.TOO_MANY_TOKENS, f"{field}; expected at most {longest}; got {wanted}", param=field
        )
    return wanted


def _field(location: tuple[int | str, ...]) -> str:
    """The path of a field, printable and short: its name may be the caller's invention."""
    text = ".".join(str(part) for part in location if str(part).isidentifier() or part == 0)
    return (text or ("?" if location else ""))[:_SHOWN]
