"""A second opinion of the converter: every tensor of a GGUF file found in its checkpoint, by numpy.

The converter renames tensors, turns some and reorders the rows of others, in thousands of lines of
Python with PyTorch below. It is asked for float32, which rounds nothing, so that each tensor that it
wrote must equal the published one bit for bit.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from engine.checkpoint import CONFIG, Checkpoint, CheckpointError
from engine.checkpoint_text import chat_templates
from supply_chain.errors import BuildError

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGUFReader, ReaderTensor

_ROPE_FACTORS = "rope_freqs.weight"
_TEMPLATE = "tokenizer.chat_template"


class ConversionError(BuildError):
    """A converted model is not what its checkpoint says."""

    code: ClassVar[str] = "engine.conversion"


_Turn = Callable[["np.ndarray", Mapping[str, Any]], "np.ndarray"]


def _as_is(values: np.ndarray, _config: Mapping[str, Any]) -> np.ndarray:
    return values


def _transposed(values: np.ndarray, _config: Mapping[str, Any]) -> np.ndarray:
    # GPT-2 stores its matrices as inputs by outputs.
    return values.T if values.ndim == 2 else values


def _paired(heads: int, values: np.ndarray) -> np.ndarray:
    """Return the rows of each head in llama.cpp's order.

    Hugging Face rotates the first half of a head against the second, llama.cpp each even row
    against the odd one after it.
    """
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, -1)
    return halves.swapaxes(1, 2).reshape(values.shape)


def _query(values: np.ndarray, config: Mapping[str, Any]) -> np.ndarray:
    return _paired(int(config["num_attention_heads"]), values)


def _key(values: np.ndarray, config: Mapping[str, Any]) -> np.ndarray:
    heads = config.get("num_key_value_heads") or config["num_attention_heads"]
    return _paired(int(heads), values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How a family of models is named by Hugging Face, and how by llama.cpp."""

    architecture: str
    """llama.cpp's name."""
    prefix: str
    """What may stand before the name of a tensor, and is no part of it."""
    block: str
    """What stands before the number of a layer."""
    tensors: Mapping[str, tuple[str, _Turn]]
    """The tensors' names without `.weight` and `.bias`; a layer's own without what names the layer."""
    unused: re.Pattern[str]
    """Tensors that are no weights: masks and tables that every reader computes for itself."""
    numbers: Mapping[str, str]
    """Metadata of a GGUF file without the architecture, by the keys of `config.json`."""


FAMILIES = {
    "LlamaForCausalLM": Family(
        architecture="llama",
        prefix="model.",
        block="layers.",
        tensors={
            "embed_tokens": ("token_embd", _as_is),
            "norm": ("output_norm", _as_is),
            "lm_head": ("output", _as_is),
            "input_layernorm": ("attn_norm", _as_is),
            "post_attention_layernorm": ("ffn_norm", _as_is),
            "self_attn.q_proj": ("attn_q", _query),
            "self_attn.k_proj": ("attn_k", _key),
            "self_attn.v_proj": ("attn_v", _as_is),
            "self_attn.o_proj": ("attn_output", _as_is),
            "mlp.gate_proj": ("ffn_gate", _as_is),
            "mlp.up_proj": ("ffn_up", _as_is),
            "mlp.down_proj": ("ffn_down", _as_is),
        },
        unused=re.compile(r".*\.rotary_emb\.inv_freq"),
        numbers={
            "num_hidden_layers": "block_count",
            "max_position_embeddings": "context_length",
            "hidden_size": "embedding_length",
            "intermediate_size": "feed_forward_length",
            "num_attention_heads": "attention.head_count",
            "num_key_value_heads": "attention.head_count_kv",
            "rms_norm_eps": "attention.layer_norm_rms_epsilon",
            "rope_theta": "rope.freq_base",
            "vocab_size": "vocab_size",
        },
    ),
    "GPT2LMHeadModel": Family(
        architecture="gpt2",
        prefix="transformer.",
        block="h.",
        tensors={
            "wte": ("token_embd", _as_is),
            "wpe": ("position_embd", _as_is),
            "ln_f": ("output_norm", _as_is),
            "lm_head": ("output", _as_is),
            "ln_1": ("attn_norm", _as_is),
            "ln_2": ("ffn_norm", _as_is),
            "attn.c_attn": ("attn_qkv", _transposed),
            "attn.c_proj": ("attn_output", _transposed),
            "mlp.c_fc": ("ffn_up", _transposed),
            "mlp.c_proj": ("ffn_down", _transposed),
        },
        unused=re.compile(r".*\.attn\.(bias|masked_bias)"),
        numbers={
            "n_layer": "block_count",
            "n_ctx": "context_length",
            "n_embd": "embedding_length",
            "n_head": "attention.head_count",
            "layer_norm_epsilon": "attention.layer_norm_epsilon",
        },
    ),
}
"""The families that are converted, by Hugging Face's name of the class."""


def family_of(checkpoint: Checkpoint) -> Family:
    """The family of a checkpoint.

    Raises:
        CheckpointError: It is of none that is converted.
    """
    family = FAMILIES.get(checkpoint.architecture)
    if family is None:
        raise CheckpointError(
            f"{CONFIG}: architectures: expected one of {', '.join(sorted(FAMILIES))}, got "
            f"{checkpoint.config.get('architectures')}; convert the model elsewhere, and give the "
            "GGUF file as weights"
        )
    return family


def stated_context(checkpoint: Checkpoint) -> int | None:
    """The longest context that a checkpoint was made for, in tokens; None when it states none.

    Raises:
        CheckpointError: Its family is not converted, or it states no number.
    """
    numbers = family_of(checkpoint).numbers
    key = next(key for key, name in numbers.items() if name == "context_length")
    stated = _number(checkpoint.config, key)
    return None if stated is None else int(stated)


def unused_tensors(checkpoint: Checkpoint) -> frozenset[str]:
    """The names of a checkpoint's tensors that are no weights.

    Raises:
        CheckpointError: Its family is not converted.
    """
    family = family_of(checkpoint)
    return frozenset(name for name in checkpoint.tensors if family.unused.fullmatch(name))


def check_conversion(checkpoint: Checkpoint, converted: GGUFReader) -> int:
    """How many tensors a converted model has, all of which are those of its checkpoint.

    Args:
        checkpoint: As it was published.
        converted: What the converter made of it, in float32.

    Raises:
        CheckpointError: Its family is not converted, or it has a tensor that its family has not.
        ConversionError: A tensor, a number or a chat template is missing, added or different.
    """
    import numpy as np  # noqa: PLC0415 - it takes longer than all that a kept engine needs

    family = family_of(checkpoint)
    _check_numbers(checkpoint, family, converted)
    _check_templates(checkpoint, converted)
    made = {str(tensor.name): tensor for tensor in converted.tensors}
    factors = _rope_factors(checkpoint.config)
    if factors is not None:
        # Computed, and not published: the last bits may be the other library's.
        values = _shaped(_ROPE_FACTORS, factors, made.pop(_ROPE_FACTORS, None))
        if not np.allclose(values, factors, rtol=1e-5, atol=0):
            raise ConversionError(f"{_ROPE_FACTORS}: expected {factors}, got {values}")
    for name in sorted(checkpoint.tensors.keys() - unused_tensors(checkpoint)):
        target, turn = _target(family, name)
        values = turn(checkpoint.tensors[name].values(), checkpoint.config)
        _same(target, np.ascontiguousarray(values), made.pop(target, None))
    if made:
        raise ConversionError(f"tensors: expected none but the published ones, got {sorted(made)}")
    return len(converted.tensors)


def _target(family: Family, name: str) -> tuple[str, _Turn]:
    stem, _, kind = name.removeprefix(family.prefix).rpartition(".")
    layer = re.fullmatch(rf"{re.escape(family.block)}(\d+)\.(.+)", stem)
    known = family.tensors.get(layer[2] if layer else stem)
    if known is None or kind not in {"weight", "bias"}:
        raise CheckpointError(
            f"{name}: expected a tensor of a {family.architecture} model, got one that it has not"
        )
    return f"blk.{layer[1]}.{known[0]}.{kind}" if layer else f"{known[0]}.{kind}", known[1]


def _same(name: str, expected: np.ndarray, got: ReaderTensor | None) -> None:
    values = _shaped(name, expected, got)
    if expected.astype("<f4").tobytes() != values.tobytes():
        raise ConversionError(f"{name}: expected the published numbers, got other ones")


def _shaped(name: str, expected: np.ndarray, got: ReaderTensor | None) -> np.ndarray:
    if got is None:
        raise ConversionError(f"{name}: expected it in the converted model, it is missing")
    # ggml counts a shape from the inside.
    shape = tuple(int(size) for size in reversed(got.shape))
    if got.tensor_type.name != "F32" or shape != expected.shape:
        raise ConversionError(
            f"{name}: expected F32 of the shape {list(expected.shape)}, "
            f"got {got.tensor_type.name} of {list(shape)}"
        )
    return got.data


def _check_numbers(checkpoint: Checkpoint, family: Family, converted: GGUFReader) -> None:
    for key, name in family.numbers.items():
        expected = _number(checkpoint.config, key)
        field = converted.get_field(f"{family.architecture}.{name}")
        got = None if field is None else field.contents()
        if expected is None:
            continue
        if not isinstance(got, int | float) or not math.isclose(got, expected, rel_tol=1e-6):
            raise ConversionError(
                f"metadata {name}: expected {expected}, as {CONFIG} says in {key}, got {got}"
            )


def _check_templates(checkpoint: Checkpoint, converted: GGUFReader) -> None:
    """A template is a program: one that the checkpoint has not got in no other way."""
    published = {template.text for template in chat_templates(checkpoint.folder)}
    names = [name for name in converted.fields if name.startswith(_TEMPLATE)]
    for name in names:
        value = converted.fields[name].contents()
        # Beside several templates stands the list of their names.
        if isinstance(value, str) and value not in published:
            raise ConversionError(
                f"metadata {name}: expected a published chat template, got another"
            )
    if published and not names:
        raise ConversionError(f"metadata {_TEMPLATE}: expected the published one, got none")


def _number(config: Mapping[str, Any], key: str) -> float | None:
    # Newer checkpoints keep what concerns the rotation in a table of its own.
    value = config.get(key, _rope(config).get(key))
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        raise CheckpointError(f"{CONFIG}: {key}: expected a number, got {value!r}")
    return value


def _rope(config: Mapping[str, Any]) -> Mapping[str, Any]:
    for key in ("rope_parameters", "rope_scaling"):
        if isinstance(config.get(key), dict):
            found: dict[str, Any] = config[key]
            return found
    return {}


def _rope_factors(config: Mapping[str, Any]) -> np.ndarray | None:
    """Return by what Llama 3.1 and later divide each frequency of their rotation; else None.

    Source: Hugging Face transformers, modeling_rope_utils.py, _compute_llama3_parameters.
    """
    import numpy as np  # noqa: PLC0415 - as above

    rope = _rope(config)
    if rope.get("rope_type", rope.get("type")) != "llama3":
        return None
    size = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    base = _number(config, "rope_theta") or 10000.0
    longest = rope["original_max_position_embeddings"]
    low, high, factor = (rope[f"{k}factor"] for k in ("low_freq_", "high_freq_", ""))
    waves = 2 * math.pi * np.float32(base) ** (np.arange(0, size, 2, dtype=np.float32) / size)
    smooth = (longest / waves - low) / (high - low)
    between = 1 / ((1 - smooth) / factor + smooth)
    factors = np.where(waves < longest / high, 1, np.where(waves > longest / low, factor, between))
    return factors.astype(np.float32)
