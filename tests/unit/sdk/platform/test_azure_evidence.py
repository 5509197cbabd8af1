"""Evidence with the form of Azure's two live hierarchies, under a root of our own.

Real machines' documents are in test_azure_documents.py; none of them has a quote for a nonce of
ours, by its certified key. So here everything is Azure's platform but the root's fingerprint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ObjectIdentifier

from blindllama._ak import verify_attestation_key
from blindllama._platform.azure import AZURE_TRUSTED_LAUNCH
from blindllama._tpm.name import RESTRICTED_SIGNING, RH_ENDORSEMENT, RsaTemplate, qualified_name
from blindllama._tpm.quote import ExpectedQuote, VerifiedQuote, verify_quote
from blindllama.errors import AttestationKeyError, Code, QuoteError
from tests.simulators.ak_authority import (
    AIK,
    INTERMEDIATE,
    LEAF,
    NOW,
    ROOT,
    Issuer,
    Profile,
    new_root,
)
from tests.simulators.software_ak import SoftwareAk, Statement

EK_PURPOSE = ObjectIdentifier("2.23.133.8.1")
WINDOWS_PURPOSE = ObjectIdentifier("1.3.6.1.4.1.311.10.3.12")
TRUSTED_VM_POLICY = ObjectIdentifier("1.3.6.1.4.1.311.108")
ADDRESS = "http://primary.example/issuer.crt"
TOP = new_root(replace(ROOT, common_name="Azure root in form", organisation="Somebody Corporation"))
PLATFORM = replace(AZURE_TRUSTED_LAUNCH, roots=frozenset({TOP.fingerprint}))
AK = SoftwareAk.make_rsa()
VALUES = {pcr: hashlib.sha256(bytes([pcr])).digest() for pcr in range(16)}
DIGEST = hashlib.sha256(b"".join(VALUES[pcr] for pcr in range(16))).digest()
DATA = bytes(range(32))


def published() -> tuple[x509.ExtensionType, bool]:
    where = x509.AccessDescription(
        AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier(ADDRESS)
    )
    return x509.AuthorityInformationAccess([where]), False


def leaf_profile(*, addresses: bool) -> Profile:
    """What Azure's leaves say, with or without where their issuer is."""
    policies = x509.CertificatePolicies(
        [x509.PolicyInformation(TRUSTED_VM_POLICY, policy_qualifiers=None)]
    )
    version = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.311.13.2.3"), b"\x16\x016")
    return replace(
        LEAF,
        common_name="5efaacb0f4d9.TrustedVM.Azure.windows.net",
        organisation=None,
        purposes=(WINDOWS_PURPOSE, AIK),
        extra=((policies, False), (version, False), *([published()] if addresses else [])),
    )


def issuing(name: str, path_length: int) -> Profile:
    """What Azure's intermediates say: that they may issue certificates of both kinds of keys."""
    purposes = (EK_PURPOSE, AIK)
    return replace(
        INTERMEDIATE,
        common_name=name,
        organisation=None,
        path_length=path_length,
        purposes=purposes,
    )


@dataclass(frozen=True, kw_only=True)
class Hierarchy:
    """From the leaf's issuer upwards; the root is last."""

    issuers: Sequence[Issuer]
    leaf: Profile

    def chain(self, leaf: Profile | None = None) -> tuple[bytes, list[bytes]]:
        certificate = self.issuers[0].certify(AK.public_key, leaf or self.leaf)
        return certificate, [issuer.der for issuer in self.issuers]


def older() -> Hierarchy:
    """Directly below the root, and no address in the leaf."""
    middle = TOP.issue(issuing("Global Virtual TPM CA - 03", 0))
    return Hierarchy(issuers=(middle, TOP), leaf=leaf_profile(addresses=False))


def newer() -> Hierarchy:
    """Two intermediates, each with an address."""
    upper = TOP.issue(issuing("Azure Cloud Virtual TPM CA 2025", 1))
    lower = upper.issue(
        replace(issuing("Azure Cloud Virtual TPM CA - 11", 0), extra=(published(),))
    )
    return Hierarchy(issuers=(lower, upper, TOP), leaf=leaf_profile(addresses=True))


def newest() -> Hierarchy:
    """One more than anybody has seen."""
    high = TOP.issue(issuing("Azure Cloud Virtual TPM CA 2030", 2))
    upper = high.issue(issuing("Azure Cloud Virtual TPM CA 2030 East", 1))
    lower = upper.issue(issuing("Azure Cloud Virtual TPM CA - 99", 0))
    return Hierarchy(issuers=(lower, upper, high, TOP), leaf=leaf_profile(addresses=True))


HIERARCHIES = {"older": older(), "newer": newer(), "newest": newest()}


@pytest.fixture(params=HIERARCHIES)
def hierarchy(request: pytest.FixtureRequest) -> Hierarchy:
    return HIERARCHIES[request.param]


def certified(leaf: bytes, issuers: Sequence[bytes]) -> rsa.RSAPublicKey:
    key = verify_attestation_key(
        leaf, issuers, platform=PLATFORM, roots=frozenset({TOP.fingerprint}), now=NOW
    ).public_key
    assert isinstance(key, rsa.RSAPublicKey)
    return key


def quoted(signer: bytes, key: rsa.RSAPublicKey) -> VerifiedQuote:
    attest = Statement(qualifying_data=DATA, pcr_digest=DIGEST, signer=signer).marshal()
    return verify_quote(
        attest=attest,
        signature=AK.sign(attest),
        key=key,
        claimed=VALUES,
        expected=ExpectedQuote(
            qualifying_data=DATA,
            selection=PLATFORM.quoted,
            schemes=PLATFORM.schemes,
            signers=PLATFORM.signers(key),
        ),
    )


@pytest.mark.parametrize(
    "policy",
    ["9dffcbf36c383ae699fb9868dc6dcb89d7153884be2803922c124158bfad22ae", ""],
    ids=["as in 2023", "as OpenVMM makes it"],
)
def test_both_hierarchies_and_one_deeper_are_accepted(hierarchy: Hierarchy, policy: str) -> None:
    key = certified(*hierarchy.chain())
    template = RsaTemplate(
        hierarchy=RH_ENDORSEMENT, attributes=RESTRICTED_SIGNING, policy=bytes.fromhex(policy)
    )
    assert quoted(qualified_name(key, template), key).values == VALUES


@pytest.mark.parametrize(
    "changes",
    [
        {"hierarchy": 0x40000001},  # the owner's: `tpm2_createak` by whoever owns the machine
        {"attributes": RESTRICTED_SIGNING & ~0x10000},  # signs whatever it is given
        {"attributes": RESTRICTED_SIGNING & ~0x2},  # may leave the TPM
        {"policy": bytes(32)},
    ],
    ids=str,
)
def test_a_key_of_another_kind_is_refused(changes: dict[str, object]) -> None:
    key = certified(*HIERARCHIES["older"].chain())
    genuine = RsaTemplate(hierarchy=RH_ENDORSEMENT, attributes=RESTRICTED_SIGNING, policy=b"")
    template = replace(genuine, **changes)  # type: ignore[arg-type]
    with pytest.raises(QuoteError) as caught:
        quoted(qualified_name(key, template), key)
    assert caught.value.code is Code.QUOTE_SIGNER


@pytest.mark.parametrize(
    ("code", "change"),
    [
        (Code.AK_USAGE, lambda leaf: replace(leaf, purposes=(WINDOWS_PURPOSE,))),
        (Code.AK_USAGE, lambda leaf: replace(leaf, purposes=(EK_PURPOSE,))),
        (Code.AK_USAGE, lambda leaf: replace(leaf, digital_signature=False)),
        (Code.AK_IS_CA, lambda leaf: replace(leaf, ca=True)),
        (
            Code.AK_KEY,
            lambda leaf: replace(leaf, common_name="5efaacb0f4d9.ConfidentialVM.Azure.windows.net"),
        ),
        (Code.AK_KEY, lambda leaf: replace(leaf, common_name="Global Virtual TPM CA - 04")),
    ],
)
def test_leaves_that_are_no_trusted_launch_machine(
    hierarchy: Hierarchy, code: Code, change: Callable[[Profile], Profile]
) -> None:
    with pytest.raises(AttestationKeyError) as caught:
        certified(*hierarchy.chain(change(hierarchy.leaf)))
    assert caught.value.code is code


def test_an_intermediate_passed_off_as_a_key_is_refused() -> None:
    """Its purposes are those of the keys that it certifies: another verifier fell for that."""
    lower, *above = HIERARCHIES["newer"].issuers
    with pytest.raises(AttestationKeyError) as caught:
        certified(lower.der, [issuer.der for issuer in above])
    assert caught.value.code is Code.AK_IS_CA
