"""Python wheels into the store through pip, which knows the machine's package registry."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from supply_chain import process
from supply_chain.digest import Sha256, sha256_file
from supply_chain.errors import CommandError, DigestMismatchError, FetchError
from supply_chain.inputs.lock import Wheel
from supply_chain.workspace import scratch_dir

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from supply_chain.inputs.store import Store
    from supply_chain.progress import Progress

_PASSED = ("HOME", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "NETRC")
"""Settings that pip reads besides those that begin with PIP_ or end with _PROXY."""


def fetch_wheels(
    wheels: Iterable[Wheel], store: Store, *, environ: Mapping[str, str], progress: Progress
) -> None:
    """Every wheel is in the store; what was there is not asked for.

    Raises:
        DigestMismatchError: pip brought other bytes.
        FetchError: pip could not bring the wheel.
    """
    for wheel in wheels:
        if store.has(wheel.sha256):
            continue
        size_mib = wheel.size / (1 << 20)
        requirement = f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256.hex}"
        with (
            progress.step(f"fetching {wheel.filename}, {size_mib:.0f} MiB"),
            # On the store's file system, so that a finished download is moved and not copied.
            scratch_dir(store.root / "part", wheel.name) as folder,
        ):
            found = _pip_download(requirement, folder, environ, "--require-hashes")
            store.adopt(found, wheel.sha256, name=wheel.filename)


def resolve_wheel(
    name: str, version: str, store: Store, *, environ: Mapping[str, str], progress: Progress
) -> Wheel:
    """The wheel that the registry serves under a name and a version; it is in the store after.

    Raises:
        FetchError: pip could not bring it.
    """
    with (
        progress.step(f"looking up {name} {version}"),
        scratch_dir(store.root / "part", name) as folder,
    ):
        found = _pip_download(f"{name}=={version}", folder, environ)
        wheel = Wheel(
            name=name,
            version=version,
            filename=found.name,
            size=found.stat().st_size,
            sha256=sha256_file(found),
        )
        store.adopt(found, wheel.sha256, name=wheel.filename)
        return wheel


def _pip_download(
    requirement: str, folder: Path, environ: Mapping[str, str], *options: str
) -> Path:
    listed = folder / "requirements.txt"
    listed.write_text(requirement + "\n")
    wheels = folder / "wheels"
    passed = {
        key: value
        for key, value in environ.items()
        if key in _PASSED or key.startswith("PIP_") or key.lower().endswith("_proxy")
    }
    argv = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    argv += [*options, "--no-cache-dir", "--progress-bar=off"]
    argv += [f"--dest={wheels}", f"--requirement={listed}"]
    try:
        process.run(argv, env=passed)
    except CommandError as exc:
        _refuse_other_bytes(requirement, exc)
        raise FetchError(f"pip cannot bring {requirement.split(maxsplit=1)[0]}:\n{exc}") from exc
    found = list(wheels.iterdir())
    if len(found) != 1:
        raise FetchError(
            f"{requirement.split(maxsplit=1)[0]}: expected one wheel, got {len(found)}"
        )
    return found[0]


def _refuse_other_bytes(requirement: str, failure: CommandError) -> None:
    # pip compares the digest itself and has removed the file: only its words are left.
    got = re.search(rb"Got\s+([0-9a-f]{64})", failure.stderr)
    name, _, expected = requirement.partition(" --hash=sha256:")
    if got is not None and expected:
        raise DigestMismatchError(
            name, Sha256.from_hex(expected), Sha256.from_hex(got[1].decode())
        ) from failure
