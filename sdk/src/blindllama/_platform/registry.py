"""Platforms by name. The name is the caller's, from the policy: a server cannot choose (C3)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from blindllama._platform.azure import AZURE_TRUSTED_LAUNCH
from blindllama._platform.base import Platform
from blindllama._platform.qemu import QEMU_SWTPM
from blindllama.measurements import PlatformName

__all__ = ["platform_named"]

_PLATFORMS: Mapping[PlatformName, Platform] = MappingProxyType(
    {platform.name: platform for platform in (QEMU_SWTPM, AZURE_TRUSTED_LAUNCH)}
)


def platform_named(name: PlatformName) -> Platform:
    """Return the platform of that name."""
    return _PLATFORMS[name]
