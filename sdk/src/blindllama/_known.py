"""Releases that a caller knows besides the one asked for, to recognise one in a mismatch.

They may be old, expired or taken back; genuine they must be. So each is verified as of the day on
which it was made, by the caller's own policy but for what only says "not any more".
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from blindllama._strict_json import parse_json
from blindllama.errors import UsageError, VerificationError
from blindllama.explain import KnownRelease
from blindllama.policy import Policy, RebuilderPolicy, ReleasePolicy
from blindllama.release import EVIDENCE_LIMIT, VerifiedRelease, verify_release

__all__ = ["known_releases", "release_name"]

_LONGEST_AGE_DAYS = 3660


def known_releases(
    files: Iterable[Path | str | bytes], policy: Policy
) -> Callable[[], Sequence[KnownRelease]]:
    """Return what gives these releases when it is called, and reads and verifies them only then.

    A file that is not genuine by the policy, or cannot be read, is left out: an explanation must
    not stop a refusal, and must not be made from something that nobody signed.
    """
    given = tuple(files)

    @cache
    def read() -> Sequence[KnownRelease]:
        found = (_known(file, policy) for file in given)
        return tuple(release for release in found if release is not None)

    return read


def release_name(release: VerifiedRelease) -> str:
    """Return how a release is called in an explanation."""
    return f"release {release.sequence}"


def _known(file: Path | str | bytes, policy: Policy) -> KnownRelease | None:
    try:
        evidence = file if isinstance(file, bytes) else Path(file).read_bytes()
        verified = verify_release(evidence, _lenient(policy), _made(evidence))
    except (OSError, UsageError, VerificationError):
        return None
    return KnownRelease(name=release_name(verified), expected=verified.expected)


def _lenient(policy: Policy) -> Policy:
    """Return the policy without its demands on age, number and independent builds."""
    return policy.model_copy(
        update={
            "debug_images": True,
            "rebuilders": RebuilderPolicy(),
            "release": ReleasePolicy(
                name=policy.release.name,
                minimum_sequence=1,
                maximum_age_days=_LONGEST_AGE_DAYS,
            ),
        }
    )


def _made(evidence: bytes) -> datetime:
    """Return when the release says that it was made; a lie fails as not yet made or expired.

    Raises:
        FormatError: the file is not JSON.
        UsageError: it has no such time.
    """
    document: Any = parse_json(evidence, limit=EVIDENCE_LIMIT, step=2, what="known release")
    try:
        payload = base64.b64decode(document["index"]["dsseEnvelope"]["payload"])
        statement: Any = parse_json(payload, limit=EVIDENCE_LIMIT, step=2, what="known release")
        return datetime.fromisoformat(statement["predicate"]["created"])
    except (KeyError, TypeError, ValueError) as exc:
        raise UsageError("known release; expected a time of creation; got none") from exc
