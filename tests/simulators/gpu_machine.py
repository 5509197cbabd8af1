"""A machine with GPUs and the vendor's container, as far as a build asks them; it compiles nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from supply_chain.errors import CommandError


@dataclass
class GpuMachine:
    """Answers the commands of a build, and refuses every other one."""

    folder: Path
    """Where its programs are."""
    gpus: str = "NVIDIA A100-SXM4-80GB, 8.0, 550.54.15\n"
    libraries: dict[str, str] = field(
        default_factory=lambda: {
            "tensorrt": "10.14.1.48",
            "tensorrt_llm": "1.2.1",
            "torch": "2.9.0",
            "cuda": "13.0",
        }
    )
    programs: tuple[str, ...] = ("nvidia-smi", "podman")
    images: frozenset[str] = frozenset()
    leaves_plan: bool = True
    driver_answers: bool = True
    ran: list[list[str]] = field(default_factory=list)
    """The commands that were run inside the container."""
    started: list[list[str]] = field(default_factory=list)
    """The commands that started it."""

    @property
    def search_path(self) -> str:
        """Where its programs are looked for."""
        self.folder.mkdir(exist_ok=True)
        for name in self.programs:
            program = self.folder / name
            program.write_text("#!/bin/sh\nexit 1\n")
            program.chmod(0o755)
        return str(self.folder)

    def run(self, argv: Sequence[str]) -> bytes:
        """What a command of the build answers here."""
        match list(argv):
            case ["nvidia-smi", *_] if self.driver_answers:
                return self.gpus.encode()
            case ["podman" | "docker", "image", "inspect", image] if image in self.images:
                return b"[]"
            case ["podman" | "docker", "run", *rest]:
                self.started.append(list(argv))
                return self._inside(rest)
            case _:
                raise CommandError(argv, returncode=1)

    def _inside(self, argv: list[str]) -> bytes:
        image = next(i for i, word in enumerate(argv) if "@sha256:" in word)
        options = dict(word.split("=", 1) for word in argv[:image] if "=" in word)
        assert argv[image] in self.images
        inner = [options["--entrypoint"], *argv[image + 1 :]]
        self.ran.append(inner)
        out = _mounted(argv[:image], "/out")
        match inner:
            case ["python3", "-c", _]:
                return b"[TensorRT-LLM] version: 1.2.1\n" + json.dumps(self.libraries).encode()
            case ["python3", _, *_]:
                (out / "checkpoint").mkdir()
                (out / "checkpoint" / "rank0.safetensors").write_bytes(b"checkpoint")
            case ["trtllm-build", *_]:
                assert (out / "checkpoint" / "rank0.safetensors").is_file()
                (out / "plan").mkdir()
                (out / "plan" / "config.json").write_text("{}")
                if self.leaves_plan:
                    (out / "plan" / "rank0.engine").write_bytes(b"plan")
                (out / "timing.cache").write_bytes(b"measured")
            case _:
                raise CommandError(inner, returncode=127)
        return b""


def _mounted(options: list[str], inside: str) -> Path:
    for word in options:
        if word.startswith("--volume="):
            host, where, _ = word.removeprefix("--volume=").rsplit(":", 2)
            if where == inside:
                return Path(host)
    raise AssertionError(f"nothing is mounted at {inside}")
