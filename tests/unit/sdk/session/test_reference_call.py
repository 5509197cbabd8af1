"""The call of the first BlindLlama: what it took is taken, and nothing of it is passed over."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from blindllama import completion
from blindllama.errors import Code, FormatError, UsageError
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
    assert server.paths == ["/v1/models", "/v1/completions"]
    sent = json.loads(server.bodies[-1])
    assert (sent["prompt"], sent["max_tokens"]) == ("What is machine learning?", 20)
    assert "stop" not in sent
    assert (server.attestations, server.handshakes) == (1, 1)


@pytest.mark.parametrize(
    ("words", "stop"),
    [
        ("end", ["end"]),
        ("end, stop", ["end", "stop"]),
        ('"a, b",c', ["a, b", "c"]),
        (["a, b", ""], ["a, b"]),
    ],
)
def test_stop_words(
    session: AttestedSession, server: Server, words: str | Sequence[str], stop: list[str]
) -> None:
    completion.create(session=session, text_input="Once", stop_words=words)
    assert json.loads(server.bodies[-1])["stop"] == stop


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"bad_words": "never"}, "bad_words; expected none"),
        ({"bad_words": ["never"]}, "bad_words; expected none"),
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
