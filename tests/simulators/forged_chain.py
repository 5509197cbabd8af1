"""Certificate chains for one attestation key, each with ONE thing wrong (rows C1, C2 and Q4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from blindllama.errors import Code
from tests.simulators.ak_authority import (
    FROM,
    INTERMEDIATE,
    LEAF,
    NOW,
    ROOT,
    UNTIL,
    Issuer,
    Profile,
    PublicKey,
    new_key,
    new_root,
)

ForgedChain = tuple[str, str, Code, list[bytes]]
UNKNOWN = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00")
NAMES = x509.NameConstraints(permitted_subtrees=[x509.DNSName("example")], excluded_subtrees=None)


def deep_chain(root: Issuer, key: PublicKey, *, intermediates: int) -> list[bytes]:
    """Leaf, that many intermediates, root; every path length is just enough."""
    issuers = [root]
    for below in range(intermediates - 1, -1, -1):
        profile = replace(INTERMEDIATE, common_name=f"level {below}", path_length=below)
        issuers.insert(0, issuers[0].issue(profile))
    return [issuers[0].certify(key), *(issuer.der for issuer in issuers)]


def forged_chains(root: Issuer, key: PublicKey) -> Iterator[ForgedChain]:
    """Name, row of ATTACKS, code, and the chain (leaf first, root last) for that key."""
    yield from _wrong_leaves(root, key)
    yield from _wrong_issuers(root, key)
    yield from _wrong_keys(root)
    stranger = new_root()
    yield (
        "another-root",
        "C2",
        Code.AK_UNKNOWN_ROOT,
        [stranger.certify(key), stranger.der],
    )
    yield (
        "a-root-that-only-has-the-name",
        "C2",
        Code.AK_CHAIN,
        [stranger.certify(key), root.der],
    )
    production = new_root(replace(ROOT, organisation="A maker of machines"))
    yield (
        "a-production-root-on-the-simulation",
        "C3",
        Code.AK_SIMULATION_ROOT,
        [production.certify(key), production.der],
    )
    yield (
        "four-intermediates",
        "C2",
        Code.AK_CHAIN_LENGTH,
        deep_chain(root, key, intermediates=4),
    )


def _wrong_leaves(root: Issuer, key: PublicKey) -> Iterator[ForgedChain]:
    middle = root.issue()

    def under(profile: Profile) -> list[bytes]:
        return [middle.certify(key, profile), middle.der, root.der]

    for name, code, profile in (
        ("leaf-is-a-ca", Code.AK_IS_CA, replace(LEAF, ca=True)),
        ("leaf-without-aik-purpose", Code.AK_USAGE, replace(LEAF, purposes=())),
        (
            "leaf-for-a-web-server",
            Code.AK_USAGE,
            replace(LEAF, purposes=(ExtendedKeyUsageOID.SERVER_AUTH,)),
        ),
        (
            "leaf-for-any-purpose",
            Code.AK_USAGE,
            replace(LEAF, purposes=(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)),
        ),
        ("leaf-without-key-usage", Code.AK_USAGE, replace(LEAF, key_usage=False)),
        ("leaf-does-not-sign", Code.AK_USAGE, replace(LEAF, digital_signature=False)),
        ("leaf-signs-certificates", Code.AK_USAGE, replace(LEAF, cert_sign=True)),
        ("leaf-with-unknown-demand", Code.AK_CHAIN, replace(LEAF, extra=((UNKNOWN, True),))),
    ):
        yield name, "C1", code, under(profile)
    for name, code, profile in (
        ("leaf-expired", Code.AK_EXPIRED, replace(LEAF, end=NOW - timedelta(seconds=1))),
        ("leaf-of-tomorrow", Code.AK_NOT_YET_VALID, replace(LEAF, begin=NOW + timedelta(days=1))),
    ):
        yield name, "C2", code, under(profile)


def _wrong_issuers(root: Issuer, key: PublicKey) -> Iterator[ForgedChain]:
    # C1: an attestation key is restricted, and yet signs what looks like a certificate.
    attested = new_key()
    middle = root.issue(replace(INTERMEDIATE, path_length=1))
    ak = Issuer(
        certificate=x509.load_der_x509_certificate(middle.certify(attested.public_key())),
        key=attested,
    )
    chain = [ak.certify(key), ak.der, middle.der, root.der]
    yield "issued-by-an-attestation-key", "C1", Code.AK_ISSUER_NOT_CA, chain
    long = replace(INTERMEDIATE, end=NOW - timedelta(days=1), begin=FROM)
    for name, attack, code, profile in (
        (
            "issuer-is-no-ca",
            "C1",
            Code.AK_ISSUER_NOT_CA,
            replace(INTERMEDIATE, ca=False, path_length=None),
        ),
        ("issuer-without-constraints", "C1", Code.AK_ISSUER_NOT_CA, replace(INTERMEDIATE, ca=None)),
        (
            "issuer-may-not-sign",
            "C1",
            Code.AK_ISSUER_NOT_CA,
            replace(INTERMEDIATE, cert_sign=False, digital_signature=True),
        ),
        (
            "issuer-without-key-usage",
            "C1",
            Code.AK_ISSUER_NOT_CA,
            replace(INTERMEDIATE, key_usage=False),
        ),
        (
            "issuer-limited-to-names",
            "C1",
            Code.AK_CHAIN,
            replace(INTERMEDIATE, extra=((NAMES, True),)),
        ),
        ("issuer-expired", "C2", Code.AK_EXPIRED, long),
        (
            "issuer-of-tomorrow",
            "C2",
            Code.AK_NOT_YET_VALID,
            replace(INTERMEDIATE, begin=NOW + timedelta(days=1), end=UNTIL),
        ),
    ):
        issuer = root.issue(profile)
        yield name, attack, code, [issuer.certify(key), issuer.der, root.der]
    itself = new_root(replace(LEAF, common_name="signs itself"))
    yield "signs-itself", "C2", Code.AK_CHAIN, [itself.der, root.der]


def _wrong_keys(root: Issuer) -> Iterator[ForgedChain]:
    middle = root.issue()
    keys: tuple[tuple[str, object], ...] = (
        ("rsa-1024", rsa.generate_private_key(65537, 1024).public_key()),  # noqa: S505 - to be refused
        ("rsa-2047", rsa.generate_private_key(65537, 2047).public_key()),  # noqa: S505 - to be refused
        ("p-521", ec.generate_private_key(ec.SECP521R1()).public_key()),
        ("p-256k1", ec.generate_private_key(ec.SECP256K1()).public_key()),
        ("ed25519", ed25519.Ed25519PrivateKey.generate().public_key()),
    )
    for name, key in keys:
        leaf = middle.certify(key)  # type: ignore[arg-type] # kinds that an honest CA refuses
        yield f"key-{name}", "Q4", Code.AK_KEY, [leaf, middle.der, root.der]
    other = rsa.generate_private_key(65537, 2048).public_key()
    chain = [middle.certify(other), middle.der, root.der]
    yield "of-another-key", "Q4", Code.QUOTE_SIGNATURE, chain
