"""Steps 6 to 9: whether an evidence document proves what the caller expects.

One pure decider: no network, clock or randomness. The bytes come from the server; everything that
they are compared with comes from the caller.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from blindllama._ak import VerifiedAttestationKey, verify_attestation_key
from blindllama._platform.base import Platform
from blindllama._platform.registry import platform_named
from blindllama._tpm.quote import ExpectedQuote, VerifiedQuote, qualifying_data, verify_quote
from blindllama.errors import ChannelBindingError, Code, MeasurementError, UsageError
from blindllama.evidence import Evidence, parse_evidence
from blindllama.explain import KnownRelease, Machine, explain_registers
from blindllama.measurements import ExpectedPcrs, PlatformName
from blindllama.report import Report

__all__ = ["VerifiedEvidence", "verify_evidence"]

_NONE_BESIDES: Mapping[int, frozenset[bytes]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedEvidence:
    """A guest of the expected release that holds a certain TLS key; made by `verify_evidence`."""

    platform: PlatformName
    spki: bytes
    """The TLS key that the quote names, DER of its SubjectPublicKeyInfo."""
    values: Mapping[int, bytes]
    """All quoted registers, 32 bytes each; those that the release predicts equal its own."""
    attestation_key_subject: str
    reset_count: int
    """TPM resets; a host that simulates the TPM can make it what it likes."""
    restart_count: int
    clock_ms: int
    """How long the TPM was powered, by its own account."""
    verified_at: datetime


def verify_evidence(  # noqa: PLR0913 - each argument is a separate decision of the caller
    document: bytes,
    *,
    expected: ExpectedPcrs,
    platform: PlatformName,
    roots: frozenset[bytes],
    nonce: bytes,
    spki: bytes,
    now: datetime,
    allowed: Mapping[int, frozenset[bytes]] = _NONE_BESIDES,
    issuers: Sequence[bytes] = (),
    report: Report | None = None,
    release: str = "the release",
    known: Callable[[], Sequence[KnownRelease]] = tuple,
) -> VerifiedEvidence:
    """Return what the evidence proves about the holder of the TLS key.

    Args:
        document: The server's bytes, wire form 1.
        expected: The registers of a genuine guest, from the verified release.
        platform: The caller's platform, which must be the one of `expected`.
        roots: SHA-256 fingerprints of the platform roots that the caller accepts.
        nonce: The caller's 32 random bytes, never used before.
        spki: SubjectPublicKeyInfo of the TLS peer, DER.
        now: The time of the check, with a time zone.
        allowed: Values that registers of the platform's firmware may have, besides the known.
        issuers: DER of issuers of attestation keys that the caller knows, for evidence without.
        report: Takes the checks 6 to 9; a new one when not given.
        release: How the expected release is called in an explanation.
        known: Gives other genuine releases, to recognise one of them in a mismatch. It is asked
            only then, and decides nothing.

    Raises:
        VerificationError: the first check that failed says why in its `code`.
        UsageError: an argument that could never accept anything, or would accept too much.
    """
    checks = Report() if report is None else report
    place = platform_named(platform)
    if not allowed.keys() <= place.allowed.keys():
        raise UsageError(
            f"registers with more allowed values on {platform}; "
            f"expected some of {sorted(place.allowed)}; got {sorted(allowed)}"
        )
    with checks.check(6) as detail:
        evidence = parse_evidence(document)
        detail.update({"kind": evidence.kind, "size": f"{len(document)} bytes"})
        _check_key(evidence.spki, spki)
    with checks.check(7) as detail:
        ak = verify_attestation_key(
            evidence.ak_certificate,
            evidence.ak_issuers,
            platform=place,
            roots=roots,
            now=now,
            known=issuers,
        )
        detail.update(_key_detail(ak), limits=place.limits)
    with checks.check(8) as detail:
        quote = _verify_quote(evidence, ak, place, nonce=nonce, spki=spki)
        detail.update(_quote_detail(quote, evidence))
    with checks.check(9) as detail:
        _check_registers(quote, place, expected)
        # What the release predicts beyond the platform's demands is signed too: none is ignored.
        wrong = [index for index in sorted(expected.values) if not _equal(quote, expected, index)]
        if wrong:
            raise _mismatch(
                quote, evidence, expected, wrong, detail=detail, release=release, known=known()
            )
        detail.update(_measurement_detail(quote, place, expected))
        detail.update(_check_firmware(quote, place, expected, allowed))
    return VerifiedEvidence(
        platform=platform,
        spki=spki,
        values=quote.values,
        attestation_key_subject=ak.subject,
        reset_count=quote.clock.reset_count,
        restart_count=quote.clock.restart_count,
        clock_ms=quote.clock.clock_ms,
        verified_at=now,
    )


def _check_key(claimed: bytes, peer: bytes) -> None:
    """Refuse evidence about another key than the peer's.

    The quote would refuse it too, at step 8; here the reason is plain.
    """
    if not hmac.compare_digest(claimed, peer):
        raise ChannelBindingError(
            "TLS key in the evidence: it is about another server than the one that sent it",
            code=Code.EVIDENCE_KEY,
            step=6,
            expected=peer.hex(),
            got=claimed.hex(),
        )


def _verify_quote(
    evidence: Evidence, ak: VerifiedAttestationKey, platform: Platform, *, nonce: bytes, spki: bytes
) -> VerifiedQuote:
    expected = ExpectedQuote(
        qualifying_data=qualifying_data(spki=spki, nonce=nonce, path=evidence.nonce_path),
        selection=platform.quoted,
        schemes=platform.schemes,
        signers=platform.signers(ak.public_key),
    )
    return verify_quote(
        attest=evidence.attest,
        signature=evidence.signature,
        key=ak.public_key,
        claimed=evidence.pcrs,
        expected=expected,
    )


def _check_registers(quote: VerifiedQuote, platform: Platform, expected: ExpectedPcrs) -> None:
    """Compare in both directions: no register without a value, no value without a register."""
    if expected.platform is not platform.name:
        raise MeasurementError(
            "platform of the expected registers",
            code=Code.EXPECTED_PLATFORM,
            step=9,
            expected=platform.name.value,
            got=expected.platform.value,
        )
    missing = (platform.enforced - expected.values.keys()) | (
        expected.values.keys() - quote.values.keys()
    )
    if missing:
        raise MeasurementError(
            "registers that are expected and quoted",
            code=Code.MEASUREMENT_MISSING,
            step=9,
            expected=f"all of {sorted(platform.enforced)}, none outside the quote",
            got=f"{sorted(expected.values)}; it is about {sorted(missing)}",
        )


def _mismatch(
    quote: VerifiedQuote,
    evidence: Evidence,
    expected: ExpectedPcrs,
    wrong: Sequence[int],
    *,
    detail: MutableMapping[str, str],
    release: str,
    known: Sequence[KnownRelease],
) -> MeasurementError:
    """Return the refusal, and put into the report what each wrong register tells."""
    machine = Machine(
        values=quote.values, event_log=evidence.event_log, app_events=evidence.app_events
    )
    explained = explain_registers(wrong, machine, expected=expected, asked=release, known=known)
    for one in explained:
        detail[f"PCR {one.pcr}"] = one.sentence
        detail[f"PCR {one.pcr}, values"] = "; ".join(one.raw)
    first = explained[0]
    names = ", ".join(str(index) for index in wrong)
    others = f"; PCR {first.pcr}" if wrong[1:] else ""
    return MeasurementError(
        f"PCR {names} {'differ' if wrong[1:] else 'differs'} from {release}{others}: "
        f"{first.sentence}",
        code=Code.MEASUREMENT_MISMATCH,
        step=9,
        expected=expected.values[first.pcr].hex(),
        got=quote.values[first.pcr].hex(),
    )


def _check_firmware(
    quote: VerifiedQuote,
    platform: Platform,
    expected: ExpectedPcrs,
    besides: Mapping[int, frozenset[bytes]],
) -> Mapping[str, str]:
    """Return where each value is known from that no release predicts and that may not be any."""
    known = {}
    for index, goldens in platform.allowed.items():
        value = quote.values[index]
        if index in expected.values:
            continue
        seen = [golden.seen for golden in goldens if hmac.compare_digest(golden.value, value)]
        if not seen and value in besides.get(index, frozenset()):
            seen = ["the policy allows it"]
        if not seen:
            raise MeasurementError(
                f"PCR {index}, which the firmware of {platform.name} fills",
                code=Code.MEASUREMENT_UNLISTED,
                step=9,
                expected=" or ".join(golden.value.hex() for golden in goldens),
                got=value.hex(),
            )
        known[f"PCR {index} (known firmware)"] = f"{value.hex()}: {seen[0]}"
    return MappingProxyType(known)


def _equal(quote: VerifiedQuote, expected: ExpectedPcrs, index: int) -> bool:
    return hmac.compare_digest(quote.values[index], expected.values[index])


def _key_detail(ak: VerifiedAttestationKey) -> Mapping[str, str]:
    return MappingProxyType(
        {
            "key": ak.subject,
            "root": ak.root_fingerprint.hex(),
            "valid until": ak.not_after.isoformat(),
            **({"issuers of the policy": str(ak.issuers_known)} if ak.issuers_known else {}),
        }
    )


def _quote_detail(quote: VerifiedQuote, evidence: Evidence) -> Mapping[str, str]:
    return MappingProxyType(
        {
            "qualifying data": quote.qualifying_data.hex(),
            "registers": ", ".join(str(index) for index in quote.values),
            "callers": str(evidence.nonce_path.leaves),
            "TPM resets": str(quote.clock.reset_count),
            "TPM restarts": str(quote.clock.restart_count),
            "TPM clock": f"{quote.clock.clock_ms} ms powered"
            + ("" if quote.clock.safe else ", may have gone back"),
            "firmware": f"0x{quote.firmware_version:016x}",
        }
    )


def _measurement_detail(
    quote: VerifiedQuote, platform: Platform, expected: ExpectedPcrs
) -> Mapping[str, str]:
    equal = ", ".join(str(index) for index in sorted(expected.values))
    reported = {
        f"PCR {index} (reported)": value.hex()
        for index, value in quote.values.items()
        if index not in expected.values and index not in platform.allowed
    }
    return MappingProxyType({"equal": f"PCR {equal}", **reported})
