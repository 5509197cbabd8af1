"""S5: whose a layout is. Keys of every scheme, a Sigstore identity, and several owners at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from pydantic import TypeAdapter
from securesystemslib.signer import CryptoSigner, SSlibKey  # type: ignore[attr-defined]

from blindllama._release.bundle import BundleVerifier
from blindllama._release.layout import VerifiedLayout, verify_layout
from blindllama._release.trust import trust_root
from blindllama.errors import Code, VerificationError
from blindllama.policy import GITHUB_ISSUER, Owner, OwnerIdentity, SigstorePolicy
from supply_chain.attest.functionary import Functionary
from supply_chain.attest.layout import build_layout
from supply_chain.attest.owner import IdentityOwner, KeyOwner
from supply_chain.attest.owner import Owner as SigningOwner
from supply_chain.attest.signing import signer
from supply_chain.attest.trust import PublicSigstore
from supply_chain.local_sigstore import running
from tests.simulators.github_runner import RUN, github_job
from tests.simulators.signed_release import STEPS

NOW = datetime.now(UTC)
BOARD = "https://blindllama.dev/owners/board"
POLICY_OWNER: TypeAdapter[Owner | OwnerIdentity] = TypeAdapter(Owner | OwnerIdentity)


KEYS: dict[str, Callable[[], CertificateIssuerPrivateKeyTypes]] = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ecdsa-sha2-nistp256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "rsassa-pss-sha256": lambda: rsa.generate_private_key(65537, 2048),
}


def key_owner(scheme: str) -> KeyOwner:
    key = KEYS[scheme]()
    return KeyOwner(CryptoSigner(key, SSlibKey.from_crypto(key.public_key(), scheme=scheme)))


class Desk:
    """A Sigstore, a builder, and an owner whom the Sigstore knows."""

    def __init__(self, state: Path) -> None:
        self.state = state
        with signer(state) as builder:
            self.builder = Functionary(
                identity=builder.authority.identity, issuer=builder.authority.issuer
            )
            root = builder.authority.trusted_root_json
        self.bundles = BundleVerifier(
            trust=trust_root(root), require=SigstorePolicy(trusted_root=root)
        )

    def layout(self, *owners: SigningOwner) -> dict[str, Any]:
        made = build_layout(STEPS, [self.builder], owners, expires=NOW + timedelta(days=1))
        document: dict[str, Any] = json.loads(made.envelope)
        return document

    def by_identity(self, identity: str = BOARD) -> tuple[dict[str, Any], dict[str, Any]]:
        """A layout that an identity owns, and the owner's entry in the policy."""
        with signer(self.state, identity=identity) as found:
            person = Functionary(identity=identity, issuer=found.authority.issuer)
            owner = IdentityOwner(person, found)
            return self.layout(owner), owner.entry

    def verify(self, document: Any, *entries: dict[str, Any]) -> VerifiedLayout:  # noqa: ANN401 - JSON
        owners = [POLICY_OWNER.validate_python(entry) for entry in entries]
        return verify_layout(document, owners=owners, bundles=self.bundles, now=NOW)

    def refusal(self, document: Any, *entries: dict[str, Any]) -> Code:  # noqa: ANN401 - JSON
        with pytest.raises(VerificationError) as caught:
            self.verify(document, *entries)
        return caught.value.code


@pytest.fixture(scope="module")
def desk(state: Path) -> Desk:
    return Desk(state)


@pytest.mark.parametrize("scheme", KEYS)
def test_a_key_owns_a_layout(desk: Desk, scheme: str) -> None:
    owner = key_owner(scheme)
    assert owner.entry["scheme"] == scheme
    document = desk.layout(owner)
    assert len(desk.verify(document, owner.entry).steps) == 4
    another = key_owner(scheme).entry | {"keyid": owner.keyid}
    assert desk.refusal(document, another) is Code.LAYOUT_SIGNATURE
    assert desk.refusal(document, key_owner(scheme).entry) is Code.LAYOUT_UNKNOWN_OWNER


def test_an_identity_owns_a_layout(desk: Desk) -> None:
    document, entry = desk.by_identity()
    assert entry == {"identity": BOARD, "issuer": desk.builder.issuer}
    assert len(desk.verify(document, entry).steps) == 4


def test_another_identity_does_not(desk: Desk) -> None:
    document, entry = desk.by_identity()
    for change in ({"identity": BOARD + "x"}, {"issuer": "https://issuer.example"}):
        assert desk.refusal(document, entry | change) is Code.LAYOUT_UNKNOWN_OWNER


def test_an_identity_that_signs_under_the_name_of_another(desk: Desk) -> None:
    with signer(desk.state, identity="https://blindllama.dev/owners/impostor") as found:
        owner = IdentityOwner(Functionary(identity=BOARD, issuer=desk.builder.issuer), found)
        document = desk.layout(owner)
    assert desk.refusal(document, owner.entry) is Code.BUNDLE_IDENTITY


def test_the_signature_of_another_layout(desk: Desk) -> None:
    """What the bundle signs is this layout, and not one that the owner signed before."""
    document, entry = desk.by_identity()
    key = key_owner("ed25519")
    other = build_layout(STEPS, [desk.builder], [key], expires=NOW + timedelta(days=2))
    swapped = json.loads(other.envelope) | {"signatures": document["signatures"]}
    assert desk.refusal(swapped, entry) is Code.BUNDLE_SIGNATURE


def test_an_identity_without_its_bundle(desk: Desk) -> None:
    document, entry = desk.by_identity()
    document["signatures"][0].pop("bundle")
    assert desk.refusal(document, entry) is Code.BUNDLE_MALFORMED


def test_every_owner_must_have_signed(desk: Desk) -> None:
    owners = [key_owner(scheme) for scheme in KEYS]
    entries = [owner.entry for owner in owners]
    document = desk.layout(*owners)
    desk.verify(document, *entries)
    assert desk.refusal(desk.layout(*owners[:2]), *entries) is Code.LAYOUT_OWNER_MISSING
    assert desk.refusal(document, *entries[:2]) is Code.LAYOUT_UNKNOWN_OWNER
    document["signatures"][2]["sig"] = document["signatures"][0]["sig"]
    assert desk.refusal(document, *entries) is Code.LAYOUT_SIGNATURE


@pytest.fixture(scope="module")
def of_github(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Desk, dict[str, Any], dict[str, Any]]]:
    """A layout that a workflow on GitHub owns; the issuer is a rehearsal, its certificates not."""
    state = tmp_path_factory.mktemp("github")
    with (
        running(state) as instance,
        github_job(instance) as job,
        pytest.MonkeyPatch.context() as env,
    ):
        config = state / "config.json"
        config.write_text(instance.trust_config_json)
        for name, value in job.items():
            env.setenv(name, value)
        with signer(state, public=PublicSigstore(trust_config=config)) as found:
            authority = found.authority
            person = Functionary(
                identity=authority.identity, issuer=authority.issuer, github=authority.github
            )
            owner = IdentityOwner(person, found)
            desk = Desk(state)
            yield desk, desk.layout(owner), owner.entry


def test_s3_a_workflow_owns_a_layout_for_one_source(
    of_github: tuple[Desk, dict[str, Any], dict[str, Any]],
) -> None:
    desk, document, entry = of_github
    assert entry["issuer"] == GITHUB_ISSUER
    assert entry["identity"] == f"https://github.com/{RUN.builder}"
    desk.verify(document, entry)
    # The signature names the owner with its source: another source is another owner.
    other = entry | {"github": entry["github"] | {"ref": "refs/heads/main"}}
    assert desk.refusal(document, other) is Code.LAYOUT_UNKNOWN_OWNER
    renamed = json.loads(json.dumps(document))
    renamed["signatures"][0]["keyid"] = desk_keyid(other)
    assert desk.refusal(renamed, other) is Code.BUNDLE_SOURCE


def desk_keyid(entry: dict[str, Any]) -> str:
    return Functionary(
        identity=entry["identity"],
        issuer=entry["issuer"],
        github=POLICY_OWNER.validate_python(entry).github,  # type: ignore[union-attr]  # an identity
    ).keyid
