from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from blindllama._platform.azure import AZURE_TRUSTED_LAUNCH
from blindllama._platform.base import Golden, Platform
from blindllama._platform.qemu import QEMU_SWTPM
from blindllama._platform.registry import platform_named
from blindllama._tpm.quote import VerifiedQuote
from blindllama._tpm.structures import ClockInfo
from blindllama.errors import AttestationKeyError, Code, MeasurementError, UsageError
from blindllama.measurements import PlatformName
from blindllama.verify import _check_firmware
from tests.simulators.ak_authority import LEAF, Issuer, new_root
from tests.simulators.booted_guest import expected_pcrs

KEY = ec.generate_private_key(ec.SECP256R1()).public_key()
TOP: Issuer = new_root()


@pytest.mark.parametrize("name", PlatformName)
def test_every_name_has_its_platform(name: PlatformName) -> None:
    assert platform_named(name).name is name


@pytest.mark.parametrize("platform", [QEMU_SWTPM, AZURE_TRUSTED_LAUNCH], ids=lambda p: p.name)
def test_every_platform_quotes_sixteen_registers(platform: Platform) -> None:
    # A missing PCR 12 was a published way around measured boot (ATTACKS, B2).
    assert platform.quoted == frozenset(range(16))
    assert {4, 9, 11, 12, 13, 15} <= platform.enforced
    assert platform.limits


def test_only_a_simulation_leaves_its_root_to_the_policy() -> None:
    assert QEMU_SWTPM.simulation
    assert QEMU_SWTPM.roots is None
    assert not AZURE_TRUSTED_LAUNCH.simulation
    assert AZURE_TRUSTED_LAUNCH.roots


@pytest.mark.parametrize("enforced", [frozenset(), frozenset({16})])
def test_a_platform_enforces_what_it_quotes(enforced: frozenset[int]) -> None:
    with pytest.raises(UsageError):
        replace(QEMU_SWTPM, enforced=enforced)


@pytest.mark.parametrize(
    "allowed",
    [
        {4: (Golden(value=bytes(32), seen="never"),)},  # the release's
        {16: (Golden(value=bytes(32), seen="never"),)},  # not quoted
        {6: (Golden(value=bytes(20), seen="never"),)},
        {6: ()},
    ],
)
def test_an_allowed_register_has_values_and_is_nobody_elses(
    allowed: dict[int, tuple[Golden, ...]],
) -> None:
    with pytest.raises(UsageError):
        replace(QEMU_SWTPM, allowed=allowed)


AZURE_VALUES = MappingProxyType(
    {index: known[0].value for index, known in AZURE_TRUSTED_LAUNCH.allowed.items()}
)


def quoted(changes: dict[int, bytes]) -> VerifiedQuote:
    values = {**dict.fromkeys(range(16), bytes(32)), **AZURE_VALUES, **changes}
    clock = ClockInfo(clock_ms=1, reset_count=1, restart_count=0, safe=True)
    return VerifiedQuote(
        values=values, qualifying_data=b"", clock=clock, firmware_version=1, qualified_signer=b""
    )


def test_firmware_that_is_known_is_reported_with_its_history() -> None:
    expected = expected_pcrs(PlatformName.AZURE_TRUSTED_LAUNCH)
    values = {index: value for index, value in expected.values.items() if index not in AZURE_VALUES}
    expected = replace(expected, values=values)
    known = _check_firmware(quoted({}), AZURE_TRUSTED_LAUNCH, expected, {})
    assert set(known) == {f"PCR {index} (known firmware)" for index in (0, 1, 2, 3, 7)}
    assert known["PCR 0 (known firmware)"].endswith(": 2023-11, Secure Boot off")
    new = bytes(31) + b"\1"
    with pytest.raises(MeasurementError) as caught:
        _check_firmware(quoted({7: new}), AZURE_TRUSTED_LAUNCH, expected, {0: frozenset({new})})
    assert caught.value.code is Code.MEASUREMENT_UNLISTED
    assert caught.value.got == new.hex()
    known = _check_firmware(quoted({7: new}), AZURE_TRUSTED_LAUNCH, expected, {7: frozenset({new})})
    assert known["PCR 7 (known firmware)"] == f"{new.hex()}: the policy allows it"


def test_a_release_that_predicts_the_firmware_has_the_say() -> None:
    expected = expected_pcrs(PlatformName.AZURE_TRUSTED_LAUNCH)
    assert {0, 1, 2, 3, 7} <= expected.values.keys()
    assert not _check_firmware(quoted({7: bytes(32)}), AZURE_TRUSTED_LAUNCH, expected, {})


def leaf(common_name: str) -> x509.Certificate:
    return x509.load_der_x509_certificate(TOP.certify(KEY, replace(LEAF, common_name=common_name)))


@pytest.mark.parametrize("domain", ["Microsoft", "windows.net"])
def test_azure_leaves_are_of_trusted_launch(domain: str) -> None:
    AZURE_TRUSTED_LAUNCH.check_leaf(leaf(f"5efaacb0f4d9.TrustedVM.Azure.{domain}"))


@pytest.mark.parametrize(
    "name",
    [
        "5efaacb0f4d9.ConfidentialVM.Azure.windows.net",
        "5efaacb0f4d9.TrustedVM.Azure.windows.net.example",
        "x.5efaacb0f4d9.TrustedVM.Azure.Microsoft",
        "5EFAACB0F4D9.TrustedVM.Azure.Microsoft",
        "Global Virtual TPM CA - 01",
    ],
)
def test_other_leaves_of_the_same_root_are_refused(name: str) -> None:
    with pytest.raises(AttestationKeyError) as caught:
        AZURE_TRUSTED_LAUNCH.check_leaf(leaf(name))
    assert caught.value.code is Code.AK_KEY
