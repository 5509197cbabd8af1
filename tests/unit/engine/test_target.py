from __future__ import annotations

from pathlib import Path

import pytest

from engine.target import CPU_KINDS, Gpu, TargetError, check_target

A100 = Gpu(architecture="8.0", tensorrt_llm="1.2.1")


@pytest.mark.parametrize("gpu", [None, A100])
@pytest.mark.parametrize("kind", sorted(CPU_KINDS))
def test_what_a_processor_serves_fits_everywhere(
    tmp_path: Path, kind: str, gpu: Gpu | None
) -> None:
    manifest = tmp_path / "manifest.json"
    manifest.write_text(f'{{"kind": "{kind}", "name": "mine"}}')
    assert check_target(manifest, gpu) == kind


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "expected the manifest of an engine"),
        ("[", "expected the manifest of an engine"),
        ('{"kind": "gguf"}', "expected the manifest of an engine"),
        ('{"kind": "onnx", "name": "mine"}', "mine: expected an engine of kind gguf, .* got onnx"),
        ('{"kind": "trt-plan", "name": "mine"}', "expected the manifest of an engine"),
        (
            '{"kind": "trt-plan", "name": "mine", "materials": {"gpus": [], "libraries": {}}}',
            "expected the manifest of an engine",
        ),
        (
            '{"kind": "trt-plan", "name": "mine", "materials": {"gpus": 1, "libraries": {}}}',
            "expected a list of gpus",
        ),
        (None, "got no such file; build one: invoke engine.build"),
    ],
)
def test_what_is_no_engines_manifest_fits_nowhere(
    tmp_path: Path, content: str | None, message: str
) -> None:
    manifest = tmp_path / "manifest.json"
    if content is not None:
        manifest.write_text(content)
    with pytest.raises(TargetError, match=message) as caught:
        check_target(manifest, A100)
    assert caught.value.code == "engine.target"
