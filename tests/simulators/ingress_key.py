"""The key of a guest's ingress, made on this machine by the commands of the guest's own unit."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from os_image.guest import runtime
from supply_chain.inputs.tree import Tree
from supply_chain.process import run

_FILES = Path(__file__).resolve().parents[2] / "os_image" / "guest" / "files"
_UNIT = _FILES / "etc/systemd/system/blindllama-tls.service"
_SETTING = "OPENSSL_CONF"


@dataclass(frozen=True, kw_only=True)
class IngressKey:
    """Where its three files are."""

    key: Path
    """PEM, PKCS #8."""
    certificate: Path
    """PEM."""
    spki: Path
    """DER SubjectPublicKeyInfo."""


def make_ingress_key(tree: Tree, folder: Path) -> IngressKey:
    """Run what the unit runs, with the guest's own openssl; only the folder is another.

    Args:
        tree: The unpacked packages of the guest.
        folder: Where the files are made.
    """
    made = IngressKey(
        **{
            name: folder / path.name
            for name, path in {
                "key": runtime.KEY,
                "certificate": runtime.CERTIFICATE,
                "spki": runtime.SPKI,
            }.items()
        }
    )
    lines = _UNIT.read_text("utf-8").replace("\\\n", " ").splitlines()
    commands = [line.partition("=")[2] for line in lines if line.startswith("ExecStart=")]
    settings = dict(
        line.removeprefix("Environment=").split("=", 1)
        for line in lines
        if line.startswith("Environment=")
    )
    # By the tree's own loader and libraries: the machine's may be older than the guest's.
    libraries = tree.root / "usr/lib/x86_64-linux-gnu"
    loader = [str(libraries / "ld-linux-x86-64.so.2"), "--library-path", str(libraries)]
    for command in commands:
        program, *words = shlex.split(command.replace(str(runtime.KEY.parent), str(folder)))
        run(
            [*loader, str(tree.root / program.lstrip("/")), *words],
            env={_SETTING: str(_FILES / settings[_SETTING].lstrip("/"))},
        )
    return made
