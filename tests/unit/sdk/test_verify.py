"""Steps 6 to 9 where the conformance vectors do not reach: reports, arguments, explanations."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest

from blindllama.errors import Code, MeasurementError, UsageError, VerificationError
from blindllama.measurements import PlatformName
from blindllama.report import Report, Status
from blindllama.verify import verify_evidence
from tests.simulators.ak_authority import NOW
from tests.simulators.booted_guest import (
    BootedGuest,
    Papers,
    boot,
    encode,
    expected_pcrs,
    sha256,
)
from tests.simulators.software_ak import SoftwareAk, SoftwareQuoter

NONCE, SPKI = bytes(range(32)), b"a key"
AK = SoftwareAk.make_rsa()


def new_guest() -> BootedGuest:
    quoter = SoftwareQuoter(ak=AK)
    return BootedGuest(quoter=quoter, papers=Papers.of(quoter), spki=SPKI)


@pytest.fixture
def guest() -> BootedGuest:
    made = new_guest()
    boot(made.quoter)
    return made


def verify(guest: BootedGuest, **changes: object) -> Report:
    report = Report()
    arguments: dict[str, object] = {
        "expected": expected_pcrs(),
        "platform": PlatformName.QEMU_SWTPM,
        "roots": frozenset({guest.papers.root}),
        "nonce": NONCE,
        "spki": SPKI,
        "now": NOW,
        "report": report,
    }
    verify_evidence(encode(guest.document(NONCE)), **(arguments | changes))  # type: ignore[arg-type]
    return report


def test_the_report_tells_what_was_seen(guest: BootedGuest) -> None:
    checks = {check.step: check for check in verify(guest).checks}
    assert [checks[step].status for step in (6, 7, 8, 9)] == [Status.PASSED] * 4
    assert checks[7].detail["root"] == guest.papers.root.hex()
    assert "simulates the TPM" in checks[7].detail["limits"]
    assert checks[8].detail["callers"] == "1"
    assert checks[9].detail["PCR 6 (reported)"] == guest.quoter.pcrs()[6].hex()
    assert "PCR 4 (reported)" not in checks[9].detail


def test_the_report_tells_the_time_of_the_tpm(guest: BootedGuest) -> None:
    detail = next(check.detail for check in verify(guest).checks if check.step == 8)
    assert (detail["TPM resets"], detail["TPM restarts"]) == ("7", "1")
    assert detail["TPM clock"] == "123456 ms powered"
    assert isinstance(guest.quoter, SoftwareQuoter)
    guest.quoter.statement = replace(guest.quoter.statement, safe=0)
    detail = next(check.detail for check in verify(guest).checks if check.step == 8)
    assert detail["TPM clock"] == "123456 ms powered, may have gone back"


def test_a_simulated_platform_has_no_firmware_that_a_policy_could_allow(guest: BootedGuest) -> None:
    with pytest.raises(UsageError):
        verify(guest, allowed={0: frozenset({bytes(32)})})


def test_a_refusal_carries_the_report(guest: BootedGuest) -> None:
    with pytest.raises(VerificationError) as caught:
        verify(guest, nonce=bytes(32))
    assert caught.value.report is not None
    statuses = [check.status for check in caught.value.report.checks]
    assert (
        statuses
        == [Status.NOT_RUN] * 5 + [Status.PASSED] * 2 + [Status.FAILED] + [Status.NOT_RUN] * 2
    )


def test_a_report_is_made_when_none_is_given(guest: BootedGuest) -> None:
    with pytest.raises(VerificationError) as caught:
        verify(guest, nonce=bytes(32), report=None)
    assert caught.value.report is not None


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_q3_a_nonce_has_32_bytes(guest: BootedGuest, size: int) -> None:
    with pytest.raises(UsageError):
        verify(guest, nonce=bytes(size))


def test_c3_expected_registers_of_another_platform(guest: BootedGuest) -> None:
    with pytest.raises(MeasurementError) as caught:
        verify(guest, expected=expected_pcrs(PlatformName.AZURE_TRUSTED_LAUNCH))
    assert caught.value.code is Code.EXPECTED_PLATFORM


def test_a_register_that_is_not_enforced_may_differ(guest: BootedGuest) -> None:
    guest.quoter.extend(10, bytes(32))
    guest.quoter.extend(8, bytes(32))
    assert verify(guest).failure is None


def test_whatever_the_release_predicts_is_compared(guest: BootedGuest) -> None:
    genuine = expected_pcrs()
    values = MappingProxyType({**genuine.values, 8: sha256(b"predicted, not enforced")})
    with pytest.raises(MeasurementError) as caught:
        verify(guest, expected=replace(genuine, values=values))
    assert caught.value.code is Code.MEASUREMENT_MISMATCH
    assert caught.value.expected == values[8].hex()


@pytest.mark.parametrize("pcr", sorted(expected_pcrs().values))
def test_every_enforced_register_is_compared(guest: BootedGuest, pcr: int) -> None:
    guest.quoter.extend(pcr, sha256(b"something else"))
    with pytest.raises(MeasurementError) as caught:
        verify(guest)
    assert caught.value.code is Code.MEASUREMENT_MISMATCH
    assert f"PCR {pcr} differs from the release: " in str(caught.value)
    assert caught.value.expected == expected_pcrs().values[pcr].hex()
    assert caught.value.got == guest.quoter.pcrs()[pcr].hex()


def test_b3_anything_after_the_seal(guest: BootedGuest) -> None:
    guest.quoter.extend(15, sha256(b"after the seal"))
    with pytest.raises(MeasurementError) as caught:
        verify(guest)
    assert "the machine's own account does not give this value" in str(caught.value)


def test_b9_verification_works_without_a_log(guest: BootedGuest) -> None:
    assert verify(replace(guest, log=b"")).failure is None


@pytest.mark.parametrize("log", [b"\0", b"garbage" * 100])
def test_b9_a_log_that_cannot_be_read_decides_nothing(guest: BootedGuest, log: bytes) -> None:
    assert verify(replace(guest, log=log)).failure is None


def test_several_registers_are_named(guest: BootedGuest) -> None:
    guest.quoter.extend(4, bytes(32))
    guest.quoter.extend(11, bytes(32))
    with pytest.raises(MeasurementError) as caught:
        verify(guest)
    assert "PCR 4, 11 differ from the release; PCR 4: " in str(caught.value)


def test_an_expectation_without_a_value_is_refused(guest: BootedGuest) -> None:
    expected = expected_pcrs()
    values = {pcr: value for pcr, value in expected.values.items() if pcr != 12}
    with pytest.raises(MeasurementError) as caught:
        verify(guest, expected=replace(expected, values=MappingProxyType(values)))
    assert caught.value.code is Code.MEASUREMENT_MISSING
