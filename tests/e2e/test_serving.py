"""What of the model's server a caller of a booted guest may use, and what is refused."""

from __future__ import annotations

import pytest

from blindllama import AttestedSession

pytestmark = pytest.mark.e2e

PROMPT = "The capital of France is"


def test_the_reference_api_streams(session: AttestedSession) -> None:
    body = {"text_input": PROMPT, "max_tokens": 3, "bad_words": "", "stop_words": ""}
    with session.post("/v2/models/ensemble/generate_stream", json=body, stream=True) as answer:
        assert answer.status_code == 200
        lines = [line for line in answer.iter_lines() if line]
    assert len(lines) > 1
    assert b"Paris" in b"".join(lines)


@pytest.mark.parametrize("path", ["/v1/props", "/slots", "/props", "/metrics", "/completion"])
def test_t5_no_page_of_the_server_is_reached(session: AttestedSession, path: str) -> None:
    assert session.get(path).status_code == 404
    assert session.post(path, json={}).status_code == 404


@pytest.mark.parametrize(
    ("extra", "status", "code"),
    [
        ({"lora": [{"id": 0}]}, 400, "unknown_field"),
        ({"cache_prompt": True}, 400, "unknown_field"),
        ({"model": "/models/other.gguf"}, 404, "model_not_found"),
        ({"max_tokens": 1 << 20}, 400, "too_many_tokens"),
        ({"prompt": "word " * 2000}, 400, "context_length_exceeded"),
    ],
)
def test_what_a_caller_may_not_choose_is_refused(
    session: AttestedSession, extra: dict[str, object], status: int, code: str
) -> None:
    body = {"prompt": PROMPT, "max_tokens": 1} | extra
    answer = session.post("/v1/completions", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_answers_hold_nothing_of_the_server(session: AttestedSession) -> None:
    body = {"prompt": PROMPT, "max_tokens": 1, "temperature": 0}
    answer = session.post("/v1/completions", json=body).json()
    assert set(answer) == {"id", "object", "created", "model", "choices", "usage"}
    assert set(answer["usage"]) == {"prompt_tokens", "completion_tokens", "total_tokens"}


def test_the_guest_is_healthy_since_the_model_speaks(session: AttestedSession) -> None:
    assert session.get("/healthz").status_code == 200
    assert session.get("/health").status_code == 404
