"""A model that is brought as `safetensors`: converted, released, booted, verified, asked.

What a user changes for it is `engine.toml` and what the refusal names in the manifests.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from app_disk.image import server_image
from app_disk.layer import write_layer
from blindllama import AttestedSession
from building_site import Site
from engine.gguf import MANIFEST, MODEL
from engine.native import native_server
from engine.spec import CheckpointWeights, read_spec
from engine.target import RELEASE_MANIFEST
from supply_chain.digest import sha256_file
from supply_chain.step import StepResult
from tests.e2e.checkout import another_checkout, released
from tests.simulators.tiny_model import CONTEXT, tiny_llama

pytestmark = pytest.mark.e2e

NAME = "tiny-llama"
PROMPT = "Once upon a time"
TOKENS = 24


@pytest.fixture(scope="module")
def checkout(
    site: Site, results: Mapping[str, StepResult], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A checkout whose engine and manifests are about a model of its own."""
    assert results
    root = another_checkout(site, tmp_path_factory.mktemp("own") / "checkout")
    weights = root / "weights" / "mine"
    tiny_llama(weights, parts=2)
    files = (f'"{path.name}" = "{sha256_file(path).hex}"' for path in sorted(weights.iterdir()))
    (root / "engine" / "engine.toml").write_text(
        f'name = "{NAME}"\nkind = "gguf"\nquantisation = "Q8_0"\nlicence = "Apache-2.0"\n'
        '[weights]\nfolder = "weights/mine"\n[weights.files]\n' + "\n".join(files) + "\n"
        f"[server]\ncontext_tokens = {CONTEXT}\nslots = 1\nthreads = 1\n"
    )
    manifest = root / "app_disk" / "apps" / "llm" / "manifests" / "deployment.yaml"
    text = manifest.read_text("utf-8")
    changed = text.replace("smollm2-135m-instruct", NAME).replace('"512"', f'"{CONTEXT}"')
    assert changed != text
    manifest.write_text(changed, "utf-8")
    return root


@pytest.fixture(scope="module")
def session(checkout: Path) -> Iterator[AttestedSession]:
    """A verified session with the model, released and booted by `invoke release`."""
    # With a network: nothing else needs the converter, and it is fetched when it is missing.
    asked = ("--prompt", PROMPT, "--tokens", str(TOKENS))
    with released(checkout, *asked, says=f"> {PROMPT}") as verified:
        yield verified


def test_the_guest_answers_as_the_converted_model_does_here(
    session: AttestedSession, checkout: Path, site: Site, tmp_path: Path
) -> None:
    write_layer(server_image(site.inputs.tree("llama")).layer, tmp_path / "root")
    spec = read_spec(checkout / "engine" / "engine.toml")
    model = checkout / "build" / "engine" / MODEL
    with native_server(spec, model=model, root=tmp_path / "root") as native:
        expected = native.complete(PROMPT, max_tokens=TOKENS)

    assert expected
    # The API hears a stream, which leaves out a character of the noise that is cut at its end.
    assert session.completion(PROMPT, max_tokens=TOKENS) == expected.rstrip("\ufffd")
    assert [model["id"] for model in session.get("/v1/models").json()["data"]] == [NAME]


def test_the_release_is_named_after_it_and_says_what_it_was_made_from(
    session: AttestedSession, checkout: Path
) -> None:
    """The files of the checkpoint are materials of the signed step, and in the engine's manifest."""
    release = checkout / "dist" / "release"
    weights = read_spec(checkout / "engine" / "engine.toml").weights
    assert isinstance(weights, CheckpointWeights)
    manifest = json.loads((release / RELEASE_MANIFEST).read_bytes())
    assert (manifest["name"], manifest["weights"]["files"]) == (NAME, dict(weights.files))
    assert (checkout / "build" / "engine" / MANIFEST).read_bytes() == (
        release / RELEASE_MANIFEST
    ).read_bytes()
    (link,) = (release / "links").glob("engine.*.link")
    materials = json.loads(base64.b64decode(json.loads(link.read_bytes())["payload"]))["materials"]
    for name, digest in weights.files.items():
        assert materials[f"inputs/{name}"] == {"sha256": digest}
    assert session.report.passed
