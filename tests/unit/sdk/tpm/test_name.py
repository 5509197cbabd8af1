"""The qualified name of a key, against what TPMs that nobody here wrote say about theirs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from blindllama._platform.azure import AZURE_TRUSTED_LAUNCH
from blindllama._platform.qemu import QEMU_SWTPM
from blindllama._tpm.name import RESTRICTED_SIGNING, RH_ENDORSEMENT, RsaTemplate, qualified_name
from blindllama._tpm.quote import parse_genuine_quote

POLICY = bytes(range(32))
PLAIN = RsaTemplate(hierarchy=RH_ENDORSEMENT, attributes=RESTRICTED_SIGNING, policy=b"")
OWNER = 0x40000001


@pytest.mark.swtpm
@pytest.mark.parametrize("policy", [b"", POLICY], ids=["no policy", "a policy"])
@pytest.mark.parametrize("key", ["rsa2048", "rsa3072"])
def test_the_name_that_a_tpm_gives(key: str, policy: bytes) -> None:
    from tests.simulators.swtpm import software_tpm  # noqa: PLC0415 - compiled, not everywhere

    with software_tpm(key=key, policy=policy) as tpm:
        attest, _ = tpm.quote(bytes(32))
        public_key = tpm.public_key
    assert isinstance(public_key, rsa.RSAPublicKey)
    named = parse_genuine_quote(attest).qualified_signer
    template = replace(PLAIN, policy=policy)
    assert named == qualified_name(public_key, template)
    for other in (
        replace(template, policy=policy + b"x"),
        replace(template, attributes=RESTRICTED_SIGNING & ~0x10000),  # not restricted
        replace(template, hierarchy=OWNER),
    ):
        assert named != qualified_name(public_key, other)


@pytest.mark.swtpm
def test_a_key_of_the_owners_hierarchy() -> None:
    from tests.simulators.swtpm import software_tpm  # noqa: PLC0415 - compiled, not everywhere

    with software_tpm(owner=True) as tpm:
        attest, _ = tpm.quote(bytes(32))
        public_key = tpm.public_key
    assert isinstance(public_key, rsa.RSAPublicKey)
    named = parse_genuine_quote(attest).qualified_signer
    assert named == qualified_name(public_key, replace(PLAIN, hierarchy=OWNER))
    allowed = AZURE_TRUSTED_LAUNCH.signers(public_key)
    assert allowed is not None
    assert named not in allowed


def test_where_the_host_makes_the_key_any_name_will_do() -> None:
    key = rsa.generate_private_key(65537, 2048).public_key()
    assert QEMU_SWTPM.signers(key) is None
    assert len(AZURE_TRUSTED_LAUNCH.signers(key) or ()) == 2


def test_another_exponent_is_another_key() -> None:
    numbers = rsa.generate_private_key(65537, 2048).public_key().public_numbers()
    usual = qualified_name(numbers.public_key(), PLAIN)
    assert usual != qualified_name(rsa.RSAPublicNumbers(3, numbers.n).public_key(), PLAIN)
    assert (len(usual), usual[:2]) == (34, b"\x00\x0b")
