"""What a preset of a policy looks up: a trust root by name, a platform's own roots."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Final
from urllib.parse import quote

from blindllama.errors import Code, PolicyError
from blindllama.measurements import PlatformName

__all__ = ["PUBLIC_GOOD", "pinned_roots", "trusted_root_text"]

PUBLIC_GOOD: Final = "public-good"
"""Sigstore's public instance, as a caller names it in place of a trust root's JSON.

It is never a default: anybody can get a certificate from it, so it means something only beside an
issuer, an identity and a source that are compared in full. The root is the one inside the installed
`sigstore` package, pinned with it; no cache is read and nothing is fetched (ATTACKS, S6).
"""

_STEP: Final = 1
_PUBLIC_GOOD_URL: Final = "https://tuf-repo-cdn.sigstore.dev"


def trusted_root_text(given: str | Path) -> str:
    """Return the trust root's JSON that the caller gave, pointed to, or named.

    Raises:
        PolicyError: `policy.trust_root`; there is no such file.
    """
    if given != PUBLIC_GOOD and isinstance(given, str):
        return given
    shipped = files("sigstore._store") / quote(_PUBLIC_GOOD_URL, safe="") / "trusted_root.json"
    try:
        return (given if isinstance(given, Path) else shipped).read_text("utf-8")
    except (OSError, ValueError) as exc:
        raise PolicyError(
            f"policy, sigstore.trusted_root, {given}: {exc}",
            code=Code.POLICY_TRUST_ROOT,
            step=_STEP,
            expected="a file that can be read",
        ) from exc


def pinned_roots(platform: PlatformName | str) -> tuple[str, ...]:
    """Return the fingerprints of a platform's only roots, where it has such.

    Nothing for a name that is no platform, and nothing for a simulation, whose root each machine
    makes for itself: the policy then refuses what is missing.
    """
    from blindllama._platform.registry import platform_named  # noqa: PLC0415 - cryptography is slow to load

    if platform not in set(PlatformName):
        return ()
    return tuple(sorted(root.hex() for root in platform_named(PlatformName(platform)).roots or ()))
