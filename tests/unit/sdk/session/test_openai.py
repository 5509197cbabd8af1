"""The stock openai client through the attested pool, synchronous and asynchronous."""

from __future__ import annotations

import asyncio
import sys

import pytest

from blindllama.errors import ChannelBindingError, Code, UsageError
from blindllama.session import AttestedSession
from tests.simulators.attested_server import WORDS, Server
from tests.simulators.openai_server import MODEL, VECTOR, OpenAiServer
from tests.unit.sdk.session.conftest import OTHER_KEY

MESSAGE = {"role": "user", "content": "Once"}
WHOLE = "".join(WORDS)


@pytest.fixture
def application(server: Server) -> OpenAiServer:
    made = OpenAiServer(server)
    server.application = made
    return made


def test_the_stock_client(
    session: AttestedSession, server: Server, application: OpenAiServer
) -> None:
    with session.openai() as client:
        assert client.models.list().data[0].id == MODEL
        text = client.completions.create(model=MODEL, prompt="Once")
        assert text.choices[0].text == WHOLE
        chat = client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "Once"}]
        )
        assert chat.choices[0].message.content == WHOLE
        vector = client.embeddings.create(model=MODEL, input="Once", encoding_format="float")
        assert tuple(vector.data[0].embedding) == VECTOR
    assert (server.attestations, server.handshakes) == (1, 1)
    # The client is closed, the session is not.
    assert session.get("/v1/models").status_code == 200


def test_a_token_is_there_before_the_next_one_is_made(
    session: AttestedSession, server: Server, application: OpenAiServer
) -> None:
    application.waits = True
    words = []
    with session.openai() as client:
        stream = client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "Once"}], stream=True
        )
        for event in stream:
            words.append(event.choices[0].delta.content)
            application.seen.release()
    assert words == list(WORDS)


def test_the_stock_asynchronous_client(
    session: AttestedSession, server: Server, application: OpenAiServer
) -> None:
    async def talk() -> list[str | None]:
        words = []
        async with session.async_openai() as client:
            vector = await client.embeddings.create(
                model=MODEL, input="Once", encoding_format="float"
            )
            assert tuple(vector.data[0].embedding) == VECTOR
            stream = await client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": "Once"}], stream=True
            )
            application.waits = True
            async for event in stream:
                words.append(event.choices[0].delta.content)
                application.seen.release()
        return words

    assert asyncio.run(talk()) == list(WORDS)
    assert server.attestations == 1


def test_many_tasks_share_one_attestation(
    session: AttestedSession, server: Server, application: OpenAiServer
) -> None:
    async def talk() -> list[str]:
        async with session.async_openai() as client:
            asked = [client.completions.create(model=MODEL, prompt="Once") for _ in range(16)]
            return [answer.choices[0].text for answer in await asyncio.gather(*asked)]

    assert asyncio.run(talk()) == [WHOLE] * 16
    assert server.attestations == 1


def test_t2_openai_s_environment_changes_nothing(
    session: AttestedSession,
    server: Server,
    application: OpenAiServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    for name in ("API_KEY", "ADMIN_KEY", "ORG_ID", "PROJECT_ID", "WEBHOOK_SECRET"):
        monkeypatch.setenv(f"OPENAI_{name}", "a secret")
    for name in ("HTTPS_PROXY", "ALL_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with session.openai() as client, client.with_options(timeout=5) as changed:
        assert changed.completions.create(model=MODEL, prompt="Once").choices[0].text == WHOLE
        assert str(changed.base_url) == f"{server.url}/v1/"
        sent = {**changed.default_headers, **changed.auth_headers}
        assert "a secret" not in str(sent)
        assert client.webhook_secret != "a secret"
    assert server.paths == ["/v1/completions"]


def test_t2_openai_has_no_other_address(session: AttestedSession, server: Server) -> None:
    with (
        session.openai() as client,
        client.with_options(base_url="https://example.invalid/v1") as elsewhere,
        pytest.raises(ChannelBindingError) as caught,
    ):
        elsewhere.completions.create(model=MODEL, prompt="a secret")
    assert caught.value.code is Code.CHANNEL_ORIGIN
    assert caught.value.report is not None
    assert server.application_bytes == 0


def test_t2_websockets_lead_nowhere(session: AttestedSession) -> None:
    """Openai would open a connection of its own for them, with the system's trust in names."""
    with session.openai() as client:
        url = client.realtime.connect(model=MODEL)._prepare_url()
    assert url.scheme not in {"ws", "wss"}


def test_t1_a_refusal_is_not_hidden_in_a_connection_error(
    session: AttestedSession, server: Server
) -> None:
    server.use_key(OTHER_KEY)
    with session.openai() as client, pytest.raises(ChannelBindingError) as caught:
        client.completions.create(model=MODEL, prompt="a secret")
    assert caught.value.code is Code.EVIDENCE_KEY
    assert server.attestations == 1  # and it is not tried again
    assert server.application_bytes == 0


@pytest.mark.parametrize("missing", ["openai", "httpx2"])
def test_without_the_extra(
    session: AttestedSession, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    for make in (session.openai, session.async_openai):
        with pytest.raises(UsageError, match=r"pip install \"blindllama\[openai\]\""):
            make()
