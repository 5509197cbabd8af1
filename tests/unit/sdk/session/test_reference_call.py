"""The call of the first BlindLlama: what it took is taken, and nothing of it is passed over."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from blindllama import completion
from blindllama.errors import BusyError, Code, FormatError, NetworkError, UsageError
from blindllama.session import AttestedSession
from tests.simulators.attested_server import WORDS, Server
from tests.simulators.openai_server import MODEL, OpenAiServer
from tests.unit.sdk.session.test_requests import answering


@pytest.fixture(autouse=True)
def application(server: Server) -> None:
    server.application = OpenAiServer(server)


def test_the_call(session: AttestedSession, server: Server) -> None:
    text = completion.create(
        session=session,
        model=MODEL,
        text_input="What is machine learning?",
        max_tokens=20,
        bad_words="",
        stop_words="",
    )
    assert text == "".join(WORDS).strip()
    assert server.paths == ["/v1/models", "/v2/models/ensemble/generate"]
    assert json.loads(server.bodies[-1]) == {
        "text_input": "What is machine learning?",
        "max_tokens": 20,
        "bad_words": [],
        "stop_words": [],
    }
    assert (server.attestations, server.handshakes) == (1, 1)


@pytest.mark.parametrize(
    ("words", "listed"),
    [
        ("end", ["end"]),
        ("end, stop", ["end", "stop"]),
        ('"a, b",c', ["a, b", "c"]),
        (["a, b", ""], ["a, b"]),
    ],
)
@pytest.mark.parametrize("argument", ["bad_words", "stop_words"])
def test_words(
    session: AttestedSession,
    server: Server,
    argument: str,
    words: str | Sequence[str],
    listed: list[str],
) -> None:
    if argument == "bad_words":
        completion.create(session=session, text_input="Once", bad_words=words)
    else:
        completion.create(session=session, text_input="Once", stop_words=words)
    assert json.loads(server.bodies[-1])[argument] == listed


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"text_input": ""}, "text_input; expected a prompt"),
        ({"max_tokens": 0}, "max_tokens; expected at least 1"),
    ],
)
def test_what_cannot_be_done_is_refused(
    session: AttestedSession, server: Server, arguments: dict[str, object], told: str
) -> None:
    call: dict[str, object] = {"session": session, "text_input": "a secret"}
    with pytest.raises(UsageError, match=told):
        completion.create(**(call | arguments))  # type: ignore[arg-type] # wrong on purpose
    assert server.application_bytes == 0


def test_another_model_is_refused(session: AttestedSession, server: Server) -> None:
    """The guest's server would answer with the model that it has, under the name asked for."""
    with pytest.raises(UsageError, match=f"model; expected {MODEL}; got meta-llama/Llama-2-7b-hf"):
        completion.create(session=session, model="meta-llama/Llama-2-7b-hf", text_input="a secret")
    assert server.paths == ["/v1/models"]


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, UsageError), (400, UsageError), (500, NetworkError), (503, BusyError), (429, BusyError)],
)
def test_a_status_is_told_without_its_text(
    session: AttestedSession, server: Server, status: int, error: type[Exception]
) -> None:
    server.application = answering(status, b"a secret")
    with pytest.raises(error, match=f"completion: the server answers {status}") as caught:
        completion.create(session=session, text_input="a secret")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"[", Code.FORMAT_NOT_JSON),
        (b'{"text_output":["x"]}', Code.FORMAT_SCHEMA),
        (b'{"text_output":"x","text_output":"y"}', Code.FORMAT_DUPLICATE_KEY),
    ],
    ids=["not JSON", "no text", "two texts"],
)
def test_t4_an_answer_that_is_none(
    session: AttestedSession, server: Server, body: bytes, code: Code
) -> None:
    server.application = answering(200, body)
    with pytest.raises(FormatError) as caught:
        completion.create(session=session, text_input="a secret")
    assert caught.value.code is code


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"[", Code.FORMAT_NOT_JSON),
        (b'{"data":[{"name":"x"}]}', Code.FORMAT_SCHEMA),
        (b'{"data":' + b"[" * (1 << 18), Code.FORMAT_TOO_LARGE),
    ],
    ids=["not JSON", "no name", "too large"],
)
def test_t4_a_list_of_models_that_is_none(
    session: AttestedSession, server: Server, body: bytes, code: Code
) -> None:
    server.application = answering(200, body)
    with pytest.raises(FormatError) as caught:
        session.models()
    assert caught.value.code is code
    assert caught.value.report is not None


def test_a_guest_without_a_list_of_models(session: AttestedSession, server: Server) -> None:
    server.application = answering(404, b"a secret")
    with pytest.raises(UsageError, match="list of models: the server answers 404"):
        session.models()
