"""Sigstore bundles: what the library checks, and what it leaves to its caller.

sigstore-python verifies certificate, SCT, log inclusion, times and signature. It takes a bundle
without a time stamp, drops a stamp that does not verify as long as the log's promise does, and
ignores the validity windows of keys. Those checks, and the signer's identity, are made here.
Nothing here reads a cache, a clock or the network.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, TypeAlias, TypeVar

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509 import (
    DuplicateExtension,
    ExtensionNotFound,
    InvalidVersion,
    ObjectIdentifier,
    PrecertificateSignedCertificateTimestamps,
    UnsupportedGeneralNameType,
)
from pydantic import BaseModel, ConfigDict, Field
from sigstore.errors import CertValidationError
from sigstore.errors import Error as SigstoreError
from sigstore.models import Bundle
from sigstore.verify.policy import (
    Identity,
    OIDCBuildConfigURI,
    OIDCBuildSignerURI,
    OIDCIssuerV2,
    OIDCRunnerEnvironment,
    OIDCSourceRepositoryRef,
    OIDCSourceRepositoryURI,
)

from blindllama._release.bundle_times import log_entries, stamps_in, with_times
from blindllama._release.promise import check_promise
from blindllama._release.trust import Moments, TrustRoot
from blindllama._release.unread import check_unread
from blindllama._strict_json import JsonValue, canonical_json, parse_model
from blindllama.errors import Code, ProvenanceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.x509 import Certificate
    from sigstore.verify import Verifier
    from sigstore.verify.policy import VerificationPolicy

    from blindllama.policy import GithubSource, SigstorePolicy

__all__ = ["BundleVerifier", "Signer", "VerifiedEnvelope", "certificate_ref", "certificate_says"]

_STEP = 2
_MOST_STAMPS = 32
"""As in the library, which counts them in whole bundles only."""

_LONG_LENGTH = 0x81
"""The length of a value takes one byte more (DER, X.690, 8.1.3.5)."""

_T = TypeVar("_T")

_FOREIGN = (
    SigstoreError,
    InvalidSignature,
    UnsupportedAlgorithm,
    DuplicateExtension,
    ExtensionNotFound,
    InvalidVersion,
    UnsupportedGeneralNameType,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    OSError,
    Warning,
)
"""What sigstore-python and the libraries under it raise on hostile bundles; where the caller has
made warnings errors, those as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Who must have signed: an issuer's identity and, on GitHub, the source it worked on."""

    issuer: str
    identity: str
    github: GithubSource | None = None

    @property
    def known_as(self) -> tuple[str, str]:
        """Who it is where people are counted: one workflow with two sources is one."""
        return self.issuer, self.identity


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedEnvelope:
    """The content of a DSSE bundle whose signature and signer were verified."""

    payload_type: str
    payload: bytes
    certificate: Certificate
    signed_at: datetime
    """The established time of the signature: the stamp's, or else the log's."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)

    integrated_time: Annotated[str, Field(alias="integratedTime", pattern=r"^[0-9]{1,15}$")] = "0"
    promise: Annotated[JsonValue, Field(alias="inclusionPromise")] = None


_Run: TypeAlias = "Callable[[Verifier, Bundle, VerificationPolicy], _T]"


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleVerifier:
    """Verifies bundles against one trust root, with what the policy requires of each."""

    trust: TrustRoot
    require: SigstorePolicy

    def verify_dsse(self, document: JsonValue, signer: Signer) -> VerifiedEnvelope:
        """Return the content of a bundle that holds a DSSE envelope.

        Raises:
            ProvenanceError: `bundle.*`.
        """
        bundle = _parsed(document)
        (payload_type, payload), signed_at = self._verify(
            document,
            bundle,
            signer,
            lambda verifier, seen, check: verifier.verify_dsse(seen, check),
        )
        return VerifiedEnvelope(
            payload_type=payload_type,
            payload=payload,
            certificate=bundle.signing_certificate,
            signed_at=signed_at,
        )

    def verify_message(
        self, document: JsonValue, signer: Signer, *, message: bytes, signature: bytes
    ) -> datetime:
        """Return the established time of a bundle that signs the message with that signature.

        Raises:
            ProvenanceError: `bundle.*`.
        """
        bundle = _parsed(document)
        if _translated(lambda: bundle.signature) != signature:
            raise ProvenanceError(
                "signature beside a Sigstore bundle",
                code=Code.BUNDLE_SIGNATURE,
                step=_STEP,
                expected="the signature in the bundle",
                got="another",
            )
        _, signed_at = self._verify(
            document,
            bundle,
            signer,
            lambda verifier, seen, check: verifier.verify_artifact(message, seen, check),
        )
        return signed_at

    def _verify(
        self, document: JsonValue, bundle: Bundle, signer: Signer, run: _Run[_T]
    ) -> tuple[_T, datetime]:
        """Return what the run returns, and the established time of the signature.

        Each time that the bundle states must hold by itself, and with the keys of then. What the
        narrowed trust root accepts, the whole one does too: a genuine bundle needs no other run.
        """
        check = _SignerCheck(signer)
        try:
            moments, stamped, proofs = self._proofs(document, bundle)
            then = self.trust.verifier_at(moments)
            result, *_ = [_translated(partial(run, then, proof, check)) for proof in proofs]
            if stamped and moments.logged is not None:
                entry = log_entries(document)[0]
                key = self.trust.promise_key_at(moments, entry)
                if key is not None:  # else the library has checked the promise, alone
                    certificate = bundle.signing_certificate
                    check_promise(entry, key=key, certificate=certificate, logged=moments.logged)
        except ProvenanceError as exc:
            self._explain(document, bundle, lambda verifier, seen: run(verifier, seen, check))
            raise ProvenanceError(
                f"Sigstore bundle: {exc}", code=Code.BUNDLE_OUTSIDE_VALIDITY, step=_STEP
            ) from exc
        check_unread(
            document,
            entries=log_entries(document),
            stamps=stamps_in(document) if stamped else (),
            authorities=self.trust.stampers,
        )
        # A stamp that nobody verified tells no time.
        return result, (moments.stamped if stamped else moments.signed)[0]

    def _proofs(self, document: JsonValue, bundle: Bundle) -> tuple[Moments, bool, list[Bundle]]:
        """Return the times, whether stamps count, and the bundle once with each time alone."""
        moments = _moments(document, bundle)
        if self.require.require_inclusion_promise and moments.logged is None:
            raise ProvenanceError(
                "log's inclusion promise",
                code=Code.BUNDLE_NO_INCLUSION_PROMISE,
                step=_STEP,
                expected="a signed entry timestamp",
                got="none",
            )
        if not (self.require.require_timestamp or moments.logged is None):
            return moments, False, [bundle]
        if len(moments.stamped) > _MOST_STAMPS:
            raise ProvenanceError(
                "time stamps of a Sigstore bundle",
                code=Code.BUNDLE_SIGNATURE,
                step=_STEP,
                expected=f"at most {_MOST_STAMPS}",
                got=len(moments.stamped),
            )
        own = moments.logged and self.trust.promise_key_at(moments, log_entries(document)[0])
        promised = [] if own or moments.logged is None else [_with_promise_alone(document)]
        stamps = range(max(1, len(moments.stamped)))
        return moments, True, promised + [_with_one_stamp(document, number) for number in stamps]

    def _explain(
        self,
        document: JsonValue,
        bundle: Bundle,
        run: Callable[[Verifier, Bundle], object],
    ) -> None:
        """Raise for a refused bundle the error of the first thing that is wrong with it."""
        whole = self.trust.verifier
        _translated(lambda: run(whole, bundle))
        moments, stamped, proofs = self._proofs(document, bundle)
        for proof in proofs if stamped else ():
            _translated(partial(run, whole, proof), code=Code.BUNDLE_NO_TIMESTAMP)
        self.trust.verifier_at(moments)


def certificate_says(certificate: Certificate, claim: VerificationPolicy, *, code: Code) -> None:
    """Refuse a certificate that does not make the claim.

    Raises:
        ProvenanceError: with the code given.
    """
    _translated(lambda: claim.verify(certificate), code=code)


def certificate_ref(certificate: Certificate) -> str:
    """Return the full ref of the source that a certificate names, extension .14.

    Raises:
        ProvenanceError: `bundle.source` when it names none.
    """
    return _translated(lambda: _ref(certificate), code=Code.BUNDLE_SOURCE)


def _ref(certificate: Certificate) -> str:
    oid = ObjectIdentifier("1.3.6.1.4.1.57264.1.14")
    value = certificate.extensions.get_extension_for_oid(oid).value.public_bytes()
    # A DER UTF8String of up to 255 bytes; the library's own reading then has to be the same.
    text = value[3 if value[1] == _LONG_LENGTH else 2 :].decode()
    OIDCSourceRepositoryRef(text).verify(certificate)
    return text


@dataclass(frozen=True, slots=True)
class _SignerCheck:
    """The policy that sigstore applies once the certificate's chain and SCT are verified."""

    signer: Signer

    def verify(self, cert: Certificate) -> None:
        signer = self.signer
        certificate_says(cert, OIDCIssuerV2(signer.issuer), code=Code.BUNDLE_ISSUER)
        certificate_says(cert, Identity(identity=signer.identity), code=Code.BUNDLE_IDENTITY)
        if signer.github is None:
            return
        # A public reusable workflow is called from anywhere: the source decides (S1, S3).
        source = signer.github
        for claim in (
            OIDCBuildSignerURI(signer.identity),
            OIDCSourceRepositoryURI(source.repository),
        ):
            certificate_says(cert, claim, code=Code.BUNDLE_SOURCE)
        ref = certificate_ref(cert)
        if not source.accepts_ref(ref):
            raise ProvenanceError(
                "source ref in a certificate",
                code=Code.BUNDLE_SOURCE,
                step=_STEP,
                expected=source.ref or source.ref_pattern,
                got=ref,
            )
        calling = OIDCBuildConfigURI(f"{source.repository}/{source.workflow}@{ref}")
        certificate_says(cert, calling, code=Code.BUNDLE_SOURCE)
        certificate_says(cert, OIDCRunnerEnvironment(source.runner), code=Code.BUNDLE_RUNNER)


def _parsed(document: JsonValue) -> Bundle:
    """Return the bundle, which has one spelling: no part of it is left unread or read twice."""
    bundle = _loaded(document)
    if json.loads(bundle.to_json()) != document:
        raise ProvenanceError(
            "form of a Sigstore bundle",
            code=Code.BUNDLE_MALFORMED,
            step=_STEP,
            expected="known fields in the spelling of the specification",
        )
    return bundle


def _loaded(document: JsonValue) -> Bundle:
    try:
        return Bundle.from_json(canonical_json(document))
    except _FOREIGN as exc:
        raise _malformed(exc) from exc


def _with_promise_alone(document: JsonValue) -> Bundle:
    """Return the bundle without stamps, so that only the log's promise tells the time."""
    return _loaded(with_times(document, stamps=[], promise=True))


def _with_one_stamp(document: JsonValue, number: int) -> Bundle:
    """Return the bundle without the log's promise, so that only this stamp tells the time."""
    stamps = stamps_in(document)[number : number + 1]
    try:
        return Bundle.from_json(canonical_json(with_times(document, stamps=stamps, promise=False)))
    except _FOREIGN as exc:
        raise ProvenanceError(
            f"time stamp of a Sigstore bundle: {exc}", code=Code.BUNDLE_NO_TIMESTAMP, step=_STEP
        ) from exc


def _moments(document: JsonValue, bundle: Bundle) -> Moments:
    try:
        entry = parse_model(log_entries(document)[0], _Entry, step=_STEP, what="log entry")
        logged = int(entry.integrated_time) if entry.promise is not None else 0
        stamps = bundle.verification_material.timestamp_verification_data
        promises = bundle.signing_certificate.extensions.get_extension_for_class(
            PrecertificateSignedCertificateTimestamps
        ).value
        return Moments(
            logged=datetime.fromtimestamp(logged, tz=UTC) if logged else None,
            stamped=tuple(s.tst_info.gen_time for s in stamps.rfc3161_timestamps) if stamps else (),
            certified=promises[0].timestamp.replace(tzinfo=UTC),
        )
    except _FOREIGN as exc:
        raise _malformed(exc) from exc


def _malformed(exc: Exception) -> ProvenanceError:
    return ProvenanceError(f"Sigstore bundle: {exc}", code=Code.BUNDLE_MALFORMED, step=_STEP)


def _translated(run: Callable[[], _T], *, code: Code | None = None) -> _T:
    """Return what the run returns; what sigstore raises becomes a `ProvenanceError`."""
    try:
        return run()
    except CertValidationError as exc:
        raise ProvenanceError(
            f"certificate of a Sigstore bundle: {exc}",
            code=code or Code.BUNDLE_CERTIFICATE,
            step=_STEP,
        ) from exc
    except _FOREIGN as exc:
        raise ProvenanceError(
            f"Sigstore bundle: {exc}", code=code or Code.BUNDLE_SIGNATURE, step=_STEP
        ) from exc
