"""The image of Triton: the wheel's server and python backend, the Python of that, its one model.

The python backend runs a model in the Python that its stub was linked with, and reads arrays of numpy's
first major version alone: both come from Debian's bookworm, which has them.

Source: Triton Inference Server, docs/user_guide/model_repository.md; python_backend, README.md.
"""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from app_disk.front_image import PACKAGES
from app_disk.image import (
    LOADER,
    ImageError,
    build_image,
    file_inside,
    licence_entries,
    loaded_by,
    merged,
    usr_links,
)
from app_disk.layer import Entry
from app_disk.python_modules import compiled_modules
from supply_chain.inputs.tree import Bind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from app_disk.image import Image
    from supply_chain.inputs.tree import Tree

TRITON_NAME = "localhost/triton"
TRITON_SET = "triton"
TRITON_WHEEL = "nvidia-pytriton"

HOME = PurePosixPath("/opt/triton")
"""Where the wheel's files lie as they lie in it: programs find their libraries by these places."""
_SERVER = HOME / "pytriton" / "tritonserver"
_PROGRAM = _SERVER / "bin" / "tritonserver"
_BACKENDS = _SERVER / "backends"
_BACKEND = _BACKENDS / "python" / "libtriton_python.so"
_STUB = _BACKENDS / "python" / "triton_python_backend_stub"
_STUBS = PurePosixPath("pytriton/tritonserver/python_backend_stubs/3.11")
_FROM_WHEEL = ("nvidia_pytriton.libs/", f"{_SERVER.relative_to(HOME)}/")
_LEFT_OUT = (
    f"{_SERVER.relative_to(HOME)}/caches/",
    f"{_STUBS.parent}/",
    # Of another Python than the one whose stub is used.
    "nvidia_pytriton.libs/libpython3-",
)
_LICENCES = ".dist-info/"

REPOSITORY = PurePosixPath("/srv/models")
SOCKET = PurePosixPath("/run/server/llama.sock")
"""Where llama-server is asked; in the pod, memory that the containers share."""
_HERE = Path(__file__).resolve().parent
_FRONT = _HERE.parent.parent / "front"
_SHARED = ("__init__.py", "dialect.py", "errors.py", "grammar.py", "task.py", "words.py")
"""What of the API the model uses: nothing of it needs more than Python."""

_PYTHON = PurePosixPath("/usr/bin/python3.11")
_SHELL = PurePosixPath("/usr/bin/bash")
"""The python backend starts its stub with `bash -c`."""
_LIBRARY = "usr/lib/python3.11"
_LIBRARIES = PurePosixPath("/usr/lib/x86_64-linux-gnu")
_LOADER_FILE = _LIBRARIES / LOADER.name
"""Bookworm's link to it is absolute, and would lead out of the unpacked root."""
_ALTERNATIVES = (_LIBRARIES / "blas", _LIBRARIES / "lapack")
"""Where the libraries of linear algebra lie until a package's script links one of several."""
_UNUSED = frozenset(
    {
        "__pycache__",
        "dist-packages",  # modules for this version alone; those for all are elsewhere
        "ensurepip",
        "f2py",
        "idlelib",
        "lib2to3",
        "pydoc_data",
        "test",
        "tests",
    }
)
_MOUNT_POINTS = ("dev", "etc", "proc", "run/server", "sys")
_MEMORY = Entry(path=PurePosixPath("tmp"), permissions=0o1777)
"""The runtime mounts the container's own memory there, with the permissions that the image has."""

START = ("/usr/bin/python3", "-I", str(HOME / "start.py"))
"""The program of the image, `app_disk/triton/start.py`."""


def triton_argv(*, host: str, port: int) -> list[str]:
    """The command of the server: one model, HTTP only, nothing to load or to change later."""
    return [
        *START,
        f"--model-repository={REPOSITORY}",
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


def triton_image(triton: Tree, wheel: Path) -> Image:
    """The image, from the root that the set `triton` is unpacked into, and from the wheel.

    Raises:
        ImageError: A file that it needs is in neither.
    """
    return build_image(TRITON_NAME, triton_entries(triton, wheel), entrypoint=[*START])


def triton_entries(triton: Tree, wheel: Path) -> tuple[Entry, ...]:
    """The files of the image.

    Raises:
        ImageError: A file that it needs is in neither.
    """
    modules, served = list(_modules(triton.root)), list(wheel_entries(wheel))
    programs = [_PYTHON, _SHELL, *(_inside(e.path) for e in modules if e.path.suffix == ".so")]
    libraries = {
        LOADER,
        *loaded_by(triton, programs, folders=_ALTERNATIVES),
        *_loaded_by_the_wheel(triton, served),
    }
    files = [
        Entry(
            path=_found_at(path),
            source=file_inside(triton.root, path if path != LOADER else _LOADER_FILE),
            executable=path in {LOADER, _PYTHON, _SHELL},
        )
        for path in sorted({_PYTHON, _SHELL, *libraries})
    ]
    links = [
        Entry(path=PurePosixPath("usr/bin/python3"), target=_PYTHON.name),
        Entry(path=PurePosixPath("bin"), target="usr/bin"),
    ]
    return (
        *files,
        *modules,
        *compiled_modules(triton, _PYTHON.name, modules, [_LIBRARY, PACKAGES]),
        *links,
        *usr_links(),
        *served,
        Entry(
            path=(HOME / "start.py").relative_to("/"),
            content=(_HERE / "start.py").read_bytes(),
        ),
        *repository_entries(),
        *(Entry(path=PurePosixPath(path)) for path in _MOUNT_POINTS),
        _MEMORY,
        *licence_entries(triton.root),
    )


def wheel_entries(wheel: Path) -> Iterator[Entry]:
    """What of the wheel runs, and its licences; a wheel is a zip archive and nothing more here.

    Raises:
        ImageError: It is no zip archive, or holds no server or no stub for the image's Python.
    """
    found: set[PurePosixPath] = set()
    stub = f"{_STUBS}/{_STUB.name}"
    try:
        with zipfile.ZipFile(wheel) as archive:
            for info in archive.infolist():
                name = info.filename
                licence = _LICENCES in name and "licen" in name.lower()
                if info.is_dir() or not (licence or name == stub or _runs(name)):
                    continue
                path = HOME / name if name != stub else _STUB
                found.add(path)
                yield Entry(
                    path=path.relative_to("/"),
                    content=archive.read(info),
                    executable=path in {_PROGRAM, _STUB},
                )
    except (OSError, zipfile.BadZipFile) as exc:
        raise ImageError(f"{wheel.name}: expected a wheel, got none: {exc}") from exc
    if absent := sorted(map(str, {_PROGRAM, _BACKEND, _STUB} - found)):
        raise ImageError(f"{wheel.name}: expected {', '.join(absent)} in it, got none")


def repository_entries() -> Iterator[Entry]:
    """The model repository: one model, which asks llama-server."""
    ensemble = REPOSITORY.relative_to("/") / "ensemble"
    config = (_HERE / "ensemble" / "config.pbtxt").read_text("ascii")
    config += f'parameters {{ key: "socket" value {{ string_value: "{SOCKET}" }} }}\n'
    yield Entry(path=ensemble / "config.pbtxt", content=config.encode("ascii"))
    model = (_HERE / "ensemble" / "model.py").read_bytes()
    yield Entry(path=ensemble / "1" / "model.py", content=model)
    for name in _SHARED:
        yield Entry(path=ensemble / "1" / "front" / name, content=(_FRONT / name).read_bytes())


def _runs(name: str) -> bool:
    return name.startswith(_FROM_WHEEL) and not name.startswith(_LEFT_OUT)


def _loaded_by_the_wheel(triton: Tree, served: Sequence[Entry]) -> set[PurePosixPath]:
    """Return the libraries of Debian's that the wheel's programs ask for."""
    inside = PurePosixPath("/mnt")
    with tempfile.TemporaryDirectory(prefix="triton-image-") as name:
        for entry in served:
            path = Path(name) / entry.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(entry.data())
        # What these load themselves is found by their places, and not by those of each library.
        programs = [inside / path.relative_to("/") for path in (_PROGRAM, _BACKEND, _STUB)]
        bind = Bind(host=Path(name), inside=str(inside), read_only=True)
        found = loaded_by(triton, programs, binds=[bind])
    return {path for path in found if not path.is_relative_to(inside)}


def _found_at(path: PurePosixPath) -> PurePosixPath:
    """Return where the loader finds a library: an alternative is beside all others."""
    if path.parent in _ALTERNATIVES:
        path = path.parent.parent / path.name
    return merged(path)


def _modules(root: Path) -> Iterator[Entry]:
    """The modules of Python and of numpy, with their extensions."""
    for place in (_LIBRARY, f"{PACKAGES}/numpy"):
        if not (root / place).is_dir():
            raise ImageError(f"/{place}: expected modules in the packages, got none")
        for path in sorted((root / place).rglob("*")):
            inside = set(path.relative_to(root / place).parts)
            # A link leads into /etc, to what the packages' own scripts would have made.
            if path.is_symlink() or not path.is_file() or _UNUSED & inside:
                continue
            if path.suffix in {".py", ".so"}:
                yield Entry(path=PurePosixPath(path.relative_to(root)), source=path)


def _inside(path: PurePosixPath) -> PurePosixPath:
    return PurePosixPath("/", path)
