"""Checkpoints are read strictly, and converted tensors looked for in them, without the converter."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFWriter
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.checkpoint import Checkpoint, CheckpointError, hide_tensors, open_checkpoint
from engine.conversion import ConversionError, check_conversion, unused_tensors
from engine.model import open_model
from tests.simulators.tiny_model import (
    CONTEXT,
    HEADS,
    INNER,
    KEY_HEADS,
    LAYERS,
    LLAMA3_ROTATION,
    TEMPLATE,
    WIDTH,
    tiny_llama,
)

MODEL = "model.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_llama(tmp_path / "llama")
    return tmp_path / "llama"


def _rewrite(
    path: Path, change: Callable[[dict[str, Any]], None], data: bytes | None = None
) -> None:
    held = path.read_bytes()
    (size,) = struct.unpack("<Q", held[:8])
    header = json.loads(held[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(
        struct.pack("<Q", len(text)) + text + (held[8 + size :] if data is None else data)
    )


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
@pytest.mark.parametrize("parts", [1, 3])
def test_a_checkpoint_is_read_exactly(tmp_path: Path, dtype: str, parts: int) -> None:
    published = tiny_llama(tmp_path / "m", dtype=dtype, parts=parts)

    checkpoint = open_checkpoint(tmp_path / "m")

    assert checkpoint.architecture == "LlamaForCausalLM"
    assert checkpoint.tensors.keys() == published.keys()
    for name, values in published.items():
        read = checkpoint.tensors[name].values()
        assert read.dtype == np.float32
        assert read.shape == values.shape
        assert read.tobytes() == values.tobytes()


def _overlap(header: dict[str, Any]) -> None:
    first, second = (name for name in list(header)[1:3])
    header[second]["data_offsets"] = header[first]["data_offsets"]


def _outside(header: dict[str, Any]) -> None:
    header[list(header)[-1]]["data_offsets"][1] += 1


def _larger(header: dict[str, Any]) -> None:
    header[list(header)[1]]["shape"][0] += 1


def _negative(header: dict[str, Any]) -> None:
    entry = header[list(header)[1]]
    entry["shape"] = [-one for one in entry["shape"]]


def _unknown(header: dict[str, Any]) -> None:
    header[list(header)[1]]["dtype"] = "F4"


def _surprise(header: dict[str, Any]) -> None:
    header[list(header)[1]]["surprise"] = 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_overlap, "expected it from byte"),
        (_outside, "expected it from byte"),
        (_larger, "bytes for the shape"),
        (_unknown, "dtype"),
        (_surprise, "surprise"),
        (_negative, "shape"),
        (lambda header: header.popitem(), "bytes of data, got"),
        (dict.clear, "tensors"),
    ],
)
def test_a_malformed_header_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    _rewrite(folder / MODEL, change)

    with pytest.raises(CheckpointError, match=message) as caught:
        open_checkpoint(folder)

    assert caught.value.code == "engine.checkpoint"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01",
        struct.pack("<Q", 0),
        struct.pack("<Q", 1 << 62) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 2) + b"{",
        struct.pack("<Q", 200_000) + b"[" * 200_000,
        struct.pack("<Q", 13) + b'{"a":1,"a":1}',
    ],
)
def test_what_is_no_safetensors_file_is_refused(folder: Path, data: bytes) -> None:
    (folder / MODEL).write_bytes(data)

    with pytest.raises(CheckpointError, match=f"{MODEL}: expected the header") as caught:
        open_checkpoint(folder)

    assert caught.value.code == "engine.checkpoint"


@settings(max_examples=200, deadline=None)
@given(
    at=st.integers(0, 3000),
    put=st.binary(max_size=8) | st.sampled_from([b'"', b"}", b"9", b"-", b"null", b"[[[["]),
    cut=st.integers(0, 8),
)
def test_a_damaged_header_is_refused_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, at: int, put: bytes, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("damaged") / "llama"
    tiny_llama(folder)
    held = (folder / MODEL).read_bytes()
    (folder / MODEL).write_bytes(held[:at] + put + held[at + cut :])

    try:
        checkpoint = open_checkpoint(folder)
    except CheckpointError:
        return
    for tensor in checkpoint.tensors.values():
        if tensor.dtype in {"F32", "F16", "BF16"}:
            assert tensor.values().shape == tensor.shape


def test_a_tensor_in_two_files_is_refused(folder: Path) -> None:
    (folder / "other.safetensors").write_bytes((folder / MODEL).read_bytes())

    with pytest.raises(CheckpointError, match="expected once, it is in two files") as caught:
        open_checkpoint(folder)

    assert caught.value.code == "engine.checkpoint"


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    tiny_llama(tmp_path / "m", parts=3)
    (tmp_path / "m" / "model-00002-of-00003.safetensors").unlink()

    with pytest.raises(CheckpointError, match="some in model-00002-of-00003.safe") as caught:
        open_checkpoint(tmp_path / "m")

    assert caught.value.code == "engine.checkpoint"


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"weight_map": 1}'])
def test_a_malformed_index_is_refused(folder: Path, text: str) -> None:
    (folder / "model.safetensors.index.json").write_text(text)

    with pytest.raises(CheckpointError, match="expected an index of tensors") as caught:
        open_checkpoint(folder)

    assert caught.value.code == "engine.checkpoint"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (MODEL, None, "expected a file .*safetensors, got none"),
        ("config.json", None, "config.json: expected JSON"),
        ("config.json", "{", "config.json: expected JSON"),
        ("config.json", "[]", "config.json: expected an object"),
    ],
)
def test_an_incomplete_folder_is_refused(
    folder: Path, name: str, text: str | None, message: str
) -> None:
    (folder / name).unlink()
    if text is not None:
        (folder / name).write_text(text)

    with pytest.raises(CheckpointError, match=message) as caught:
        open_checkpoint(folder)

    assert caught.value.code == "engine.checkpoint"


def test_a_hidden_tensor_is_gone_and_nothing_else_has_moved(folder: Path) -> None:
    before = open_checkpoint(folder)
    size = (folder / MODEL).stat().st_size
    held = (folder / MODEL).read_bytes()

    hide_tensors(folder / MODEL, frozenset({"lm_head.weight", "absent"}))

    after = (folder / MODEL).read_bytes()
    (header,) = struct.unpack("<Q", after[:8])
    assert len(after) == size
    assert after[8 + header :] == held[8 + header :]
    named = json.loads(after[8 : 8 + header])
    assert before.tensors.keys() - named.keys() == {"lm_head.weight"}


def _paired(values: np.ndarray, heads: int) -> np.ndarray:
    """Row by row, as llama.cpp wants them: slow, and obviously right."""
    size = values.shape[0] // heads
    order = [
        head * size + pair + half * (size // 2)
        for head in range(heads)
        for pair in range(size // 2)
        for half in range(2)
    ]
    return values[order]


@pytest.fixture
def convert(folder: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes what the converter would, with changes."""

    def write(
        *,
        tensors: dict[str, np.ndarray | None] | None = None,
        numbers: dict[str, float] | None = None,
        template: str | None = TEMPLATE,
    ) -> Path:
        path = tmp_path / "converted.gguf"
        writer = GGUFWriter(path, "llama")
        if template is not None:
            writer.add_chat_template(template)
        values: dict[str, float] = {
            "block_count": LAYERS,
            "context_length": CONTEXT,
            "embedding_length": WIDTH,
            "feed_forward_length": INNER,
            "attention.head_count": HEADS,
            "attention.head_count_kv": KEY_HEADS,
            "attention.layer_norm_rms_epsilon": 1e-5,
            "rope.freq_base": 10000.0,
            "vocab_size": 269,
        } | (numbers or {})
        for name, value in values.items():
            if name in {"attention.layer_norm_rms_epsilon", "rope.freq_base"}:
                writer.add_float32(f"llama.{name}", value)
            else:
                writer.add_uint32(f"llama.{name}", int(value))
        made: dict[str, np.ndarray | None] = {}
        for name, tensor in open_checkpoint(folder).tensors.items():
            made[_renamed(name)] = tensor.values()
        for layer in range(LAYERS):
            for name, heads in ((f"blk.{layer}.attn_q", HEADS), (f"blk.{layer}.attn_k", KEY_HEADS)):
                rows = made[f"{name}.weight"]
                assert rows is not None
                made[f"{name}.weight"] = _paired(rows, heads)
        for name, values_of in (made | (tensors or {})).items():
            if values_of is not None:
                writer.add_tensor(name, values_of)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return write


def _renamed(name: str) -> str:
    for old, new in (
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
        ("model.layers.", "blk."),
        ("self_attn.o_proj", "attn_output"),
        ("self_attn.", "attn_"),
        ("mlp.", "ffn_"),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
        ("_proj", ""),
    ):
        name = name.replace(old, new)
    return name


def test_converted_tensors_are_the_published_ones(
    folder: Path, convert: Callable[..., Path]
) -> None:
    assert check_conversion(open_checkpoint(folder), open_model(convert())) == 3 + 9 * LAYERS


ZEROS = np.zeros((WIDTH, WIDTH), dtype=np.float32)


@pytest.mark.parametrize(
    ("tensors", "numbers", "message"),
    [
        ({"blk.0.attn_q.weight": ZEROS}, {}, "attn_q.weight: expected the published numbers"),
        ({"blk.0.attn_q.weight": ZEROS[:32]}, {}, r"F32 of the shape \[64, 64\]"),
        ({"blk.0.attn_q.weight": ZEROS.astype(np.float16)}, {}, "got F16 of"),
        ({"blk.0.attn_q.weight": None}, {}, "it is missing"),
        ({"blk.2.attn_q.weight": ZEROS}, {}, "got .'blk.2.attn_q.weight'"),
        ({}, {"rope.freq_base": 10001.0}, "rope.freq_base: expected 10000.0"),
        ({}, {"attention.head_count": 8}, "attention.head_count: expected 4"),
    ],
)
def test_a_conversion_that_differs_is_refused(
    folder: Path,
    convert: Callable[..., Path],
    tensors: dict[str, np.ndarray | None],
    numbers: dict[str, float],
    message: str,
) -> None:
    converted = open_model(convert(tensors=tensors, numbers=numbers))

    with pytest.raises(ConversionError, match=message) as caught:
        check_conversion(open_checkpoint(folder), converted)

    assert caught.value.code == "engine.conversion"


@pytest.mark.parametrize(
    ("template", "message"),
    [("{{ other }}", "expected a published chat template"), (None, "expected the published one")],
)
def test_a_chat_template_that_nobody_published_is_refused(
    folder: Path, convert: Callable[..., Path], template: str | None, message: str
) -> None:
    converted = open_model(convert(template=template))

    with pytest.raises(ConversionError, match=message) as caught:
        check_conversion(open_checkpoint(folder), converted)

    assert caught.value.code == "engine.conversion"


def _configured(folder: Path, **changes: object) -> Checkpoint:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return open_checkpoint(folder)


def test_the_rotation_of_newer_llamas_is_computed_again(
    folder: Path, convert: Callable[..., Path]
) -> None:
    checkpoint = _configured(folder, rope_scaling=LLAMA3_ROTATION)
    # Heads of 16 rows have eight waves, of 2 pi * 10000^(i/8): the first six are shorter than a
    # quarter of 8192 and stay, the seventh (6283) is blended, the last (19869) is slowed by 32.
    blended = 1 / ((1 - (8192 / 6283.1853 - 1) / 3) / 32 + (8192 / 6283.1853 - 1) / 3)
    factors = np.array([1, 1, 1, 1, 1, 1, blended, 32], dtype=np.float32)
    good = convert(tensors={"rope_freqs.weight": factors})

    assert check_conversion(checkpoint, open_model(good)) == 4 + 9 * LAYERS
    for wrong in (None, factors[::-1].copy()):
        bad = convert(tensors={"rope_freqs.weight": wrong})
        with pytest.raises(ConversionError, match="rope_freqs.weight: expected") as caught:
            check_conversion(checkpoint, open_model(bad))
        assert caught.value.code == "engine.conversion"


@pytest.mark.parametrize("named", [["QwenForCausalLM"], ["LlamaForCausalLM"] * 2, None, "Llama"])
def test_another_family_is_refused(folder: Path, named: object) -> None:
    with pytest.raises(CheckpointError, match="expected one of GPT2LMHeadModel, Llama") as caught:
        unused_tensors(_configured(folder, architectures=named))

    assert caught.value.code == "engine.checkpoint"


def test_a_tensor_that_the_family_has_not_is_refused(
    folder: Path, convert: Callable[..., Path]
) -> None:
    def rename(header: dict[str, Any]) -> None:
        header["model.layers.0.mlp.router.weight"] = header.pop("model.layers.0.mlp.up_proj.weight")

    converted = open_model(convert())
    _rewrite(folder / MODEL, rename)

    with pytest.raises(CheckpointError, match="router.weight: expected a tensor of") as caught:
        check_conversion(open_checkpoint(folder), converted)

    assert caught.value.code == "engine.checkpoint"
