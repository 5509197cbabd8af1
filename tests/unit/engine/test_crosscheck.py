from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from engine.crosscheck import CrossCheck, QuantisationError, cross_check
from engine.model import open_model
from tests.unit.engine.conftest import ModelWriter

ORDER = ("a.weight", "b.weight", "b_norm.weight", "position_embd.weight", "token_embd.weight")
ROUNDED = {"a.weight": "Q4_0", "b.weight": "Q4_0", "token_embd.weight": "Q8_0"}
Check = Callable[..., CrossCheck]


@pytest.fixture
def check(write_model: ModelWriter) -> Check:
    """Checks a model of five seeded tensors; the arguments say how it differs from a good one."""

    def run(quantisation: Literal["Q4_0", "Q8_0"] = "Q4_0", **changed: object) -> CrossCheck:
        common: dict[str, Any] = {"order": ORDER, "seed": 1}
        weights = write_model("weights.gguf", **common)
        model = write_model("model.gguf", **{**common, "types": ROUNDED, **changed})
        return cross_check(open_model(weights), open_model(model), quantisation)

    return run


def test_what_was_rounded_equals_numpy_and_the_rest_is_kept(check: Check) -> None:
    assert check() == CrossCheck(kept=2, rounded=3)


def test_the_order_of_a_file_does_not_matter(check: Check) -> None:
    assert check(order=ORDER[::-1]) == CrossCheck(kept=2, rounded=3)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": 2}, "a.weight: expected what the published weights round to"),
        ({"order": ORDER[:-1]}, "tensor: .* missing token_embd.weight, added none"),
        ({"order": (*ORDER, "c.weight")}, "tensor: .* missing none, added c.weight"),
        ({"columns": 64}, r"a.weight: expected the shape \[32, 2\], got \[64, 2\]"),
        ({"types": {**ROUNDED, "b.weight": "F32"}}, "b.weight: expected Q4_0, got F32"),
        ({"types": {**ROUNDED, "b.weight": "Q8_0"}}, "b.weight: expected Q4_0, got Q8_0"),
        (
            {"types": {**ROUNDED, "position_embd.weight": "Q4_0"}},
            "position_embd.weight: expected F32, got Q4_0",
        ),
        (
            {"types": {**ROUNDED, "b_norm.weight": "F16"}},
            "b_norm.weight: expected F32, got F16",
        ),
        ({"template": "{{ evil }}"}, "metadata tokenizer.chat_template: expected it as published"),
        ({"template": None}, "metadata: .* missing tokenizer.chat_template, added none"),
        ({"texts": {"general.more": "x"}}, "metadata: .* missing none, added general.more"),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(iter(value)),
)
def test_whatever_else_was_changed_is_found(
    check: Check, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(QuantisationError, match=message) as caught:
        check(**changed)

    assert caught.value.code == "engine.quantisation"


def test_a_changed_bit_of_a_rounded_tensor_is_found(
    write_model: ModelWriter, tmp_path: Path
) -> None:
    weights = write_model("weights.gguf", order=ORDER, seed=1)
    model = write_model("model.gguf", order=ORDER, seed=1, types=ROUNDED)
    tensor = next(t for t in open_model(model).tensors if t.name == "b.weight")
    data = bytearray(model.read_bytes())
    data[int(tensor.data_offset) + 3] ^= 1
    model.write_bytes(data)

    with pytest.raises(QuantisationError, match="b.weight: expected what") as caught:
        cross_check(open_model(weights), open_model(model), "Q4_0")

    assert caught.value.code == "engine.quantisation"
