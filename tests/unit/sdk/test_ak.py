from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from blindllama._ak import VerifiedAttestationKey, verify_attestation_key
from blindllama._platform.azure import AZURE_TRUSTED_LAUNCH
from blindllama._platform.base import Platform
from blindllama._platform.qemu import QEMU_SWTPM
from blindllama.errors import AttestationKeyError, Code, UsageError
from tests.simulators.ak_authority import (
    AIK,
    FROM,
    INTERMEDIATE,
    LEAF,
    NOW,
    ROOT,
    UNTIL,
    Issuer,
    new_key,
    new_root,
)

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
TOP = new_root()
MIDDLE = TOP.issue()
GENUINE = MIDDLE.certify(KEY.public_key())
DAY = timedelta(days=1)


def verify(
    leaf: bytes = GENUINE,
    issuers: Sequence[bytes] = (MIDDLE.der, TOP.der),
    *,
    platform: Platform = QEMU_SWTPM,
    roots: frozenset[bytes] | None = None,
    now: datetime = NOW,
    known: Sequence[bytes] = (),
) -> VerifiedAttestationKey:
    accepted = frozenset({TOP.fingerprint}) if roots is None else roots
    return verify_attestation_key(
        leaf, issuers, platform=platform, roots=accepted, now=now, known=known
    )


def refused(code: Code, *arguments: object, **case: object) -> AttestationKeyError:
    with pytest.raises(AttestationKeyError) as caught:
        verify(*arguments, **case)  # type: ignore[arg-type]
    assert caught.value.code is code
    assert caught.value.step == 7
    return caught.value


def chain_of(depth: int) -> tuple[bytes, list[bytes]]:
    """A leaf below that many intermediates, and its issuers."""
    issuers = [TOP]
    for left in range(depth, 0, -1):
        issuers.append(issuers[-1].issue(replace(INTERMEDIATE, path_length=left - 1)))
    return issuers[-1].certify(KEY.public_key()), [issuer.der for issuer in reversed(issuers)]


def test_returns_the_certified_key() -> None:
    verified = verify()
    assert verified.public_key == KEY.public_key()
    assert verified.root_fingerprint == TOP.fingerprint
    assert verified.not_after == UNTIL
    assert "attestation key" in verified.subject


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_up_to_three_intermediates(depth: int) -> None:
    leaf, issuers = chain_of(depth)
    assert verify(leaf, issuers).public_key == KEY.public_key()


@pytest.mark.parametrize("sent", [0, 1, 2, 3, 4])
def test_the_caller_s_issuers_continue_a_chain_that_ends_early(sent: int) -> None:
    leaf, issuers = chain_of(3)
    stranger = new_root(ROOT)  # the same name, another key
    known = [stranger.der, *issuers[::-1]]
    verified = verify(leaf, issuers[:sent], known=known)
    assert verified.root_fingerprint == TOP.fingerprint
    assert verified.issuers_known == 4 - sent


def test_the_caller_s_issuers_are_trusted_for_nothing() -> None:
    stranger = new_root()
    leaf = stranger.certify(KEY.public_key())
    refused(Code.AK_UNKNOWN_ROOT, leaf, [], known=[stranger.der, TOP.der])
    expired = replace(INTERMEDIATE, end=NOW - DAY)
    middle = TOP.issue(expired)
    refused(Code.AK_EXPIRED, middle.certify(KEY.public_key()), [], known=[middle.der, TOP.der])


def test_the_caller_s_issuers_mend_nothing_that_was_sent() -> None:
    stranger = new_root()
    refused(Code.AK_UNKNOWN_ROOT, GENUINE, [MIDDLE.der, stranger.der], known=[TOP.der])
    refused(Code.AK_CHAIN_LENGTH, GENUINE, [], known=[stranger.der])
    refused(Code.AK_UNKNOWN_ROOT, GENUINE, [MIDDLE.der], known=[stranger.der])
    refused(Code.AK_CHAIN_LENGTH, GENUINE, [])


def test_five_of_the_caller_s_issuers_are_too_many() -> None:
    issuers = [new_root(replace(ROOT, path_length=None))]
    for _ in range(4):
        issuers.append(issuers[-1].issue(replace(INTERMEDIATE, path_length=None)))
    leaf = issuers[-1].certify(KEY.public_key())
    roots = frozenset({issuers[0].fingerprint})
    refused(Code.AK_UNKNOWN_ROOT, leaf, [], known=[one.der for one in issuers], roots=roots)


def test_c2_four_intermediates_are_too_many() -> None:
    top = new_root(replace(ROOT, path_length=None))
    issuers = [top]
    for _ in range(4):
        issuers.append(issuers[-1].issue(replace(INTERMEDIATE, path_length=None)))
    leaf = issuers[-1].certify(KEY.public_key())
    ders = [issuer.der for issuer in reversed(issuers)]
    refused(Code.AK_CHAIN_LENGTH, leaf, ders, roots=frozenset({top.fingerprint}))


def test_no_root_accepts_nothing() -> None:
    with pytest.raises(UsageError):
        verify(roots=frozenset())


def test_the_time_has_a_time_zone() -> None:
    with pytest.raises(UsageError):
        verify(now=datetime(2026, 12, 1))  # noqa: DTZ001 - that is the point


def test_c1_an_attestation_key_is_no_ca() -> None:
    # A restricted key can sign a TBSCertificate; its own certificate does not make it an issuer.
    middle = TOP.issue(replace(INTERMEDIATE, path_length=None))
    genuine = middle.certify(KEY.public_key())
    ak = Issuer(certificate=x509.load_der_x509_certificate(genuine), key=KEY)
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    forged = ak.certify(other.public_key())
    refused(Code.AK_ISSUER_NOT_CA, forged, [genuine, middle.der, TOP.der])


@pytest.mark.parametrize(
    "profile",
    [
        replace(INTERMEDIATE, ca=None),
        replace(INTERMEDIATE, ca=False, path_length=None),
        replace(INTERMEDIATE, cert_sign=False, digital_signature=True),
        replace(INTERMEDIATE, key_usage=False),
    ],
    ids=["no basicConstraints", "no CA", "no keyCertSign", "no keyUsage"],
)
def test_c1_every_issuer_is_a_ca(profile: object) -> None:
    middle = TOP.issue(profile)  # type: ignore[arg-type]
    refused(Code.AK_ISSUER_NOT_CA, middle.certify(KEY.public_key()), [middle.der, TOP.der])


def test_c1_path_length() -> None:
    lower = MIDDLE.issue()
    leaf = lower.certify(KEY.public_key())
    refused(Code.AK_CHAIN_LENGTH, leaf, [lower.der, MIDDLE.der, TOP.der])


def test_c1_a_ca_is_no_attestation_key() -> None:
    refused(Code.AK_IS_CA, MIDDLE.der, [TOP.der])


@pytest.mark.parametrize(
    "profile",
    [
        replace(LEAF, purposes=()),
        replace(LEAF, purposes=(ExtendedKeyUsageOID.SERVER_AUTH,)),
        replace(LEAF, purposes=(ObjectIdentifier("2.23.133.8.1"),)),
        replace(LEAF, purposes=(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)),
        replace(LEAF, digital_signature=False),
        replace(LEAF, cert_sign=True),
        replace(LEAF, key_usage=False),
    ],
    ids=["no EKU", "server", "EK", "any", "no signature", "keyCertSign", "no keyUsage"],
)
def test_c1_the_leaf_is_for_attestation(profile: object) -> None:
    leaf = MIDDLE.certify(KEY.public_key(), profile)  # type: ignore[arg-type]
    refused(Code.AK_USAGE, leaf)


def test_a_leaf_with_more_purposes_is_accepted() -> None:
    more = (ObjectIdentifier("1.3.6.1.4.1.311.10.3.12"), AIK)
    leaf = MIDDLE.certify(KEY.public_key(), replace(LEAF, purposes=more))
    assert verify(leaf).public_key == KEY.public_key()


def test_a_leaf_that_says_it_is_no_ca_is_accepted() -> None:
    leaf = MIDDLE.certify(KEY.public_key(), replace(LEAF, ca=False))
    assert verify(leaf).public_key == KEY.public_key()


def test_c2_self_signed_leaf() -> None:
    own = new_root(replace(LEAF, common_name="self"))
    refused(Code.AK_CHAIN_LENGTH, own.der, [])
    refused(Code.AK_UNKNOWN_ROOT, own.der, [own.der])
    roots = frozenset({own.fingerprint})
    refused(Code.AK_ISSUER_NOT_CA, own.der, [own.der], roots=roots)


@pytest.mark.parametrize("which", ["leaf", "intermediate", "root"])
@pytest.mark.parametrize(
    ("times", "code"),
    [
        ({"end": NOW - DAY}, Code.AK_EXPIRED),
        ({"begin": NOW + DAY}, Code.AK_NOT_YET_VALID),
    ],
    ids=["expired", "not yet"],
)
def test_c2_validity_of_each(which: str, times: dict[str, datetime], code: Code) -> None:
    top = new_root(replace(ROOT, **times)) if which == "root" else TOP  # type: ignore[arg-type]
    changed = replace(INTERMEDIATE, **times) if which == "intermediate" else INTERMEDIATE  # type: ignore[arg-type]
    middle = top.issue(changed)
    profile = replace(LEAF, **times) if which == "leaf" else LEAF  # type: ignore[arg-type]
    leaf = middle.certify(KEY.public_key(), profile)
    refused(code, leaf, [middle.der, top.der], roots=frozenset({top.fingerprint}))


@pytest.mark.parametrize("now", [FROM, UNTIL])
def test_validity_includes_its_ends(now: datetime) -> None:
    assert verify(now=now).public_key == KEY.public_key()


def test_c2_wrong_root() -> None:
    refused(Code.AK_UNKNOWN_ROOT, roots=frozenset({MIDDLE.fingerprint}))


def test_c2_a_root_of_the_same_name_with_another_key() -> None:
    impostor = new_root()
    middle = impostor.issue()
    leaf = middle.certify(KEY.public_key())
    refused(Code.AK_UNKNOWN_ROOT, leaf, [middle.der, impostor.der])
    refused(Code.AK_CHAIN, leaf, [middle.der, TOP.der])


def test_c2_order_and_completeness() -> None:
    refused(Code.AK_UNKNOWN_ROOT, GENUINE, [TOP.der, MIDDLE.der])
    refused(Code.AK_CHAIN, GENUINE, [TOP.der])
    refused(Code.AK_UNKNOWN_ROOT, GENUINE, [MIDDLE.der])
    refused(Code.AK_CHAIN_LENGTH, GENUINE, [])
    refused(Code.AK_CHAIN_LENGTH, GENUINE, [MIDDLE.der] * 4 + [TOP.der])


def test_c3_a_simulation_root_is_never_a_production_root() -> None:
    refused(Code.AK_SIMULATION_ROOT, platform=AZURE_TRUSTED_LAUNCH)


def test_c3_a_production_root_is_never_a_simulation_root() -> None:
    top = new_root(replace(ROOT, organisation="Microsoft Corporation"))
    middle = top.issue()
    leaf = middle.certify(KEY.public_key())
    refused(
        Code.AK_SIMULATION_ROOT, leaf, [middle.der, top.der], roots=frozenset({top.fingerprint})
    )


def test_c3_a_platform_with_its_own_roots_takes_no_other() -> None:
    top = new_root(replace(ROOT, organisation="Somebody"))
    middle = top.issue()
    leaf = middle.certify(KEY.public_key())
    refused(
        Code.AK_UNKNOWN_ROOT,
        leaf,
        [middle.der, top.der],
        platform=AZURE_TRUSTED_LAUNCH,
        roots=frozenset({top.fingerprint}),
    )


@pytest.mark.parametrize("padding", [b"\0", bytes(4096 - len(GENUINE)), b"\xff", GENUINE])
def test_c4_nothing_follows_the_certificate(padding: bytes) -> None:
    refused(Code.AK_MALFORMED, GENUINE + padding)


@pytest.mark.parametrize("der", [b"", b"\x30", bytes(64), GENUINE[:-1], b"\x30\x80\0\0"])
def test_c4_not_a_certificate(der: bytes) -> None:
    refused(Code.AK_MALFORMED, der)
    refused(Code.AK_MALFORMED, GENUINE, [MIDDLE.der, der])


def test_c4_a_version_of_x509_that_does_not_exist() -> None:
    version = bytes.fromhex("a003020102")
    for der in (GENUINE, MIDDLE.der):
        assert version in der
    refused(Code.AK_MALFORMED, GENUINE.replace(version, version[:-1] + b"\5", 1))
    middle = MIDDLE.der.replace(version, version[:-1] + b"\5", 1)
    refused(Code.AK_MALFORMED, GENUINE, [middle, TOP.der])


def test_unknown_critical_extensions() -> None:
    unknown = (x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\0"), True)
    leaf = MIDDLE.certify(KEY.public_key(), replace(LEAF, extra=(unknown,)))
    refused(Code.AK_CHAIN, leaf)
    middle = TOP.issue(replace(INTERMEDIATE, extra=(unknown,)))
    refused(Code.AK_CHAIN, middle.certify(KEY.public_key()), [middle.der, TOP.der])


def test_an_extension_that_cannot_be_read() -> None:
    broken = (x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"\xff"), False)
    leaf = MIDDLE.certify(KEY.public_key(), replace(LEAF, extra=(broken,)))
    refused(Code.AK_MALFORMED, leaf)


def test_the_key_is_strong_and_of_a_known_kind() -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505
    refused(Code.AK_KEY, MIDDLE.certify(weak.public_key()))
    other = ed25519.Ed25519PrivateKey.generate().public_key()
    refused(Code.AK_KEY, MIDDLE.certify(other))  # type: ignore[arg-type]


def test_an_elliptic_key_is_accepted() -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    assert verify(MIDDLE.certify(key)).public_key == key


def test_an_issuer_whose_key_makes_no_certificates_of_this_kind() -> None:
    stranger = Issuer(certificate=MIDDLE.certificate, key=new_key())
    refused(Code.AK_CHAIN, stranger.certify(KEY.public_key()))


def test_a_weak_issuer_is_refused_by_the_path_validation() -> None:
    # None of our own rules is about the issuers' key sizes: the library's verdict counts too.
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505
    der = TOP.certify(weak.public_key(), INTERMEDIATE)
    middle = Issuer(certificate=x509.load_der_x509_certificate(der), key=weak)
    error = refused(Code.AK_CHAIN, middle.certify(KEY.public_key()), [der, TOP.der])
    assert "path validation" in str(error)


def test_c4_the_signatures_unused_bits_are_none() -> None:
    """They stand outside of what is signed, and the library takes any number of them."""
    leaf = MIDDLE.certify(KEY.public_key())
    while x509.load_der_x509_certificate(leaf).signature[-1] & 1:
        leaf = MIDDLE.certify(KEY.public_key())
    verify(leaf)
    signature = x509.load_der_x509_certificate(leaf).signature
    place = len(leaf) - len(signature) - 1
    assert leaf[place] == 0
    changed = leaf[:place] + b"\1" + leaf[place + 1 :]
    assert x509.load_der_x509_certificate(changed).signature == signature
    refused(Code.AK_MALFORMED, changed)


@pytest.mark.parametrize("curve", [ec.SECP521R1(), ec.SECP256K1()], ids=lambda curve: curve.name)
def test_other_curves_are_refused(curve: ec.EllipticCurve) -> None:
    refused(Code.AK_KEY, MIDDLE.certify(ec.generate_private_key(curve).public_key()))
