from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from blindllama._platform.azure import AZURE_TRUSTED_LAUNCH
from blindllama._platform.base import Platform
from blindllama._platform.qemu import QEMU_SWTPM
from blindllama._platform.registry import platform_named
from blindllama.errors import AttestationKeyError, Code, UsageError
from blindllama.measurements import PlatformName
from tests.simulators.ak_authority import LEAF, Issuer, new_root

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
