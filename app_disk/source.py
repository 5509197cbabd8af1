"""An application's directory: `manifests/*.yaml`, and `images/` for what it brings itself."""

from __future__ import annotations

from pathlib import Path

from app_disk.application import App, parse_app
from app_disk.manifest import Fault, ManifestError
from app_disk.network import plan_network

APPS = Path("app_disk/apps")
"""The applications that ship with a checkout, a directory each."""

DEFAULT_APP = "llm"
"""The one that is meant when none is named."""


def app_directory(app: str, root: Path) -> Path:
    """The directory of an application of the checkout `root` by its name, of any other by its path."""
    known = root / APPS / app
    return known if "/" not in app and known.is_dir() else Path(app)


def read_app(directory: Path) -> App:
    """The application whose directory this is: what its `manifests/*.yaml` describe together.

    Raises:
        ManifestError: Its `fault` says what is wrong.
    """
    paths = manifest_files(directory)
    if not paths:
        raise ManifestError(Fault.COUNT, f"expected manifests/*.yaml in {directory}, got none")
    app = parse_app([_read_text(path) for path in paths])
    plan_network(app)
    return app


def manifest_files(directory: Path) -> tuple[Path, ...]:
    """The files of an application's manifests, by name."""
    return tuple(sorted((directory / "manifests").glob("*.yaml")))


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as exc:
        raise ManifestError(Fault.SYNTAX, f"{path} cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ManifestError(Fault.SYNTAX, f"{path.name}: expected UTF-8: {exc}") from exc
