"""Azure's libraries, which are optional: imported when they are first needed, never before."""

from __future__ import annotations

import importlib
from typing import Any

from deploy.azure.errors import AzureError, Reason

INSTALL = (
    "./do python -m pip install --require-hashes --no-deps --only-binary=:all: "
    "-r requirements/azure.txt"
)
"""What installs them. Without dependencies: the file holds all of them, and azure-cli-core demands
an argcomplete below the one that nox takes, with which it works as well (azure-override.in)."""


def library(name: str) -> Any:  # noqa: ANN401 - optional, and so are its types
    """The module of that name.

    Raises:
        AzureError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as exc:
        raise AzureError(
            Reason.NOT_INSTALLED, f"Azure's libraries are not installed; run: {INSTALL}"
        ) from exc
