from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.checkpoint import CheckpointError
from engine.checkpoint_portrait import portray_checkpoint
from engine.checkpoint_text import stated_licence
from supply_chain.digest import sha256_bytes, sha256_file
from tests.simulators.tiny_model import TEMPLATE, tiny_llama


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_llama(tmp_path / "llama", parts=2)
    return tmp_path / "llama"


def test_a_checkpoint_is_shown_with_licence_template_and_digests(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"a program")

    shown = portray_checkpoint(folder)

    assert "architecture  LlamaForCausalLM\n" in shown
    assert "licence       apache-2.0\n" in shown
    assert "tensors       21 BF16; 96192 numbers\n" in shown
    assert "  num_key_value_heads = 2\n" in shown
    digest = sha256_bytes(TEMPLATE.encode()).hex
    assert f"a program that the server runs, sha256 {digest}\n  | {TEMPLATE}\n" in shown
    table = shown.partition("[weights.files]\n")[2].splitlines()
    assert table == [
        f'"{path.name}" = "{sha256_file(path).hex}"'
        for path in sorted(folder.iterdir())
        if path.suffix != ".bin"
    ]


def test_templates_in_files_and_by_name_are_shown(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ one }}\n{{ \x1b[2J }}")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"chat_template": [{"name": "tools", "template": "{{ two }}"}]})
    )

    shown = portray_checkpoint(folder)

    assert "chat_template.jinja: a program" in shown
    assert "  | {{ one }}\n  | {{ \\x1b[2J }}\n" in shown
    assert "tokenizer_config.json, tools: a program" in shown
    assert "  | {{ two }}\n" in shown


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: llama2\n---\nText\n", "llama2"),
        ("---\ntags: [a]\n---\n", ""),
        ("---\nlicense: [a, b]\n---\n", ""),
        ("---\n- a\n---\n", ""),
        ("---\nlicense: mit\n", ""),
        ("# Title\n---\nlicense: mit\n---\n", ""),
        (None, ""),
    ],
)
def test_the_licence_is_the_cards(folder: Path, card: str | None, licence: str) -> None:
    (folder / "README.md").unlink()
    if card is not None:
        (folder / "README.md").write_text(card)

    assert stated_licence(folder) == licence


def test_what_is_absent_is_said(folder: Path) -> None:
    (folder / "README.md").unlink()
    (folder / "tokenizer_config.json").unlink()

    shown = portray_checkpoint(folder)

    assert "licence       not stated\n" in shown
    assert "\nchat template: none\n" in shown


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("README.md", "---\na: [\n---\n"),
        ("tokenizer_config.json", "{"),
        ("tokenizer_config.json", '{"chat_template": 1}'),
        ("chat_template.json", '{"chat_template": [{"name": "default"}]}'),
    ],
)
def test_a_malformed_file_is_named(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)

    with pytest.raises(CheckpointError, match=f"{name}: .*expected") as caught:
        portray_checkpoint(folder)

    assert caught.value.code == "engine.checkpoint"
