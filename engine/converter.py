"""llama.cpp's own converter, run in a root of locked packages, without a network."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from engine.checkpoint import hide_tensors, open_checkpoint
from engine.conversion import check_conversion, unused_tensors
from engine.model import open_model
from supply_chain.inputs.tree import Bind

if TYPE_CHECKING:
    from pathlib import Path

    from supply_chain.inputs.tree import Tree
    from supply_chain.progress import Progress

CONVERTER_SET = "converter"
"""The set of Debian packages that holds the converter, PyTorch and the tokenizers."""

_PROGRAM = "/usr/share/doc/llama.cpp-tools/scripts/convert_hf_to_gguf.py"
_LIBRARIES = "/usr/lib/x86_64-linux-gnu"
_MODEL = PurePosixPath("/in/model")
_OUT = PurePosixPath("/out")


def convert_argv(folder: PurePosixPath, out: PurePosixPath, *, name: str) -> list[str]:
    """The command that writes a checkpoint as one GGUF file.

    Args:
        folder: The checkpoint; its name reaches the file's metadata.
        out: The file.
        name: The model's name in the metadata.

    Source: llama.cpp, convert_hf_to_gguf.py.
    """
    return [
        "/usr/bin/python3",
        "-B",
        _PROGRAM,
        str(folder),
        "--outfile",
        str(out),
        # Holds every published type exactly: the one rounding is the quantiser's.
        "--outtype",
        "f32",
        "--model-name",
        name,
    ]


def convert_checkpoint(
    folder: Path, *, name: str, tree: Tree, out: Path, progress: Progress
) -> Path:
    """The checkpoint as the GGUF file `out`, equal to it tensor by tensor.

    Args:
        folder: A copy of the checkpoint, which may be changed.
        name: The model's name.
        tree: The root that holds the converter.
        out: The file, in an existing directory where nothing else is called so.
        progress: Where the work is told.

    Raises:
        CheckpointError: It is malformed, or of a family that is not converted.
        CommandError: The converter failed.
        ConversionError: It wrote something else than was published.
    """
    checkpoint = open_checkpoint(folder)
    # The converter stops at GPT-2's masks, which are no weights (llama.cpp 0.7.0, gpt2.py).
    if unused := unused_tensors(checkpoint):
        for path in sorted(folder.glob("*.safetensors")):
            hide_tensors(path, unused)
    made = out.parent / f".{out.name}.made"
    made.mkdir()
    with progress.step("engine: convert the checkpoint"):
        tree.run(
            convert_argv(_MODEL, _OUT / out.name, name=name),
            binds=[
                # A fixed name: the converter writes its folder's name into the metadata.
                Bind(host=folder, inside=str(_MODEL), read_only=True),
                Bind(host=made, inside=str(_OUT), read_only=False),
            ],
            env={
                # In Debian, a script of the package links these two among the other libraries.
                "LD_LIBRARY_PATH": f"{_LIBRARIES}/blas:{_LIBRARIES}/lapack",
                # The names of several chat templates go through a set.
                "PYTHONHASHSEED": "0",
            },
        )
    (made / out.name).rename(out)
    made.rmdir()
    with progress.step("engine: check every converted tensor in numpy"):
        check_conversion(checkpoint, open_model(out))
    return out
