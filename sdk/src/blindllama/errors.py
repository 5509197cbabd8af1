"""What the SDK raises, and the stable code of every reason.

The tree::

Error:
    ├── NetworkError                 the server was not reached; the only one worth a retry
    │   └── BusyError                it was, has no time now, and may say when
    ├── UsageError                   the caller passed something that can never be right
    └── VerificationError            one of the ten checks said no
        ├── PolicyError              step 1      the policy itself
        ├── FormatError              any step    bytes that are not what they must be
        ├── ProvenanceError          steps 2–4   who built and signed the release
        ├── RollbackError            step 4      an older or a revoked release
        ├── FreshnessError           steps 4, 8  too old, or not made for this caller
        ├── AttestationKeyError      step 7      the TPM's key
        ├── QuoteError               step 8      the TPM's statement
        ├── MeasurementError         steps 5, 9  what was booted
        └── ChannelBindingError      step 10     the TLS peer

A `VerificationError` says what was checked, what was expected and what came instead. Programs read
`code`, `step`, `expected` and `got`; they never parse the sentence. `report` holds all ten checks.
What each code means and what to do about it is in `errors.toml`, and on a page of the docs.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from blindllama._printable import printable

if TYPE_CHECKING:
    from blindllama.report import Report

__all__ = [
    "AttestationKeyError",
    "BusyError",
    "ChannelBindingError",
    "Code",
    "Error",
    "FormatError",
    "FreshnessError",
    "MeasurementError",
    "NetworkError",
    "PolicyError",
    "ProvenanceError",
    "QuoteError",
    "RollbackError",
    "UsageError",
    "VerificationError",
]


class Code(StrEnum):
    """The stable reasons of a refusal, one per reason, in the order of the checks."""

    # Step 1: the policy.
    POLICY_UNREADABLE = "policy.unreadable"
    POLICY_INVALID = "policy.invalid"
    POLICY_EMPTY = "policy.empty"
    POLICY_TRUST_ROOT = "policy.trust_root"
    POLICY_OWNER_KEY = "policy.owner_key"

    # Any step: bytes that are not what they claim to be.
    FORMAT_TOO_LARGE = "format.too_large"
    FORMAT_TOO_DEEP = "format.too_deep"
    FORMAT_NOT_UTF8 = "format.not_utf8"
    FORMAT_NOT_JSON = "format.not_json"
    FORMAT_DUPLICATE_KEY = "format.duplicate_key"
    FORMAT_SCHEMA = "format.schema"
    FORMAT_ENCODING = "format.encoding"
    FORMAT_VERSION = "format.version"

    # Step 2: Sigstore bundles and the statements inside them.
    BUNDLE_MALFORMED = "bundle.malformed"
    BUNDLE_CERTIFICATE = "bundle.certificate"
    BUNDLE_SIGNATURE = "bundle.signature"
    BUNDLE_ISSUER = "bundle.issuer"
    BUNDLE_IDENTITY = "bundle.identity"
    BUNDLE_SOURCE = "bundle.source"
    BUNDLE_RUNNER = "bundle.runner"
    BUNDLE_NO_TIMESTAMP = "bundle.no_timestamp"
    BUNDLE_NO_INCLUSION_PROMISE = "bundle.no_inclusion_promise"
    BUNDLE_OUTSIDE_VALIDITY = "bundle.outside_validity"
    STATEMENT_PAYLOAD_TYPE = "statement.payload_type"
    STATEMENT_TYPE = "statement.type"
    STATEMENT_PREDICATE_TYPE = "statement.predicate_type"
    STATEMENT_SUBJECT = "statement.subject"
    PROVENANCE_BUILD_TYPE = "provenance.build_type"
    PROVENANCE_BUILDER = "provenance.builder"
    PROVENANCE_SOURCE = "provenance.source"
    PROVENANCE_RUNNER = "provenance.runner"
    PROVENANCE_PARAMETERS = "provenance.parameters"
    PROVENANCE_STEP = "provenance.step"

    # What somebody else has verified (`blindllama.summary`); no check of a release looks at it.
    SUMMARY_SUBJECT = "summary.subject"
    SUMMARY_VERIFIER = "summary.verifier"
    SUMMARY_RESOURCE = "summary.resource"
    SUMMARY_RESULT = "summary.result"
    SUMMARY_LEVEL = "summary.level"
    SUMMARY_POLICY = "summary.policy"
    SUMMARY_NOT_YET = "summary.not_yet"
    SUMMARY_TOO_OLD = "summary.too_old"

    # Step 3: the chain from inputs to disks.
    LAYOUT_MALFORMED = "layout.malformed"
    LAYOUT_SIGNATURE = "layout.signature"
    LAYOUT_UNKNOWN_OWNER = "layout.unknown_owner"
    LAYOUT_OWNER_MISSING = "layout.owner_missing"
    LAYOUT_EXPIRED = "layout.expired"
    LAYOUT_STEPS = "layout.steps"
    LAYOUT_INSPECTION = "layout.inspection"
    LAYOUT_OPEN_RULES = "layout.open_rules"
    LAYOUT_FUNCTIONARY = "layout.functionary"
    LINK_MALFORMED = "link.malformed"
    LINK_MISSING = "link.missing"
    LINK_UNEXPECTED = "link.unexpected"
    LINK_UNKNOWN_FUNCTIONARY = "link.unknown_functionary"
    LINK_SIGNATURE = "link.signature"
    LINK_THRESHOLD = "link.threshold"
    LINK_DISAGREEMENT = "link.disagreement"
    LINK_ARTIFACT_RULE = "link.artifact_rule"
    CHAIN_PROVENANCE_SUBJECTS = "chain.provenance_subjects"
    CHAIN_PROVENANCE_MATERIALS = "chain.provenance_materials"
    CHAIN_PROVENANCE_LAYOUT = "chain.provenance_layout"
    CHAIN_PROVENANCE_LINKS = "chain.provenance_links"
    CHAIN_MEASUREMENTS_SUBJECTS = "chain.measurements_subjects"
    CHAIN_MEASUREMENTS_LAYOUT = "chain.measurements_layout"
    CHAIN_MEASUREMENTS_PROVENANCE = "chain.measurements_provenance"
    CHAIN_MEASUREMENTS_PRODUCT = "chain.measurements_product"
    CHAIN_INDEX_FILES = "chain.index_files"
    REBUILD_MISSING = "rebuild.missing"
    REBUILD_DISAGREEMENT = "rebuild.disagreement"
    REBUILD_DUPLICATE = "rebuild.duplicate"
    REBUILD_UNKNOWN = "rebuild.unknown"
    REBUILD_RELEASE = "rebuild.release"

    # Step 4: is it the release that should run now?
    REPOSITORY_ROOT = "repository.root"
    REPOSITORY_SIGNATURE = "repository.signature"
    REPOSITORY_EXPIRED = "repository.expired"
    REPOSITORY_ROLLBACK = "repository.rollback"
    REPOSITORY_TAMPERED = "repository.tampered"
    REPOSITORY_INCOMPLETE = "repository.incomplete"
    REPOSITORY_STATUS = "repository.status"
    REPOSITORY_FORMAT = "repository.format"
    RELEASE_NAME = "release.name"
    RELEASE_SEQUENCE = "release.sequence"
    RELEASE_BELOW_MINIMUM = "release.below_minimum"
    RELEASE_BELOW_MEMORY = "release.below_memory"
    RELEASE_REVOKED = "release.revoked"
    RELEASE_EXPIRED = "release.expired"
    RELEASE_TOO_OLD = "release.too_old"
    RELEASE_NOT_YET = "release.not_yet"
    RELEASE_DEBUG = "release.debug"

    # Step 5: the expected PCRs.
    EXPECTED_PLATFORM = "expected.platform"
    EXPECTED_PCRS = "expected.pcrs"

    # Step 6: the evidence.
    EVIDENCE_STATUS = "evidence.status"
    EVIDENCE_CONTENT_TYPE = "evidence.content_type"
    EVIDENCE_KIND = "evidence.kind"
    EVIDENCE_KEY = "evidence.key"

    # Step 7: the attestation key.
    AK_MALFORMED = "ak.malformed"
    AK_UNKNOWN_ROOT = "ak.unknown_root"
    AK_SIMULATION_ROOT = "ak.simulation_root"
    AK_CHAIN = "ak.chain"
    AK_CHAIN_LENGTH = "ak.chain_length"
    AK_EXPIRED = "ak.expired"
    AK_NOT_YET_VALID = "ak.not_yet_valid"
    AK_ISSUER_NOT_CA = "ak.issuer_not_ca"
    AK_IS_CA = "ak.is_ca"
    AK_USAGE = "ak.usage"
    AK_KEY = "ak.key"

    # Step 8: the quote.
    QUOTE_MALFORMED = "quote.malformed"
    QUOTE_TRAILING_BYTES = "quote.trailing_bytes"
    QUOTE_MAGIC = "quote.magic"
    QUOTE_TYPE = "quote.type"
    QUOTE_SCHEME = "quote.scheme"
    QUOTE_SIGNATURE = "quote.signature"
    QUOTE_SIGNER = "quote.signer"
    QUOTE_NONCE = "quote.nonce_mismatch"
    QUOTE_NONCE_PATH = "quote.nonce_path"
    QUOTE_SELECTION = "quote.selection"
    QUOTE_PCR_DIGEST = "quote.pcr_digest"

    # Step 9: the measurements.
    MEASUREMENT_MISMATCH = "measurement.mismatch"
    MEASUREMENT_MISSING = "measurement.missing"
    MEASUREMENT_UNLISTED = "measurement.unlisted"
    MEASUREMENT_EVENTS = "measurement.events"

    # Step 10: the channel.
    CHANNEL_NOT_HTTPS = "channel.not_https"
    CHANNEL_TLS_VERSION = "channel.tls_version"
    CHANNEL_KEY = "channel.key"
    CHANNEL_ORIGIN = "channel.origin"
    CHANNEL_REDIRECT = "channel.redirect"
    CHANNEL_ENCODING = "channel.encoding"


class Error(Exception):
    """Base of everything that the SDK raises on purpose."""


class NetworkError(Error):
    """The server could not be reached or went away; nothing was said about its trust."""


class BusyError(NetworkError):
    """The server has no time for this now; nothing was said about its trust.

    Attributes:
        retry_after: Seconds after which the server asks to be asked again, 0 to 3600; None where it
            does not say.
    """

    def __init__(self, message: str, *, retry_after: int | None) -> None:
        """Make the error from its sentence and from what the server asks for."""
        super().__init__(message)
        self.retry_after = retry_after


class UsageError(Error):
    """An argument that can never be right, such as a time without a time zone."""


class VerificationError(Error):
    """One of the ten checks refused; nothing after it was done.

    Attributes:
        code: The reason, stable across versions.
        step: The number of the check, 1 to 10.
        expected: What the check demands, for programs and for the message.
        got: What came instead.
        report: All ten checks, as far as they got; None until the verifier attaches it.
    """

    def __init__(
        self,
        what: str,
        *,
        code: Code,
        step: int,
        expected: object = None,
        got: object = None,
    ) -> None:
        """Make the error from what was checked, what was expected and what came."""
        super().__init__(_sentence(what, expected, got))
        self.code = code
        self.step = step
        self.expected = expected
        self.got = got
        self.report: Report | None = None

    @property
    def advice(self) -> str:
        """What whoever sees the refusal should do, in whole sentences."""
        from blindllama._catalogue import catalogue  # noqa: PLC0415 - it imports this module

        return catalogue()[self.code].advice


class PolicyError(VerificationError):
    """The caller's policy is unreadable, incomplete or contradicts itself (step 1)."""


class FormatError(VerificationError):
    """Bytes that do not parse into exactly what they must be (any step)."""


class ProvenanceError(VerificationError):
    """The release was not signed, built or listed as the caller demands (steps 2 to 4)."""


class RollbackError(VerificationError):
    """The release is older than one already known, or was taken back (step 4)."""


class FreshnessError(VerificationError):
    """The release has expired, or the quote was not made for this caller (steps 4 and 8)."""


class AttestationKeyError(VerificationError):
    """The attestation key is not one that the platform vouches for (step 7)."""


class QuoteError(VerificationError):
    """The quote is not a genuine TPM quote over the expected selection (step 8)."""


class MeasurementError(VerificationError):
    """What was booted is not what the release says, or it says nothing (steps 5 and 9)."""


class ChannelBindingError(VerificationError):
    """The TLS peer does not hold the attested key (step 10)."""


_LONGEST_VALUE = 200
"""Characters of a value shown in a message: hostile bytes must not flood a log."""

_LONGEST_SENTENCE = 600
"""Characters of what was checked: it may quote a library, which quotes hostile bytes."""


def _sentence(what: str, expected: object, got: object) -> str:
    parts = [printable(what, _LONGEST_SENTENCE)]
    if expected is not None:
        parts.append(f"expected {_shown(expected)}")
    if got is not None:
        parts.append(f"got {_shown(got)}")
    return "; ".join(parts)


def _shown(value: object) -> str:
    return printable(value if isinstance(value, str) else repr(value), _LONGEST_VALUE)
