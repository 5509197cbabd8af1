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


@FEW
@given(data=st.data())
def test_one_value_replaced(honest: SignedRelease, data: st.DataObject) -> None:
    document = json.loads(honest.evidence)
    way = data.draw(st.sampled_from([place for place in places(document) if place]))
    part = document
    for key in way[:-1]:
        part = part[key]
    part[way[-1]] = data.draw(SMALL)
    judged(honest, json.dumps(document).encode())


@FEW
@given(data=st.data())
def test_one_value_taken_out(honest: SignedRelease, data: st.DataObject) -> None:
    document = json.loads(honest.evidence)
    way = data.draw(st.sampled_from([place for place in places(document) if place]))
    part = document
    for key in way[:-1]:
        part = part[key]
    del part[way[-1]]
    judged(honest, json.dumps(document).encode())


@FEW
@given(data=st.data())
def test_one_byte_replaced(honest: SignedRelease, data: st.DataObject) -> None:
    evidence = bytearray(honest.evidence)
    place = data.draw(st.integers(0, len(evidence) - 1))
    evidence[place] = data.draw(st.integers(0, 255))
    judged(honest, bytes(evidence))


@FEW
@given(data=st.data())
def test_one_text_changed(honest: SignedRelease, data: st.DataObject) -> None:
    """A character of a text: mostly base64, so that the DER, the CMS and the JSON in it change."""
    document = json.loads(honest.evidence)
    texts = []
    for way in places(document):
        part = document
        for key in way[:-1]:
            part = part[key]
        if way and isinstance(part[way[-1]], str) and part[way[-1]]:
            texts.append((part, way[-1]))
    part, key = data.draw(st.sampled_from(texts))
    text = part[key]
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("ABCDwxyz0189+/=.\n\x00é"))
    part[key] = text[:place] + other + text[place + 1 :]
    judged(honest, json.dumps(document).encode())


@FEW
@given(evidence=st.binary(max_size=300))
def test_any_bytes(honest: SignedRelease, evidence: bytes) -> None:
    judged(honest, evidence)
