"""The trust root of a policy, and the part of it that was valid at a given time.

sigstore-python neither enforces the validity windows of CA, log and CT keys when it verifies, nor
leaves the machine's clock out: a window that opens after the machine's time is skipped. So the
windows are applied here, against the established time, and opened before sigstore sees them.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sigstore.errors import Error as SigstoreError
from sigstore.models import TrustedRoot
from sigstore.verify import Verifier
from sigstore_models.trustroot.v1 import TrustedRoot as TrustedRootMessage

from blindllama._release.promise import promise_key
from blindllama._strict_json import JsonValue, parse_json, parse_model
from blindllama.errors import Code, FormatError, PolicyError, ProvenanceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cryptography.hazmat.primitives.asymmetric import ec

__all__ = ["Moments", "TrustRoot", "trust_root"]

_LIMIT = 1 << 20
_ALWAYS: Mapping[str, JsonValue] = {"start": "1970-01-01T00:00:00Z"}

_Entry = dict[str, JsonValue]
"""One authority or log, as the trust root writes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """When a bundle says that things happened; true once it verifies with the keys of then."""

    logged: datetime | None
    """The log's integrated time, where the log signed it."""
    stamped: tuple[datetime, ...]
    """The times in the RFC 3161 stamps."""
    certified: datetime
    """When the CT log promised to record the certificate."""

    @property
    def signed(self) -> tuple[datetime, ...]:
        """The times that bound the signature itself; never empty for a bundle that verifies."""
        return self.stamped if self.logged is None else (self.logged, *self.stamped)


class _Root(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)

    media_type: Annotated[str, Field(alias="mediaType")]
    tlogs: list[_Entry]
    certificate_authorities: Annotated[list[_Entry], Field(alias="certificateAuthorities")]
    ctlogs: list[_Entry]
    timestamp_authorities: Annotated[list[_Entry], Field(alias="timestampAuthorities")] = []


@dataclass(frozen=True, slots=True)
class TrustRoot:
    """Whom a policy trusts to certify, to log and to stamp."""

    _root: _Root
    verifier: Verifier
    """Takes every key of the root, whatever its window says."""

    @property
    def stampers(self) -> tuple[bytes, ...]:
        """The certificates (DER) of all time stamp authorities."""
        chains = (_mapping(entry.get("certChain")) for entry in self._root.timestamp_authorities)
        lists = (chain.get("certificates") for chain in chains)
        return tuple(
            base64.b64decode(str(_mapping(certificate).get("rawBytes")))
            for certificates in lists
            for certificate in (certificates if isinstance(certificates, list) else ())
        )

    def promise_key_at(
        self, moments: Moments, entry: Mapping[str, JsonValue]
    ) -> ec.EllipticCurvePublicKey | None:
        """Return the key of the log that an entry names, where it was valid and makes promises."""
        named = _mapping(entry.get("logId")).get("keyId")
        for log in _logs_then(self._root.tlogs, moments.signed):
            key = base64.b64decode(str(_mapping(log.get("publicKey")).get("rawBytes")))
            if base64.b64encode(hashlib.sha256(key).digest()).decode() == named:
                return promise_key(key)
        return None

    def verifier_at(self, moments: Moments) -> Verifier:
        """Return a verifier with only those keys that were valid when they were used.

        Raises:
            ProvenanceError: `bundle.outside_validity` when no key of one kind was.
        """
        root = self._root
        narrowed = root.model_copy(
            update={
                "certificate_authorities": _authorities_then(
                    root.certificate_authorities, moments.signed
                ),
                "tlogs": _logs_then(root.tlogs, moments.signed),
                "ctlogs": _logs_then(root.ctlogs, (moments.certified,)),
                "timestamp_authorities": _authorities_then(
                    root.timestamp_authorities, moments.stamped
                ),
            }
        )
        for what in ("certificate_authorities", "tlogs", "ctlogs"):
            if not getattr(narrowed, what):
                raise ProvenanceError(
                    "keys of the trust root at the time of the signature",
                    code=Code.BUNDLE_OUTSIDE_VALIDITY,
                    step=2,
                    expected=f"one of {what.replace('_', ' ')} valid at {moments.signed[0]}",
                    got="none",
                )
        return _verifier(narrowed)


@lru_cache(maxsize=16)
def trust_root(text: str) -> TrustRoot:
    """Return the trust root in a policy's JSON text.

    Raises:
        PolicyError: `policy.trust_root` when sigstore cannot use it.
    """
    try:
        document = parse_json(text.encode(), limit=_LIMIT, step=1, what="trust root")
        root = parse_model(document, _Root, step=1, what="trust root")
        for window in _windows(root):
            _moment(window, "start", datetime.min.replace(tzinfo=UTC))
            _moment(window, "end", datetime.max.replace(tzinfo=UTC))
        # The windows as well, which sigstore does not see later: a misspelt end would never come.
        TrustedRootMessage.from_json(json.dumps(document))
        return TrustRoot(root, _verifier(root))
    except (FormatError, ValidationError, SigstoreError, ValueError) as exc:
        raise PolicyError(
            f"policy, sigstore.trusted_root: {exc}", code=Code.POLICY_TRUST_ROOT, step=1
        ) from exc


def _verifier(root: _Root) -> Verifier:
    opened = {
        "mediaType": root.media_type,
        "tlogs": [_opened_log(log) for log in root.tlogs],
        "certificateAuthorities": [
            entry | {"validFor": _ALWAYS} for entry in root.certificate_authorities
        ],
        "ctlogs": [_opened_log(log) for log in root.ctlogs],
        "timestampAuthorities": [
            entry | {"validFor": _ALWAYS} for entry in root.timestamp_authorities
        ],
    }
    return _verifier_of(json.dumps(opened))


@lru_cache(maxsize=64)
def _verifier_of(text: str) -> Verifier:
    """Return the verifier of a trust root; most bundles of a release are of one time's keys."""
    root = TrustedRoot(TrustedRootMessage.from_json(text))
    # The root does not change, and the library loads its keys anew for each signature, which takes
    # about as long as the signature: these answers are kept.
    for name in ("rekor_keyring", "ct_keyring", "get_timestamp_authorities"):
        vars(root)[name] = cache(getattr(root, name))
    return Verifier(trusted_root=root)


def _opened_log(log: _Entry) -> _Entry:
    return log | {"publicKey": _mapping(log.get("publicKey")) | {"validFor": dict(_ALWAYS)}}


def _authorities_then(entries: Sequence[_Entry], times: Sequence[datetime]) -> list[_Entry]:
    return [entry for entry in entries if _covers(_mapping(entry.get("validFor")), times)]


def _logs_then(logs: Sequence[_Entry], times: Sequence[datetime]) -> list[_Entry]:
    return [log for log in logs if _covers(_log_window(log), times)]


def _log_window(log: _Entry) -> _Entry:
    return _mapping(_mapping(log.get("publicKey")).get("validFor"))


def _windows(root: _Root) -> Iterable[_Entry]:
    yield from (_log_window(log) for log in (*root.tlogs, *root.ctlogs))
    for entry in (*root.certificate_authorities, *root.timestamp_authorities):
        yield _mapping(entry.get("validFor"))


def _covers(window: _Entry, times: Sequence[datetime]) -> bool:
    """Tell whether the closed window holds all the times; a missing end is open."""
    start = _moment(window, "start", datetime.min.replace(tzinfo=UTC))
    end = _moment(window, "end", datetime.max.replace(tzinfo=UTC))
    return all(start <= time <= end for time in times)


def _moment(window: _Entry, key: str, default: datetime) -> datetime:
    text = window.get(key)
    if text is None:
        return default
    if not isinstance(text, str):
        raise ValueError(f"validFor.{key}; expected a time; got {text!r}")  # noqa: TRY004 - caught
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"validFor.{key}; expected a time zone; got {text!r}")
    return moment


def _mapping(value: JsonValue) -> _Entry:
    return value if isinstance(value, dict) else {}
