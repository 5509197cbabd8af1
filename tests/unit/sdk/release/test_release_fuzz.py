"""Whatever the evidence is: the honest verdict, or a `VerificationError`, and nothing else."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blindllama.errors import VerificationError
from blindllama.release import verify_release
from blindllama.report import Report
from tests.simulators.signed_release import PRODUCTS, SignedRelease

SMALL = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=5,
)
ANY = st.integers(0, 1 << 32)
"""Chooses among as many things as there are; each run has a new release, of another size."""
FEW = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def judged(release: SignedRelease, evidence: bytes) -> None:
    report = Report()
    try:
        verified = verify_release(evidence, release.policy, release.now, report=report)
    except VerificationError:
        assert report.failure is not None
        assert report.failure.step in range(1, 6)
    else:
        assert verified.artifacts == {name: digest.hex for name, digest in PRODUCTS.items()}


def places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:  # noqa: ANN401
    children = (
        list(value.items())
        if isinstance(value, dict)
        else list(enumerate(value))
        if isinstance(value, list)
        else []
    )
    return [way, *(place for key, child in children for place in places(child, (*way, key)))]


def chosen(document: Any, number: int) -> tuple[Any, Any]:  # noqa: ANN401
    """One place of the document: the object or list that holds it, and its key there."""
    ways = [way for way in places(document) if way]
    way = ways[number % len(ways)]
    for key in way[:-1]:
        document = document[key]
    return document, way[-1]


@FEW
@given(number=ANY, value=SMALL)
def test_one_value_replaced(honest: SignedRelease, number: int, value: object) -> None:
    document = json.loads(honest.evidence)
    part, key = chosen(document, number)
    part[key] = value
    judged(honest, json.dumps(document).encode())


@FEW
@given(number=ANY)
def test_one_value_taken_out(honest: SignedRelease, number: int) -> None:
    document = json.loads(honest.evidence)
    part, key = chosen(document, number)
    del part[key]
    judged(honest, json.dumps(document).encode())


@FEW
@given(number=ANY, byte=st.integers(0, 255))
def test_one_byte_replaced(honest: SignedRelease, number: int, byte: int) -> None:
    evidence = bytearray(honest.evidence)
    evidence[number % len(evidence)] = byte
    judged(honest, bytes(evidence))


@FEW
@given(number=ANY, place=ANY, other=st.sampled_from("ABCDwxyz0189+/=.\n\x00é"))
def test_one_text_changed(honest: SignedRelease, number: int, place: int, other: str) -> None:
    """A character of a text: mostly base64, so that the DER, the CMS and the JSON in it change."""
    document = json.loads(honest.evidence)
    part, key = chosen(document, number)
    text = part[key]
    if isinstance(text, str) and text:
        index = place % len(text)
        part[key] = text[:index] + other + text[index + 1 :]
    judged(honest, json.dumps(document).encode())


@FEW
@given(evidence=st.binary(max_size=300))
def test_any_bytes(honest: SignedRelease, evidence: bytes) -> None:
    judged(honest, evidence)
