from __future__ import annotations

from pathlib import Path

import pytest

from engine.model import ModelError, check_context, read_model
from supply_chain.digest import sha256_bytes
from tests.unit.engine.conftest import ModelWriter


def test_a_model_states_its_facts(write_model: ModelWriter) -> None:
    facts = read_model(write_model())

    assert facts.architecture == "llama"
    assert facts.licence == "apache-2.0"
    assert facts.chat_template == sha256_bytes(b"{{ messages }}")
    assert facts.tensor_types == {"F32": 2}


def test_what_is_not_stated_is_not_invented(write_model: ModelWriter) -> None:
    facts = read_model(write_model(licence=None, template=None))

    assert facts.licence == ""
    assert facts.chat_template is None


def test_the_digest_of_tensors_is_about_tensors_only(write_model: ModelWriter) -> None:
    one = read_model(write_model("one.gguf"))
    other_order = read_model(write_model("two.gguf", order=("b.weight", "a.weight"), template=None))
    other_data = read_model(write_model("three.gguf", fill=2.0))

    assert other_order.tensors == one.tensors
    assert other_data.tensors != one.tensors


@pytest.mark.parametrize("cut", [0, 3, 40, 200])
def test_a_cut_file_is_refused(write_model: ModelWriter, cut: int) -> None:
    path = write_model()
    path.write_bytes(path.read_bytes()[:cut])

    with pytest.raises(ModelError) as caught:
        read_model(path)

    assert caught.value.code == "engine.model"


def test_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"PK\x03\x04" + bytes(4096))

    with pytest.raises(ModelError) as caught:
        read_model(path)

    assert caught.value.code == "engine.model"


def test_a_context_is_compared_with_what_the_model_states(write_model: ModelWriter) -> None:
    check_context(read_model(write_model()).context_tokens, 1 << 17)
    check_context(256, 256)
    with pytest.raises(ModelError, match=r"context_tokens .* at most 256, .* got 257") as caught:
        check_context(256, 257)
    assert caught.value.code == "engine.model"


def test_a_context_that_is_no_number_is_refused(write_model: ModelWriter) -> None:
    path = write_model(texts={"llama.context_length": "long"})
    with pytest.raises(ModelError, match="llama.context_length: expected a number") as caught:
        read_model(path)
    assert caught.value.code == "engine.model"
