from __future__ import annotations

import re

import pytest

from engine.model import ModelError
from engine.portrait import portray, printable
from supply_chain.digest import sha256_bytes, sha256_file
from tests.unit.engine.conftest import ModelWriter


def test_a_model_is_shown_with_its_licence_and_its_template(write_model: ModelWriter) -> None:
    path = write_model(template="{% for m in messages %}\n{{ m }}{% endfor %}")
    shown = portray(path)

    digest = sha256_bytes(b"{% for m in messages %}\n{{ m }}{% endfor %}").hex
    assert f"sha256 {sha256_file(path).hex}\n" in shown
    assert "licence       apache-2.0\n" in shown
    assert "tensors       2 F32; sha256 " in shown
    assert "  general.architecture = llama\n" in shown
    assert shown.endswith(
        f"\ntokenizer.chat_template: a program that the server runs, sha256 {digest}\n"
        "  | {% for m in messages %}\n  | {{ m }}{% endfor %}\n"
    )


def test_further_templates_are_shown_too(write_model: ModelWriter) -> None:
    shown = portray(write_model(texts={"tokenizer.chat_template.tools": "{{ tools }}"}))

    assert re.search(r"chat_template\.tools: a program .*\n  \| \{\{ tools \}\}\n", shown)


def test_what_is_absent_is_said(write_model: ModelWriter) -> None:
    shown = portray(write_model(licence=None, template=None))

    assert "licence       not stated\n" in shown
    assert shown.endswith("\nchat template: none\n")


@pytest.mark.parametrize(
    ("hidden", "spelled"),
    [("\x1b[2J", r"\x1b[2J"), ("a\u202eb", r"a\u202eb"), ("a\rb", r"a\rb"), ("ž", "ž")],
)
def test_nothing_of_a_model_moves_the_cursor(
    write_model: ModelWriter, hidden: str, spelled: str
) -> None:
    assert printable(hidden) == spelled

    shown = portray(write_model(template=hidden, licence=hidden))

    assert hidden == spelled or hidden not in shown
    assert shown.endswith(f"  | {spelled}\n")


def test_another_format_is_refused(write_model: ModelWriter) -> None:
    path = write_model()
    path.write_bytes(b"PK")

    with pytest.raises(ModelError) as caught:
        portray(path)

    assert caught.value.code == "engine.model"
