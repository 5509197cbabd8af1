"""S5 in detail: layouts that their owner really signed, links that real identities signed."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue
from securesystemslib.dsse import Envelope

from blindllama._release.bundle import BundleVerifier
from blindllama._release.layout import VerifiedLayout, verify_layout
from blindllama._release.link import VerifiedStep, verify_links
from blindllama._release.trust import trust_root
from blindllama.errors import Code, ProvenanceError
from blindllama.policy import GITHUB_ISSUER
from supply_chain.attest.functionary import Functionary
from supply_chain.attest.layout import record_link
from supply_chain.attest.owner import owner_key
from supply_chain.attest.signing import signer
from supply_chain.digest import Sha256, sha256_bytes
from tests.simulators.signed_release import SignedRelease

REBUILDER = "https://blindllama.dev/builders/rebuilder"
EVIL = sha256_bytes(b"evil")
NOTHING: Mapping[str, Sha256] = {}

Json = dict[str, Any]


def payload(envelope: Json) -> Json:
    document: Json = json.loads(base64.b64decode(envelope["payload"]))
    return document


def signed_layout(
    honest: SignedRelease,
    state: Path,
    change: Callable[[Json], object],
    *,
    raw: bytes | None = None,
) -> JsonValue:
    """The honest layout with a change, signed by its owner after it."""
    document = payload(json.loads(honest.evidence)["layout"])
    change(document)
    data = json.dumps(document).encode() if raw is None else raw
    envelope = Envelope(data, "application/vnd.in-toto+json", {})
    signature = owner_key(state).sign(envelope.pae())
    envelope.signatures[signature.keyid] = signature
    signed: JsonValue = envelope.to_dict()
    return signed


def layout_of(honest: SignedRelease, document: JsonValue) -> VerifiedLayout:
    return verify_layout(
        document, owners=honest.policy.layout.owners, bundles=bundles_of(honest), now=honest.now
    )


def bundles_of(honest: SignedRelease) -> BundleVerifier:
    sigstore = honest.policy.sigstore
    return BundleVerifier(trust=trust_root(sigstore.trusted_root), require=sigstore)


def without_last(kind: str) -> Callable[[Json], object]:
    return lambda layout: layout["steps"][0][kind].pop()


SPOILED: dict[str, tuple[Code, Callable[[Json], object]]] = {
    "materials that no rule covers": (Code.LAYOUT_OPEN_RULES, without_last("expected_materials")),
    "products that no rule covers": (Code.LAYOUT_OPEN_RULES, without_last("expected_products")),
    "no rules at all": (
        Code.LAYOUT_MALFORMED,
        lambda layout: layout["steps"][0].update(expected_products=[]),
    ),
    "an inspection": (
        Code.LAYOUT_INSPECTION,
        lambda layout: layout["inspect"].append({"_type": "inspection", "run": ["sh"]}),
    ),
    "a functionary without a key": (
        Code.LAYOUT_FUNCTIONARY,
        lambda layout: layout["steps"][0].update(pubkeys=["00" * 32]),
    ),
    "a threshold that one identity with two keys would reach": (
        Code.LAYOUT_FUNCTIONARY,
        lambda layout: (
            layout["keys"].update(
                {"00" * 32: next(iter(layout["keys"].values())) | {"keyid": "00" * 32}}
            ),
            layout["steps"][0]["pubkeys"].append("00" * 32),
            layout["steps"][0].update(threshold=2),
        ),
    ),
    "a threshold of none": (
        Code.LAYOUT_MALFORMED,
        lambda layout: layout["steps"][0].update(threshold=0),
    ),
    "a plain key": (
        Code.LAYOUT_MALFORMED,
        lambda layout: next(iter(layout["keys"].values())).update(scheme="ed25519"),
    ),
    "an unknown field": (Code.LAYOUT_MALFORMED, lambda layout: layout.update(extra=1)),
    "an unknown field in a step": (
        Code.LAYOUT_MALFORMED,
        lambda layout: layout["steps"][0].update(run="sh"),
    ),
    "a link for a layout": (Code.LAYOUT_MALFORMED, lambda layout: layout.update(_type="link")),
    "an expiry that is none": (
        Code.LAYOUT_MALFORMED,
        lambda layout: layout.update(expires="2026-02-30T00:00:00Z"),
    ),
    "an expiry in another zone": (
        Code.LAYOUT_MALFORMED,
        lambda layout: layout.update(expires="2027-01-01T00:00:00+14:00"),
    ),
}


@pytest.mark.parametrize("attack", SPOILED)
def test_layouts_that_are_refused(honest: SignedRelease, state: Path, attack: str) -> None:
    code, change = SPOILED[attack]
    document = signed_layout(honest, state, change)
    with pytest.raises(ProvenanceError) as caught:
        layout_of(honest, document)
    assert (caught.value.code, caught.value.step) == (code, 3), str(caught.value)


def test_a_signed_layout_that_two_parsers_read_differently(
    honest: SignedRelease, state: Path
) -> None:
    text = json.dumps(payload(json.loads(honest.evidence)["layout"]))
    raw = (text[:-1] + ', "inspect": []}').encode()
    with pytest.raises(ProvenanceError) as caught:
        layout_of(honest, signed_layout(honest, state, lambda _: None, raw=raw))
    assert caught.value.code is Code.LAYOUT_MALFORMED


class TwoBuilders:
    """A layout that wants the engine from two builders, and their links."""

    def __init__(self, honest: SignedRelease, state: Path) -> None:
        self.honest = honest
        self.state = state
        evidence = json.loads(honest.evidence)
        self.links: list[JsonValue] = evidence["links"]
        self.engine = payload(evidence["links"][0])
        with signer(state, identity=REBUILDER) as found:
            self.issuer = found.authority.issuer
        self.rebuilder = Functionary(identity=REBUILDER, issuer=self.issuer)
        self.layout = layout_of(honest, signed_layout(honest, state, self._both))

    def _both(self, layout: Json) -> None:
        layout["keys"][self.rebuilder.keyid] = self.rebuilder.key | {"keyid": self.rebuilder.keyid}
        layout["steps"][0]["pubkeys"].append(self.rebuilder.keyid)
        layout["steps"][0]["threshold"] = 2

    def rebuilt(self, step: str = "engine", products: Mapping[str, Sha256] = NOTHING) -> JsonValue:
        """The rebuilder's link, with other products where they are given."""

        def plain(kind: str) -> dict[str, Sha256]:
            return {k: Sha256.from_hex(v["sha256"]) for k, v in self.engine[kind].items()}

        with signer(self.state, identity=REBUILDER) as found:
            link = record_link(
                step,
                materials=plain("materials"),
                products=plain("products") | dict(products),
                byproducts={},
                functionary=self.rebuilder,
                signer=found,
            )
        document: JsonValue = json.loads(link.envelope)
        return document

    def verify(self, links: Sequence[JsonValue]) -> VerifiedStep:
        return verify_links(links, layout=self.layout, bundles=bundles_of(self.honest))["engine"]

    def refusal(self, links: Sequence[JsonValue]) -> Code:
        with pytest.raises(ProvenanceError) as caught:
            self.verify(links)
        assert caught.value.step == 3
        return caught.value.code


@pytest.fixture(scope="module")
def two(honest: SignedRelease, state: Path) -> TwoBuilders:
    return TwoBuilders(honest, state)


def test_two_builders_that_agree(two: TwoBuilders) -> None:
    step = two.verify([*two.links, two.rebuilt()])
    assert {person.identity for person in step.functionaries} == {
        REBUILDER,
        two.honest.policy.signer.identity,
    }
    assert len(step.links) == 1  # the same content has the same digest, whoever signed it


def test_one_builder_is_too_few(two: TwoBuilders) -> None:
    assert two.refusal(two.links) is Code.LINK_THRESHOLD


def test_one_builder_twice_is_one_builder(two: TwoBuilders) -> None:
    assert two.refusal([*two.links, two.links[0]]) is Code.LINK_THRESHOLD


def test_builders_that_disagree(two: TwoBuilders) -> None:
    links = [*two.links, two.rebuilt(products={"engine/model.gguf": EVIL})]
    assert two.refusal(links) is Code.LINK_DISAGREEMENT


def test_a_builder_of_a_step_that_is_not_theirs(two: TwoBuilders) -> None:
    assert two.refusal([*two.links, two.rebuilt("measure")]) is Code.LINK_UNKNOWN_FUNCTIONARY


def test_a_link_of_a_step_that_is_not_there(two: TwoBuilders) -> None:
    assert two.refusal([*two.links, two.rebuilt("deploy")]) is Code.LINK_UNEXPECTED


def links_under(
    honest: SignedRelease, state: Path, change: Callable[[Json], object], links: list[JsonValue]
) -> Code:
    layout = layout_of(honest, signed_layout(honest, state, change))
    bundles = bundles_of(honest)
    with pytest.raises(ProvenanceError) as caught:
        verify_links(links, layout=layout, bundles=bundles)
    assert caught.value.step == 3
    return caught.value.code


def test_a_rule_that_is_none(honest: SignedRelease, state: Path) -> None:
    links = json.loads(honest.evidence)["links"]
    rules = [["SUMMON", "x"], ["DISALLOW", "*"]]
    code = links_under(
        honest, state, lambda layout: layout["steps"][0].update(expected_materials=rules), links
    )
    assert code is Code.LAYOUT_MALFORMED


@pytest.mark.parametrize("name", ["somewhere/else", "engine/model.gguf", "app-disk/app.img"])
def test_a_lax_layout_does_not_mix_releases(honest: SignedRelease, state: Path, name: str) -> None:
    """The owner's rules let anything in; the product's own invariant still does not."""
    links = json.loads(honest.evidence)["links"]
    engine = payload(links[0])
    with signer(state) as found:
        identity = found.authority.identity
        assert identity is not None
        link = record_link(
            "engine",
            materials={name: EVIL},
            products={k: Sha256.from_hex(v["sha256"]) for k, v in engine["products"].items()},
            byproducts={},
            functionary=Functionary(identity=identity, issuer=found.authority.issuer),
            signer=found,
        )
    rules = [["ALLOW", "*"], ["DISALLOW", "*"]]
    code = links_under(
        honest,
        state,
        lambda layout: layout["steps"][0].update(expected_materials=rules),
        [json.loads(link.envelope), *links[1:]],
    )
    assert code is Code.LINK_ARTIFACT_RULE


def test_a_lax_layout_does_not_let_two_steps_make_one_file(
    honest: SignedRelease, state: Path
) -> None:
    """The later one would take the place of the file that everybody agreed on."""
    links = json.loads(honest.evidence)["links"]
    engine, app_disk = payload(links[0]), payload(links[1])
    with signer(state) as found:
        identity = found.authority.identity
        assert identity is not None
        link = record_link(
            "app-disk",
            materials=digests(app_disk["materials"]),
            products={**digests(app_disk["products"]), next(iter(engine["products"])): EVIL},
            byproducts={},
            functionary=Functionary(identity=identity, issuer=found.authority.issuer),
            signer=found,
        )
    rules = [["ALLOW", "*"], ["DISALLOW", "*"]]
    code = links_under(
        honest,
        state,
        lambda layout: layout["steps"][1].update(expected_products=rules),
        [links[0], json.loads(link.envelope), *links[2:]],
    )
    assert code is Code.LINK_ARTIFACT_RULE


def digests(artifacts: Json) -> dict[str, Sha256]:
    return {name: Sha256.from_hex(digest["sha256"]) for name, digest in artifacts.items()}


def test_s3_a_functionary_on_github_needs_its_source(honest: SignedRelease, state: Path) -> None:
    def on_github(layout: Json) -> None:
        for key in layout["keys"].values():
            key["keyval"]["issuer"] = GITHUB_ISSUER

    def elsewhere(layout: Json) -> None:
        for key in layout["keys"].values():
            key["keyval"]["github"] = {
                "repository": "https://github.com/o/n",
                "workflow": ".github/workflows/w.yml",
                "ref": "refs/tags/v1",
            }

    for change in (on_github, elsewhere):
        with pytest.raises(ProvenanceError) as caught:
            layout_of(honest, signed_layout(honest, state, change))
        assert caught.value.code is Code.LAYOUT_FUNCTIONARY
        assert "a source on GitHub exactly when" in str(caught.value)
