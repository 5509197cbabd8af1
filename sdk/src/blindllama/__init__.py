"""BlindLlama: talk to a model server only after it has proven what it runs.

    from blindllama import verify_and_connect

    session = verify_and_connect("https://127.0.0.1:8443", release=…, policy=…)
    print(session.completion("The capital of France is", max_tokens=8))

Importing this package is cheap: what verifies (sigstore, in-toto, cryptography) loads on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from blindllama.errors import (
        AttestationKeyError,
        BusyError,
        ChannelBindingError,
        Code,
        Error,
        FormatError,
        FreshnessError,
        MeasurementError,
        NetworkError,
        PolicyError,
        ProvenanceError,
        QuoteError,
        RollbackError,
        UsageError,
        VerificationError,
    )
    from blindllama.policy import Policy
    from blindllama.release import VerifiedRelease, verify_release
    from blindllama.report import Report
    from blindllama.repository import Repository
    from blindllama.session import AttestedSession, verify_and_connect
    from blindllama.summary import VerifiedSummary, verify_summary
    from blindllama.verify import verify_evidence

__all__ = [
    "AttestationKeyError",
    "AttestedSession",
    "BusyError",
    "ChannelBindingError",
    "Code",
    "Error",
    "FormatError",
    "FreshnessError",
    "MeasurementError",
    "NetworkError",
    "Policy",
    "PolicyError",
    "ProvenanceError",
    "QuoteError",
    "Report",
    "Repository",
    "RollbackError",
    "UsageError",
    "VerificationError",
    "VerifiedRelease",
    "VerifiedSummary",
    "verify_and_connect",
    "verify_evidence",
    "verify_release",
    "verify_summary",
]

_HOMES = {
    "AttestedSession": "session",
    "Policy": "policy",
    "Report": "report",
    "Repository": "repository",
    "VerifiedRelease": "release",
    "VerifiedSummary": "summary",
    "verify_and_connect": "session",
    "verify_evidence": "verify",
    "verify_release": "release",
    "verify_summary": "summary",
}
"""The module of each public name that is not an error."""


def __getattr__(name: str) -> object:
    """Load a public name on first use (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
