"""Layout and links in the hands of stock in-toto, with functionaries pinned to our trust root."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from in_toto.exceptions import (
    LayoutExpiredError,
    LinkNotFoundError,
    RuleVerificationError,
    SignatureVerificationError,
    ThresholdVerificationError,
)
from in_toto.models.metadata import Metadata
from in_toto.verifylib import in_toto_verify
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import KEY_FOR_TYPE_AND_SCHEME, Key, SSlibKey  # type: ignore[attr-defined]
from sigstore.errors import VerificationError
from sigstore.models import Bundle
from sigstore.verify import Verifier, policy

from supply_chain.attest.functionary import Functionary
from supply_chain.attest.layout import (
    LayoutStep,
    build_layout,
    layout_demands,
    link_file_name,
    record_link,
)
from supply_chain.attest.owner import KeyOwner, owner_key
from supply_chain.attest.signing import Signer, signer
from supply_chain.attest.trust import SigningError
from supply_chain.digest import Sha256, sha256_bytes
from tests.simulators.sigstore_client import verifier_of

if TYPE_CHECKING:
    from securesystemslib.signer import Signature  # type: ignore[attr-defined]

TOMORROW = datetime.now(UTC) + timedelta(days=1)
STEPS = (
    LayoutStep(name="engine", materials_from=(), products=("engine/model", "engine/manifest")),
    LayoutStep(name="disk", materials_from=("engine",), products=("disk/image",)),
)
INPUT = {"inputs/weights": sha256_bytes(b"weights")}
ENGINE = {name: sha256_bytes(name.encode()) for name in STEPS[0].products}
DISK = {"disk/image": sha256_bytes(b"image")}


class PinnedKey(Key):
    """A functionary's key whose signatures verify with one given trust root."""

    verifier: ClassVar[Verifier]

    @classmethod
    def from_dict(cls, keyid: str, key_dict: dict[str, Any]) -> PinnedKey:
        return cls(keyid, *cls._from_dict(key_dict), key_dict)

    def to_dict(self) -> dict[str, Any]:
        return self._to_dict()

    def verify_signature(self, signature: Signature, data: bytes) -> None:
        wanted = policy.Identity(identity=self.keyval["identity"], issuer=self.keyval["issuer"])
        bundle = Bundle.from_json(json.dumps(signature.unrecognized_fields["bundle"]))
        assert bundle.signature.hex() == signature.signature
        try:
            self.verifier.verify_artifact(data, bundle, wanted)
        except VerificationError as exc:
            raise UnverifiedSignatureError(str(exc)) from exc


@pytest.fixture(autouse=True)
def pinned(signing: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    PinnedKey.verifier = verifier_of(signing.authority.trusted_root_json)
    monkeypatch.setitem(KEY_FOR_TYPE_AND_SCHEME, ("sigstore-oidc", "Fulcio"), PinnedKey)


@pytest.fixture
def owner(attest_state: Path) -> KeyOwner:
    return owner_key(attest_state)


class Desk:
    """A folder with a layout and its links, for in-toto to verify."""

    def __init__(
        self, folder: Path, owner: KeyOwner, functionary: Functionary, signing: Signer
    ) -> None:
        self.folder, self.owner = folder, owner
        self.functionary, self.signing = functionary, signing

    def layout(self, *, expires: datetime = TOMORROW, threshold: int = 1) -> None:
        functionaries = [self.functionary, other(self.functionary)]
        steps = [
            LayoutStep(
                name=step.name,
                materials_from=step.materials_from,
                products=step.products,
                threshold=threshold,
            )
            for step in STEPS
        ]
        layout = build_layout(steps, functionaries, [self.owner], expires=expires)
        (self.folder / "root.layout").write_bytes(layout.envelope)

    def link(
        self,
        step: str,
        materials: dict[str, Sha256],
        products: dict[str, Sha256],
        *,
        functionary: Functionary | None = None,
        signing: Signer | None = None,
    ) -> None:
        functionary = functionary or self.functionary
        link = record_link(
            step,
            materials=materials,
            products=products,
            byproducts={},
            functionary=functionary,
            signer=signing or self.signing,
        )
        (self.folder / link_file_name(step, functionary)).write_bytes(link.envelope)

    def links(self) -> None:
        self.link("engine", INPUT, ENGINE)
        self.link("disk", INPUT | ENGINE, DISK)

    def verify(self, owner: KeyOwner | None = None) -> None:
        found = owner or self.owner
        public = {"public": found.entry["public"]}
        key = SSlibKey(found.keyid, "ed25519", "ed25519", public).to_dict()
        key |= {"keyid": found.keyid}
        in_toto_verify(
            Metadata.load(str(self.folder / "root.layout")),
            {found.keyid: key},
            link_dir_path=str(self.folder),
            persist_inspection_links=False,
        )


def other(functionary: Functionary) -> Functionary:
    return Functionary(identity="https://blindllama.dev/rebuilder", issuer=functionary.issuer)


@pytest.fixture
def desk(tmp_path: Path, owner: KeyOwner, functionary: Functionary, signing: Signer) -> Desk:
    return Desk(tmp_path, owner, functionary, signing)


def test_stock_in_toto_accepts_an_honest_chain(desk: Desk) -> None:
    desk.layout()
    desk.links()
    desk.verify()


def test_the_documents_are_classic_in_toto(desk: Desk, functionary: Functionary) -> None:
    desk.layout()
    desk.links()
    layout = Metadata.load(str(desk.folder / "root.layout")).get_payload()
    link = Metadata.load(str(desk.folder / link_file_name("disk", functionary))).get_payload()
    assert layout.get_step_name_list() == ["engine", "disk"]
    assert layout.inspect == []
    assert link.materials.keys() == {"inputs/weights", "engine/model", "engine/manifest"}
    assert link.products == {"disk/image": {"sha256": DISK["disk/image"].hex}}


def test_the_keyid_is_what_securesystemslib_computes(functionary: Functionary) -> None:
    from securesystemslib.signer._utils import compute_default_keyid  # noqa: PLC0415

    key = functionary.key
    expected = compute_default_keyid(key["keytype"], key["scheme"], key["keyval"])
    assert functionary.keyid == expected


SMUGGLED = {"disk/extra": sha256_bytes(b"extra")}
FORGED = ENGINE | {"engine/model": sha256_bytes(b"another model")}


@pytest.mark.parametrize(
    ("materials", "products"),
    [
        (INPUT | FORGED, DISK),
        (INPUT | {"engine/model": ENGINE["engine/model"]}, DISK),
        (INPUT, DISK),
        (INPUT | ENGINE | {"elsewhere/tool": sha256_bytes(b"tool")}, DISK),
        (INPUT | ENGINE, DISK | SMUGGLED),
        (INPUT | ENGINE, SMUGGLED),
        (INPUT | ENGINE, {}),
    ],
    ids=[
        "material is no product of the earlier step",
        "one product of the earlier step is missing",
        "all products of the earlier step are missing",
        "material that no rule covers",
        "product that no rule covers",
        "another product",
        "no product",
    ],
)
def test_a_link_that_breaks_a_rule_is_refused(
    desk: Desk, materials: dict[str, Sha256], products: dict[str, Sha256]
) -> None:
    desk.layout()
    desk.link("engine", INPUT, ENGINE)
    desk.link("disk", materials, products)
    with pytest.raises(RuleVerificationError):
        desk.verify()


def test_a_link_by_another_identity_is_refused(desk: Desk, attest_state: Path) -> None:
    desk.layout()
    desk.link("engine", INPUT, ENGINE)
    with signer(attest_state, identity="https://someone.else/x") as stranger:
        desk.link("disk", INPUT | ENGINE, DISK, signing=stranger)
    with pytest.raises(ThresholdVerificationError):
        desk.verify()


def test_a_link_of_another_instance_is_refused(desk: Desk, tmp_path: Path) -> None:
    desk.layout()
    desk.link("engine", INPUT, ENGINE)
    with signer(tmp_path / "elsewhere") as stranger:
        desk.link("disk", INPUT | ENGINE, DISK, signing=stranger)
    with pytest.raises(ThresholdVerificationError):
        desk.verify()


def test_a_missing_link_is_refused(desk: Desk) -> None:
    desk.layout()
    desk.link("engine", INPUT, ENGINE)
    with pytest.raises(LinkNotFoundError):
        desk.verify()


def test_two_builders_must_agree(desk: Desk, attest_state: Path) -> None:
    desk.layout(threshold=2)
    desk.links()
    second = other(desk.functionary)
    with signer(attest_state, identity=second.identity) as rebuilder:
        desk.link("engine", INPUT, ENGINE, functionary=second, signing=rebuilder)
        desk.link("disk", INPUT | ENGINE, DISK, functionary=second, signing=rebuilder)
        desk.verify()
        desk.link("engine", INPUT, FORGED, functionary=second, signing=rebuilder)
        with pytest.raises(ThresholdVerificationError):
            desk.verify()


def test_an_expired_layout_is_refused(desk: Desk) -> None:
    desk.layout(expires=datetime.now(UTC) - timedelta(seconds=1))
    desk.links()
    with pytest.raises(LayoutExpiredError):
        desk.verify()


def test_a_layout_of_another_owner_is_refused(desk: Desk, tmp_path: Path) -> None:
    desk.layout()
    desk.links()
    with pytest.raises(SignatureVerificationError):
        desk.verify(owner_key(tmp_path / "other"))


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ((), "expected at least one step"),
        ((LayoutStep(name="a", materials_from=(), products=()),), "expected a new name, products"),
        ((LayoutStep(name="a", materials_from=("b",), products=("a/x",)),), "from earlier steps"),
        ((STEPS[0], STEPS[0]), "expected a new name"),
        (
            (LayoutStep(name="a", materials_from=(), products=("a/x",), threshold=0),),
            "expected a threshold from 1 to 1, got 0",
        ),
        (
            (LayoutStep(name="a", materials_from=(), products=("a/x",), threshold=2),),
            "expected a threshold from 1 to 1, got 2",
        ),
    ],
)
def test_a_layout_that_makes_no_sense_is_refused(
    owner: KeyOwner, functionary: Functionary, steps: tuple[LayoutStep, ...], reason: str
) -> None:
    with pytest.raises(SigningError, match=reason) as raised:
        build_layout(steps, [functionary], [owner], expires=TOMORROW)
    assert raised.value.code == "build.signing"


def test_a_layout_without_people_is_refused(owner: KeyOwner, functionary: Functionary) -> None:
    for functionaries, owners in (([], [owner]), ([functionary], [])):
        with pytest.raises(SigningError, match="one functionary and one owner"):
            build_layout(STEPS, functionaries, owners, expires=TOMORROW)


def test_a_functionary_is_named_once(owner: KeyOwner, functionary: Functionary) -> None:
    with pytest.raises(SigningError, match="is the builder a rebuilder"):
        build_layout(STEPS, [functionary, functionary], [owner], expires=TOMORROW)


def test_an_owner_signs_once(owner: KeyOwner, functionary: Functionary) -> None:
    with pytest.raises(SigningError, match="expected one signature by"):
        build_layout(STEPS, [functionary], [owner, owner], expires=TOMORROW)


def test_what_a_layout_demands(owner: KeyOwner, functionary: Functionary) -> None:
    people = [functionary, other(functionary)]
    steps = [STEPS[0], replace(STEPS[1], threshold=2)]
    envelope = build_layout(steps, people, [owner], expires=TOMORROW).envelope
    assert layout_demands(envelope, people, {"disk": 2})
    assert not layout_demands(envelope, people, {"disk": 1})
    assert not layout_demands(envelope, people, {"engine": 2, "disk": 2})
    assert not layout_demands(envelope, people[:1], {"disk": 2})
