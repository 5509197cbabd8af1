"""The image of the API in front of the model server: Debian's Python, what the API imports, itself."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from collections.abc import Iterator

    from app_disk.image import Image
    from supply_chain.inputs.tree import Tree

FRONT_NAME = "localhost/front"
FRONT_SET = "front"
PACKAGES = "usr/lib/python3/dist-packages"
"""Where an isolated Python looks for modules that are not its own."""

_SOURCES = Path(__file__).resolve().parent.parent / "front"
_PYTHON = PurePosixPath("/usr/bin/python3.13")
_LIBRARY = "usr/lib/python3.13"
_IMPORTED = (
    "aiohappyeyeballs",
    "aiohttp",
    "aiosignal",
    "annotated_types",
    "attr",
    "frozenlist",
    "idna",
    "multidict",
    "propcache",
    "pydantic",
    "pydantic_core",
    "typing_extensions.py",
    "yarl",
)
"""What the API imports, itself or through another."""
_UNUSED = frozenset(
    {
        "_pyrepl",
        "curses",
        "dbm",
        "ensurepip",
        "idlelib",
        "pydoc_data",
        "sqlite3",
        "test",
        "tests",
        "tkinter",
        "turtledemo",
        "unittest",
        "venv",
        "wsgiref",
        "xmlrpc",
    }
)
"""Folders of modules that nothing of it imports."""
_UNUSED_EXTENSIONS = ("_codecs_", "_curses", "_dbm", "_sqlite3", "_test", "_xx", "readline", "xx")
_MOUNT_POINTS = ("dev", "etc", "proc", "run/server", "sys", "tmp")


def front_image(front: Tree) -> Image:
    """The image, from the root that the set `front` is unpacked into.

    Raises:
        ImageError: A module or a library is in none of the packages.
    """
    return build_image(FRONT_NAME, front_entries(front), entrypoint=[str(_PYTHON), "-I"])


def front_entries(front: Tree) -> tuple[Entry, ...]:
    """The files of the image.

    Raises:
        ImageError: A module or a library is in none of the packages.
    """
    modules = list(_modules(front.root))
    own = [
        Entry(path=PurePosixPath(PACKAGES, "front", path.name), content=path.read_bytes())
        for path in sorted(_SOURCES.glob("*.py"))
    ]
    programs = [_PYTHON, *(PurePosixPath("/", e.path) for e in modules if e.path.suffix == ".so")]
    libraries = {LOADER, *loaded_by(front, programs)}
    files = [
        Entry(
            path=merged(path),
            source=file_inside(front.root, path),
            executable=path in {LOADER, _PYTHON},
        )
        for path in sorted({_PYTHON, *libraries})
    ]
    python = Entry(path=PurePosixPath("usr/bin/python3"), target=_PYTHON.name)
    mounts = [Entry(path=PurePosixPath(path)) for path in _MOUNT_POINTS]
    compiled = compiled_modules(front, _PYTHON.name, [*modules, *own], [_LIBRARY, PACKAGES])
    return (
        *files,
        *modules,
        *own,
        *compiled,
        python,
        *usr_links(),
        *mounts,
        *licence_entries(front.root),
    )


def _modules(root: Path) -> Iterator[Entry]:
    """The modules of Python and of its packages, with their extensions."""
    library = root / _LIBRARY
    if not library.is_dir():
        raise ImageError(f"/{_LIBRARY}: expected Python's modules in the packages, got none")
    for path in sorted(library.rglob("*")):
        if _wanted(path, path.relative_to(library)):
            yield Entry(path=PurePosixPath(path.relative_to(root)), source=path)
    for name in _IMPORTED:
        top = root / PACKAGES / name
        found = [top] if top.is_file() else sorted(top.rglob("*"))
        if not found:
            raise ImageError(f"{name}: expected this module in the packages, got none")
        for path in found:
            if _wanted(path, path.relative_to(root / PACKAGES)):
                yield Entry(path=PurePosixPath(path.relative_to(root)), source=path)


def _wanted(path: Path, inside: Path) -> bool:
    # A link leads into /etc, to what the packages' own scripts would have made.
    if path.is_symlink() or not path.is_file() or _UNUSED & set(inside.parts):
        return False
    if path.suffix == ".so":
        return not path.name.startswith(_UNUSED_EXTENSIONS)
    return path.suffix == ".py"
