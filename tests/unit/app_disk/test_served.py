from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from app_disk.application import App, parse_app
from app_disk.manifest import Fault, ManifestError
from app_disk.served import ServedEngine, check_served
from app_disk.source import manifest_files
from engine.spec import read_spec


@pytest.fixture
def texts(default_app: Path) -> list[str]:
    return [path.read_text("utf-8") for path in manifest_files(default_app)]


@pytest.fixture
def app(texts: list[str]) -> App:
    return parse_app(texts)


@pytest.fixture
def served(checkout: Path) -> ServedEngine:
    spec = read_spec(checkout / "engine" / "engine.toml")
    return ServedEngine(name=spec.name, **spec.server.model_dump())


def refused(app: App, served: ServedEngine) -> str:
    with pytest.raises(ManifestError) as caught:
        check_served(app, served)
    assert (caught.value.code, caught.value.fault) == ("app_disk.manifest", Fault.ENGINE)
    return str(caught.value)


def test_the_default_application_serves_the_default_engine(app: App, served: ServedEngine) -> None:
    check_served(app, served)


def written(value: str) -> str:
    """A value as the manifests write it: numbers are texts too."""
    return json.dumps(value) if value.isdecimal() else value


def with_option(texts: list[str], option: str, old: str, *new: str) -> App:
    """The application with other values of an option, each once; without it if none is given."""
    before, after = (
        "".join(f"            - {word}\n" for value in values for word in (option, written(value)))
        for values in ((old,), new)
    )
    assert any(before in text for text in texts), before
    return parse_app([text.replace(before, after, 1) for text in texts])


@pytest.mark.parametrize(
    ("option", "old", "new", "container", "expected"),
    [
        ("--model", "smollm2-135m-instruct", ["other"], "front", "--model smollm2-135m-instruct"),
        ("--alias", "smollm2-135m-instruct", ["other"], "server", "--alias smollm2-135m-instruct"),
        ("--ctx-size", "512", ["1024"], "server", "--ctx-size 512"),
        ("--ctx-size", "512", ["256"], "server", "--ctx-size 512"),
        ("--ctx-size", "512", [], "server", "--ctx-size 512"),
        ("--ctx-size", "512", ["512", "1024"], "server", "--ctx-size 512"),
        ("--max-tokens", "512", ["513"], "front", "--max-tokens of at most 512"),
        ("--max-tokens", "512", ["all"], "front", "--max-tokens of at most 512"),
        ("--concurrent", "1", ["2"], "front", "--concurrent 1"),
        ("--parallel", "1", ["2"], "server", "--parallel 1"),
        ("--threads", "1", ["2"], "server", "--threads 1"),
        ("--threads-batch", "1", ["2"], "server", "--threads-batch 1"),
    ],
)
def test_what_the_manifests_say_otherwise_is_named(
    texts: list[str],
    served: ServedEngine,
    option: str,
    old: str,
    new: list[str],
    container: str,
    expected: str,
) -> None:
    got = " and ".join(f"{option} {value}" for value in new) or "none"
    assert refused(with_option(texts, option, old, *new), served) == (
        f"manifest: pod llm, container {container}: expected {expected}, as engine.toml has it, "
        f"got {got}; change one of the two"
    )


def test_a_shorter_answer_may_be_asked_for(texts: list[str], served: ServedEngine) -> None:
    check_served(with_option(texts, "--max-tokens", "512", "100"), served)


def test_vectors_are_served_where_the_engine_says_so(app: App, served: ServedEngine) -> None:
    text = refused(app, replace(served, embeddings=True))
    assert "expected --embeddings, as engine.toml has it, got none" in text


def test_vectors_are_not_served_in_the_place_of_text(
    texts: list[str], served: ServedEngine
) -> None:
    changed = [text.replace("- --no-warmup", "- --embeddings") for text in texts]
    assert changed != texts
    text = refused(parse_app(changed), served)
    assert "expected no --embeddings, as engine.toml has it, got --embeddings" in text


def test_what_serves_no_model_is_nobodys_business(served: ServedEngine, checkout: Path) -> None:
    hello = checkout / "app_disk" / "apps" / "hello"
    check_served(
        parse_app([path.read_text("utf-8") for path in manifest_files(hello)]),
        replace(served, name="other"),
    )
