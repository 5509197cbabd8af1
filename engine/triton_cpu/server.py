"""How Triton is started on a CPU: its files, its model repository, its command.

The wheel's python backend speaks numpy's first major version and reads wrong lengths with the
second, so Triton has an environment of its own.

Source: Triton Inference Server, docs/user_guide/model_repository.md; python_backend, README.md.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from supply_chain.errors import BuildError

if TYPE_CHECKING:
    from pathlib import PurePosixPath

_HERE = Path(__file__).resolve().parent
_FRONT = _HERE.parent.parent / "front"
_SHARED = ("__init__.py", "dialect.py", "errors.py", "grammar.py", "task.py", "words.py")
"""What of the API the model uses: nothing of it needs more than Python."""
_STUB = "triton_python_backend_stub"


class TritonError(BuildError):
    """There is no Triton here, or not for this Python."""

    code: ClassVar[str] = "engine.triton"


@dataclass(frozen=True, slots=True, kw_only=True)
class TritonHome:
    """An environment into which `requirements/triton.txt` was installed."""

    path: Path
    packages: Path
    """Its folder of packages."""
    python: str
    """Its Python's version, such as `3.11`."""

    @classmethod
    def at(cls, path: Path) -> TritonHome:
        """The environment at a path.

        Raises:
            TritonError: There is none, or the wheel has no stub for its Python.
        """
        found = sorted(path.glob("lib/python3.*/site-packages"))
        if len(found) != 1 or not (found[0] / "pytriton" / "tritonserver").is_dir():
            raise TritonError(f"{path}: expected Triton, got none: run ./do nox -s triton")
        home = cls(path=path, packages=found[0], python=found[0].parent.name[len("python") :])
        if not home.stub.is_file():
            raise TritonError(f"Triton: expected a stub for Python {home.python}, got none")
        return home

    @property
    def stub(self) -> Path:
        """The program that runs a model's Python."""
        stubs = self.packages / "pytriton" / "tritonserver" / "python_backend_stubs"
        return stubs / self.python / _STUB

    @property
    def environment(self) -> dict[str, str]:
        """What the server needs: its libraries, and this environment's Python first in PATH."""
        return {
            "PATH": f"{self.path}/bin:/usr/bin:/bin",
            "LD_LIBRARY_PATH": str(self.packages / "nvidia_pytriton.libs"),
        }

    def argv(self, *, repository: Path, backends: Path, host: str, port: int) -> list[str]:
        """The command of the server: one model, HTTP only, nothing to load or to change later."""
        return [
            str(self.packages / "pytriton" / "tritonserver" / "bin" / "tritonserver"),
            f"--model-repository={repository}",
            f"--backend-directory={backends}",
            "--model-control-mode=none",
            "--disable-auto-complete-config",
            f"--http-address={host}",
            f"--http-port={port}",
            "--allow-grpc=false",
            "--allow-metrics=false",
            # Errors alone: informational lines hold requests.
            "--log-info=false",
            "--log-warning=false",
        ]

    def write_backends(self, out: Path) -> None:
        """Put the python backend, with the stub for this Python, into the new directory `out`."""
        shutil.copytree(self.packages / "pytriton" / "tritonserver" / "backends", out)
        shutil.copy(self.stub, out / "python" / _STUB)
        (out / "python" / _STUB).chmod(0o755)


def write_repository(out: Path, *, socket: PurePosixPath, model: str) -> None:
    """Put the model repository into the new directory `out`.

    Args:
        out: The directory.
        socket: The UNIX socket of llama-server.
        model: The name under which it serves its model.
    """
    version = out / "ensemble" / "1"
    (version / "front").mkdir(parents=True)
    shutil.copyfile(_HERE / "ensemble" / "model.py", version / "model.py")
    for name in _SHARED:
        shutil.copyfile(_FRONT / name, version / "front" / name)
    settings = {"socket": str(socket), "model": model}
    text = (_HERE / "ensemble" / "config.pbtxt").read_text("ascii")
    for key, value in settings.items():
        text += f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n'
    (out / "ensemble" / "config.pbtxt").write_text(text, encoding="ascii")
