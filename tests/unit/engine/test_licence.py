from __future__ import annotations

import pytest
from cyclonedx.model.license import DisjunctiveLicense, LicenseAcknowledgement

from engine.licence import LicenceError, check_licence
from engine.spec import EngineSpec
from supply_chain.sbom.document import licences

DECLARED = LicenseAcknowledgement.DECLARED


def _licensed(spec: EngineSpec, licence: str, accepted: str | None = None) -> EngineSpec:
    return spec.model_copy(update={"licence": licence, "accept_licence": accepted})


@pytest.mark.parametrize(("licence", "stated"), [("Apache-2.0", "apache-2.0"), ("mit", "MIT")])
def test_a_free_licence_needs_nobodys_word(spec: EngineSpec, licence: str, stated: str) -> None:
    check_licence(_licensed(spec, licence), stated=stated)


def test_a_licence_with_conditions_is_accepted_by_name(spec: EngineSpec) -> None:
    check_licence(_licensed(spec, "llama2", "llama2"), stated="llama2")


@pytest.mark.parametrize("accepted", [None, "gemma", "LLAMA2", "*"])
def test_a_licence_with_conditions_is_refused_otherwise(
    spec: EngineSpec, accepted: str | None
) -> None:
    with pytest.raises(LicenceError, match='write .* accept_licence = "llama2"') as caught:
        check_licence(_licensed(spec, "llama2", accepted), stated="llama2")

    assert caught.value.code == "engine.licence"


def test_an_acceptance_does_not_stand_for_what_the_weights_state(spec: EngineSpec) -> None:
    with pytest.raises(LicenceError, match="expected llama2, got 'gemma'") as caught:
        check_licence(_licensed(spec, "llama2", "llama2"), stated="gemma")

    assert caught.value.code == "engine.licence"


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("Apache-2.0", DisjunctiveLicense(id="Apache-2.0", acknowledgement=DECLARED)),
        ("apache-2.0", DisjunctiveLicense(id="Apache-2.0", acknowledgement=DECLARED)),
        ("llama2", DisjunctiveLicense(name="llama2", acknowledgement=DECLARED)),
    ],
)
def test_a_bill_of_materials_names_any_licence(licence: str, expected: DisjunctiveLicense) -> None:
    assert licences(licence) == [expected]
