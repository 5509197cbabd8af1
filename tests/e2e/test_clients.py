"""The stock clients and the local proxy against the booted guest and its real model."""

from __future__ import annotations

import asyncio
import threading

import openai
import pytest

import publication
from blindllama import AttestedSession, ChannelBindingError, UsageError, completion
from blindllama.errors import Code
from deploy.qemu import vm
from standing import Published
from tests.simulators.relay import relaying

pytestmark = pytest.mark.e2e

PROMPT = "Once"
CAPITAL = "The capital of France is"
TOKENS = 2
"""A token read or written takes three seconds under emulation; with two, what is streamed comes in
pieces."""


@pytest.fixture(scope="module")
def words(session: AttestedSession) -> str:
    """Return what the model says; at temperature 0 it says the same to everybody."""
    return session.completion(PROMPT, max_tokens=TOKENS)


def test_openai(session: AttestedSession, words: str) -> None:
    (model,) = session.models()
    with session.openai() as client:
        answer = client.completions.create(
            model=model, prompt=PROMPT, max_tokens=TOKENS, temperature=0
        )
        assert answer.choices[0].text == words
        events = client.completions.create(
            model=model, prompt=PROMPT, max_tokens=TOKENS, temperature=0, stream=True
        )
        pieces = [event.choices[0].text for event in events]
        assert "".join(pieces) == words
        assert len([piece for piece in pieces if piece]) > 1
        chat = client.chat.completions.create(
            model=model,
            # The model's own template has a long one, which is read at the speed of an emulator.
            messages=[{"role": "system", "content": "Hi"}, {"role": "user", "content": "Hi"}],
            max_tokens=1,
        )
        assert chat.choices[0].message.content


def test_openai_asynchronous(session: AttestedSession, words: str) -> None:
    (model,) = session.models()

    async def ask() -> str:
        async with session.async_openai() as client:
            events = await client.completions.create(
                model=model, prompt=PROMPT, max_tokens=TOKENS, temperature=0, stream=True
            )
            return "".join([event.choices[0].text async for event in events])

    assert asyncio.run(ask()) == words


def test_httpx(session: AttestedSession, words: str) -> None:
    body = {"prompt": PROMPT, "max_tokens": TOKENS, "temperature": 0}
    with session.httpx() as client:
        answer = client.post("/v1/completions", json=body)
    assert answer.json()["choices"][0]["text"] == words


def test_the_call_of_the_first_blindllama(session: AttestedSession, words: str) -> None:
    assert completion.create(session=session, text_input=PROMPT, max_tokens=TOKENS) == words.strip()
    assert "Paris" in session.completion(CAPITAL, max_tokens=TOKENS)
    without = completion.create(
        session=session, text_input=CAPITAL, max_tokens=4, bad_words="Paris"
    )
    assert without
    assert "Paris" not in without
    with pytest.raises(UsageError, match="model; expected"):
        completion.create(session=session, text_input=PROMPT, model="meta-llama/Llama-2-7b-hf")


def test_a_program_behind_the_proxy(session: AttestedSession, words: str) -> None:
    with session.proxy() as proxy:
        thread = threading.Thread(target=proxy.serve)
        thread.start()
        try:
            base_url = f"{proxy.url}/v1"
            (model,) = session.models()
            with openai.OpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
                events = client.completions.create(
                    model=model, prompt=PROMPT, max_tokens=TOKENS, temperature=0, stream=True
                )
                assert "".join(event.choices[0].text for event in events) == words
        finally:
            proxy.stop()
            thread.join()


def test_t1_a_relay_gets_no_session_to_make_clients_from(
    published: Published, guest: vm.Guest
) -> None:
    with relaying(guest.url) as between:
        with pytest.raises(ChannelBindingError) as caught:
            publication.connect(published, between.url)
        assert caught.value.code is Code.EVIDENCE_KEY
        assert (between.attestations, between.application) == (1, [])
