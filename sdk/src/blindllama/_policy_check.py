"""What the types of a policy cannot say: each check raises `PolicyError` with its code."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

from blindllama._owner_key import owner_public_key
from blindllama._policy_parts import GITHUB_ISSUER, Owner, OwnerIdentity
from blindllama._strict_json import parse_json
from blindllama.errors import Code, FormatError, PolicyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import ValidationError

    from blindllama._policy_parts import GithubSource, RebuilderPolicy, SignerPolicy

__all__ = [
    "check_github",
    "check_owners",
    "check_rebuilders",
    "check_repeats",
    "check_source",
    "check_trust_root",
    "policy_refusal",
]

_STEP = 1
_WORKFLOW = re.compile(
    r"https://github\.com/[\w.-]+/[\w.-]+/\.github/workflows/[\w.-]+\.ya?ml@[^\s*]+", re.ASCII
)
"""A workflow at one ref, as certificates name it; nothing shorter names a builder."""
_TRUST_ROOT_LIMIT = 512 * 1024
_ABSENT = frozenset({"missing", "too_short", "string_too_short"})


class Sourced(Protocol):
    """A part of a policy that names a Sigstore identity."""

    @property
    def issuer(self) -> str:
        """Who vouches for the identity."""

    @property
    def identity(self) -> str:
        """The certificate's subject alternative name."""

    @property
    def github(self) -> GithubSource | None:
        """What an identity of GitHub Actions must have been given to build."""


def policy_refusal(exc: ValidationError) -> PolicyError:
    """Return the first complaint of pydantic as a `PolicyError`: `policy.empty` or `.invalid`."""
    first = exc.errors(include_url=False, include_context=False)[0]
    blank = first["type"] == "value_error" and not str(first["input"]).strip()
    return PolicyError(
        f"policy, {'.'.join(str(part) for part in first['loc'])}: {first['msg']}",
        code=Code.POLICY_EMPTY if blank or first["type"] in _ABSENT else Code.POLICY_INVALID,
        step=_STEP,
    )


def check_trust_root(text: str, *, stamps: bool, place: str = "sigstore") -> None:
    """Refuse a Sigstore trusted root that lacks a part that every bundle needs.

    Raises:
        PolicyError: `policy.trust_root`.
    """
    try:
        root = parse_json(text.encode(), limit=_TRUST_ROOT_LIMIT, step=_STEP, what="trust root")
    except FormatError as exc:
        raise PolicyError(
            f"policy, {place}.trusted_root: {exc}", code=Code.POLICY_TRUST_ROOT, step=_STEP
        ) from exc
    parts = ["tlogs", "certificateAuthorities", "ctlogs"]
    if stamps:
        parts.append("timestampAuthorities")
    for part in parts:
        if not isinstance(root, dict) or not root.get(part):
            raise PolicyError(
                f"policy, {place}.trusted_root",
                code=Code.POLICY_TRUST_ROOT,
                step=_STEP,
                expected=f"at least one of {part}",
                got="none",
            )


def check_owners(owners: Sequence[Owner | OwnerIdentity]) -> None:
    """Refuse an owner whose key is none, who is named twice, or whose source is missing.

    Raises:
        PolicyError: `policy.owner_key`, `policy.invalid`.
    """
    for owner in owners:
        if isinstance(owner, OwnerIdentity):
            check_source("layout.owners", owner)
        else:
            _check_owner_key(owner)
    check_repeats(
        "layout.owners",
        [
            owner.keyid if isinstance(owner, Owner) else (owner.issuer, owner.identity)
            for owner in owners
        ],
    )


def _check_owner_key(owner: Owner) -> None:
    reason = "zeros, as in a template"
    try:
        owner_public_key(owner)
        if owner.public.strip("0"):
            return
    except ValueError as exc:
        reason = str(exc)
    raise PolicyError(
        f"policy, layout.owners, key {owner.keyid[:16]}",
        code=Code.POLICY_OWNER_KEY,
        step=_STEP,
        expected=f"a public key for {owner.scheme}",
        got=reason,
    )


def check_repeats(what: str, values: Sequence[object]) -> None:
    """Refuse a list that names one thing twice: a count over it would lie.

    Raises:
        PolicyError: `policy.invalid`.
    """
    if len(set(values)) != len(values):
        raise PolicyError(
            f"policy, {what}", code=Code.POLICY_INVALID, step=_STEP, expected="no repeats"
        )


def check_rebuilders(rebuilders: RebuilderPolicy, signer: SignerPolicy, *, stamps: bool) -> None:
    """Refuse a threshold that cannot be reached, and a rebuilder who confirms nothing.

    Raises:
        PolicyError: `policy.empty`, `policy.invalid` or `policy.trust_root`.
    """
    known = len(rebuilders.identities)
    if known < rebuilders.threshold:
        raise PolicyError(
            "policy, rebuilders.identities",
            code=Code.POLICY_EMPTY,
            step=_STEP,
            expected=f"at least {rebuilders.threshold}",
            got=known,
        )
    for entry in rebuilders.identities:
        check_source("rebuilders", entry)
        if entry.trusted_root is not None:
            check_trust_root(entry.trusted_root, stamps=stamps, place="rebuilders")
        elif (entry.issuer, entry.identity) == (signer.issuer, signer.identity):
            raise PolicyError(
                "policy, rebuilders.identities",
                code=Code.POLICY_INVALID,
                step=_STEP,
                expected="others than the signer, who cannot confirm what they have built",
                got=entry.identity,
            )


def check_github(signer: SignerPolicy) -> None:
    """Refuse a GitHub identity without its source, and a source without a GitHub identity.

    Any repository can call a public reusable workflow, so the signer's identity alone names the
    builder but not the source (ATTACKS S1, S3).

    Raises:
        PolicyError: `policy.invalid`.
    """
    check_source("signer", signer)
    if signer.issuer == GITHUB_ISSUER and signer.builder_id != signer.identity:
        raise PolicyError(
            "policy, signer.builder_id of a GitHub identity",
            code=Code.POLICY_INVALID,
            step=_STEP,
            expected=signer.identity,
            got=signer.builder_id,
        )


def check_source(place: str, who: Sourced) -> None:
    """Refuse a GitHub identity that is no workflow or has no source, and a source elsewhere.

    Raises:
        PolicyError: `policy.invalid`.
    """
    from_github = who.issuer == GITHUB_ISSUER
    if from_github != (who.github is not None):
        raise PolicyError(
            f"policy, {place}.github",
            code=Code.POLICY_INVALID,
            step=_STEP,
            expected=f"present exactly when {place}.issuer is {GITHUB_ISSUER}",
            got="absent" if who.github is None else "present",
        )
    if from_github and not _WORKFLOW.fullmatch(who.identity):
        raise PolicyError(
            f"policy, {place}.identity on GitHub",
            code=Code.POLICY_INVALID,
            step=_STEP,
            expected="https://github.com/OWNER/NAME/.github/workflows/FILE@REF",
            got=who.identity,
        )
