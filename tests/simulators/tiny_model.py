"""Tiny language models as Hugging Face publishes them: seeded weights, a real tokenizer, a card.

Their text is noise by design; what they prove is the way from `safetensors` to a served engine.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gguf import GGUFReader

WIDTH = 64
LAYERS = 2
HEADS = 4
KEY_HEADS = 2
INNER = 96
CONTEXT = 256
LLAMA3_ROTATION = {
    "rope_type": "llama3",
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
"""Llama 3.2's."""
CARD = "---\nlicense: {licence}\n---\n\n# A tiny model\n"
TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"

_CONTROL, _UNKNOWN, _BYTE = 3, 2, 6
_WORDS = ("▁", "▁the", "▁a", "e", "t", "a", "o", "n", "▁of", "ing")


def tiny_llama(
    folder: Path,
    *,
    seed: int = 1,
    licence: str = "apache-2.0",
    dtype: str = "BF16",
    parts: int = 1,
    rotation: Mapping[str, Any] | None = None,
    templates: list[dict[str, str]] | None = None,
) -> dict[str, np.ndarray]:
    """The weights of a two-layer Llama, which lies in `folder` with a SentencePiece tokenizer.

    Args:
        folder: A directory that is made.
        seed: Of its weights.
        licence: What its card states.
        dtype: The type of its tensors in the file: `BF16`, `F16` or `F32`.
        parts: In how many files they lie, with an index when more than one.
        rotation: `rope_scaling` of its configuration, which newer Llamas have.
        templates: Several chat templates by name, in the place of one.
    """
    vocabulary = 3 + 256 + len(_WORDS)
    random = np.random.default_rng(seed)
    shapes = {"model.embed_tokens": (vocabulary, WIDTH), "lm_head": (vocabulary, WIDTH)}
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        shapes |= {
            f"{at}self_attn.q_proj": (WIDTH, WIDTH),
            f"{at}self_attn.k_proj": (WIDTH * KEY_HEADS // HEADS, WIDTH),
            f"{at}self_attn.v_proj": (WIDTH * KEY_HEADS // HEADS, WIDTH),
            f"{at}self_attn.o_proj": (WIDTH, WIDTH),
            f"{at}mlp.gate_proj": (INNER, WIDTH),
            f"{at}mlp.up_proj": (INNER, WIDTH),
            f"{at}mlp.down_proj": (WIDTH, INNER),
        }
    tensors = {
        f"{name}.weight": random.normal(0, 0.2, shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    norms = ["model.norm"]
    for layer in range(LAYERS):
        norms += [f"model.layers.{layer}.{name}_layernorm" for name in ("input", "post_attention")]
    tensors |= {
        f"{name}.weight": random.uniform(0.5, 1.5, WIDTH).astype(np.float32) for name in norms
    }
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": WIDTH,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KEY_HEADS,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        **({} if rotation is None else {"rope_scaling": rotation}),
        "tie_word_embeddings": False,
        "vocab_size": vocabulary,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    _publish(folder, config, licence)
    (folder / "tokenizer.model").write_bytes(_sentencepiece())
    tokenizer = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "chat_template": TEMPLATE if templates is None else templates,
    }
    _write_json(folder / "tokenizer_config.json", tokenizer)
    return _write_weights(folder, tensors, dtype, parts)


def tiny_gpt2(
    folder: Path,
    *,
    vocabulary: GGUFReader,
    seed: int = 2,
    licence: str = "mit",
    dtype: str = "F32",
) -> dict[str, np.ndarray]:
    """The weights of a two-layer GPT-2, which lies in `folder` with a byte-pair tokenizer.

    The converter knows byte-pair tokenizers by what they make of one long text, so that only a real
    vocabulary will do: SmolLM2's, from its published model.

    Args:
        folder: A directory that is made.
        vocabulary: SmolLM2's model.
        seed: Of the weights.
        licence: What the card states.
        dtype: The type of its tensors in the file.
    """
    tokens = vocabulary.fields["tokenizer.ggml.tokens"].contents()
    random = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {
        "wte.weight": (len(tokens), WIDTH),
        "wpe.weight": (CONTEXT, WIDTH),
    }
    for layer in range(LAYERS):
        for name, rows, columns in (
            ("attn.c_attn", WIDTH, 3 * WIDTH),
            ("attn.c_proj", WIDTH, WIDTH),
            ("mlp.c_fc", WIDTH, 4 * WIDTH),
            ("mlp.c_proj", 4 * WIDTH, WIDTH),
        ):
            shapes[f"h.{layer}.{name}.weight"] = (rows, columns)
            shapes[f"h.{layer}.{name}.bias"] = (columns,)
    tensors = {
        name: random.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()
    }
    for name in ["ln_f", *(f"h.{layer}.ln_{n}" for layer in range(LAYERS) for n in (1, 2))]:
        tensors[f"{name}.weight"] = random.uniform(0.5, 1.5, WIDTH).astype(np.float32)
        tensors[f"{name}.bias"] = random.normal(0, 0.1, WIDTH).astype(np.float32)
    for layer in range(LAYERS):
        # The causal mask, which the published GPT-2 carries among its weights.
        mask = np.tril(np.ones((CONTEXT, CONTEXT), dtype=np.float32))
        tensors[f"h.{layer}.attn.bias"] = mask.reshape(1, 1, CONTEXT, CONTEXT)
    config = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "n_ctx": CONTEXT,
        "n_embd": WIDTH,
        "n_head": HEADS,
        "n_layer": LAYERS,
        "n_positions": CONTEXT,
        "vocab_size": len(tokens),
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    _publish(folder, config, licence)
    _write_json(folder / "tokenizer.json", _byte_pairs(vocabulary, tokens))
    tokenizer = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": tokens[0],
        "eos_token": tokens[0],
        "unk_token": tokens[0],
    }
    _write_json(folder / "tokenizer_config.json", tokenizer)
    return _write_weights(folder, tensors, dtype, parts=1)


def _publish(folder: Path, config: Mapping[str, Any], licence: str) -> None:
    folder.mkdir(parents=True)
    _write_json(folder / "config.json", config)
    (folder / "README.md").write_text(CARD.format(licence=licence), encoding="utf-8")


def _write_json(path: Path, document: object) -> None:
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")


def _write_weights(
    folder: Path, tensors: Mapping[str, np.ndarray], dtype: str, parts: int
) -> dict[str, np.ndarray]:
    names = sorted(tensors)
    held = {name: _stored(tensors[name], dtype) for name in names}
    where = {
        name: f"model-{index % parts + 1:05}-of-{parts:05}.safetensors"
        if parts > 1
        else "model.safetensors"
        for index, name in enumerate(names)
    }
    for file in sorted(set(where.values())):
        inside = {name: held[name] for name in names if where[name] == file}
        (folder / file).write_bytes(_safetensors(inside, dtype))
    if parts > 1:
        _write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": where})
    return {name: _restored(held[name], dtype) for name in names}


def _stored(tensor: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == "BF16":
        # Cut, not rounded: any value of the type will do.
        return (tensor.view(np.uint32) >> 16).astype("<u2")
    return tensor.astype({"F16": "<f2", "F32": "<f4"}[dtype])


def _restored(stored: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == "BF16":
        return (stored.astype(np.uint32) << 16).view(np.float32)
    return stored.astype(np.float32)


def _safetensors(tensors: Mapping[str, np.ndarray], dtype: str) -> bytes:
    """Source: safetensors, README, "Format"."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, tensor in tensors.items():
        end = len(data) + tensor.nbytes
        header[name] = {"dtype": dtype, "shape": tensor.shape, "data_offsets": [len(data), end]}
        data += tensor.tobytes()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def _sentencepiece() -> bytes:
    """A SentencePiece model of all bytes and some words.

    Source: sentencepiece, src/sentencepiece_model.proto: ModelProto.pieces = 1, trainer_spec = 2;
    SentencePiece.piece = 1, score = 2, type = 3; TrainerSpec.model_type = 3, byte_fallback = 35.
    """
    pieces = [("<unk>", 0.0, _UNKNOWN), ("<s>", 0.0, _CONTROL), ("</s>", 0.0, _CONTROL)]
    pieces += [(f"<0x{byte:02X}>", 0.0, _BYTE) for byte in range(256)]
    pieces += [(word, -float(index), 1) for index, word in enumerate(_WORDS)]
    out = b""
    for text, score, kind in pieces:
        piece = _field(1, text.encode()) + b"\x15" + struct.pack("<f", score) + bytes([0x18, kind])
        out += _field(1, piece)
    # Byte pairs (2), with bytes for what is in no piece.
    return out + _field(2, bytes([0x18, 2]) + b"\x98\x02\x01")


def _field(number: int, data: bytes) -> bytes:
    size, length = len(data), b""
    while size >= 0x80:
        length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + data


def _byte_pairs(vocabulary: GGUFReader, tokens: list[str]) -> dict[str, Any]:
    kinds = vocabulary.fields["tokenizer.ggml.token_type"].contents()
    special = [
        {
            "id": index,
            "content": token,
            "special": True,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
        }
        for index, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
        if kind == _CONTROL
    ]
    level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
    }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": True}, level],
        },
        "post_processor": None,
        "decoder": level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: index for index, token in enumerate(tokens)},
            "merges": vocabulary.fields["tokenizer.ggml.merges"].contents(),
        },
    }
