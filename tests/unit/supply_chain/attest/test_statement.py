from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from blindllama.measurements import DigestSet, MeasurementsPredicate, PlatformMeasurements
from supply_chain.attest.provenance import Run, provenance_statement
from supply_chain.attest.statement import (
    ReleaseIndexPredicate,
    Statement,
    canonical,
    index_statement,
    measurements_statement,
    resources,
)
from supply_chain.digest import sha256_bytes

A, B = sha256_bytes(b"a"), sha256_bytes(b"b")
NOON = datetime(2026, 6, 1, 12, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=2)))


def test_a_statement_has_one_form() -> None:
    statement = Statement(
        subject=resources({"b": B, "a": A}),
        predicate_type="https://blindllama.dev/test/v1",
        predicate={"z": 1, "a": {"y": True, "b": "é"}},
    )
    assert statement.to_bytes().decode() == (
        '{"_type":"https://in-toto.io/Statement/v1",'
        '"predicate":{"a":{"b":"é","y":true},"z":1},'
        '"predicateType":"https://blindllama.dev/test/v1",'
        '"subject":['
        f'{{"digest":{{"sha256":"{A.hex}"}},"name":"a"}},'
        f'{{"digest":{{"sha256":"{B.hex}"}},"name":"b"}}]}}'
    )


def test_integers_stay_integers() -> None:
    predicate = MeasurementsPredicate(
        version=1,
        sequence=7,
        debug=False,
        layout=DigestSet(sha256=A.hex),
        provenance={"engine": DigestSet(sha256=B.hex)},
        platforms={"qemu-swtpm": PlatformMeasurements(bank="sha256", pcrs={"11": A.hex})},
    )
    document = json.loads(measurements_statement({"os-image/os.img": A}, predicate).to_bytes())
    assert repr(document["predicate"]["sequence"]) == "7"
    assert document["predicateType"] == "https://blindllama.dev/attestation/measurements/v1"
    assert "machine" not in document["predicate"]["platforms"]["qemu-swtpm"]


def test_times_are_written_in_utc_to_the_second() -> None:
    predicate = ReleaseIndexPredicate(
        name="r", sequence=1, created=NOON.astimezone(UTC), expires=NOON.astimezone(UTC)
    )
    document = json.loads(index_statement({"os.img": A}, predicate).to_bytes())
    assert document["predicate"]["created"] == "2026-06-01T10:00:00Z"
    assert document["predicateType"] == "https://blindllama.dev/attestation/release-index/v1"


def test_a_time_in_another_zone_names_the_same_moment() -> None:
    predicate = ReleaseIndexPredicate(name="r", sequence=1, created=NOON, expires=NOON)
    document = json.loads(index_statement({"os.img": A}, predicate).to_bytes())
    assert document["predicate"]["created"] == "2026-06-01T10:00:00Z"


@pytest.mark.parametrize(
    "change",
    [
        {"sequence": 0},
        {"name": ""},
        {"created": datetime(2026, 6, 1)},  # noqa: DTZ001 - the missing zone is the point
        {"revoked": (0,)},
        {"unknown": 1},
        {"sequence": "1"},
    ],
)
def test_a_malformed_index_is_refused(change: dict[str, object]) -> None:
    honest: dict[str, object] = {"name": "r", "sequence": 1, "created": NOON, "expires": NOON}
    with pytest.raises(ValidationError):
        ReleaseIndexPredicate.model_validate(honest | change)


def test_a_statement_without_subjects_is_refused() -> None:
    with pytest.raises(ValidationError):
        Statement(subject=(), predicate_type="x", predicate={})


def test_a_number_that_json_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical({"x": float("nan")})


def test_provenance_names_everything_that_went_in() -> None:
    statement = provenance_statement(
        "app-disk",
        spec={"replicas": 1},
        materials={"inputs/llama": A, "engine/model.gguf": B},
        products={"app-disk/app.img": A},
        layout=sha256_bytes(b"layout"),
        link=sha256_bytes(b"link"),
        run=Run(invocation_id="app-disk:1", started=NOON, finished=NOON + timedelta(seconds=90)),
    )
    document = json.loads(statement.to_bytes())
    assert document["subject"] == [{"name": "app-disk/app.img", "digest": {"sha256": A.hex}}]
    assert document["predicateType"] == "https://slsa.dev/provenance/v1"
    assert document["predicate"] == {
        "buildDefinition": {
            "buildType": "https://blindllama.dev/buildtypes/pipeline/v1",
            "externalParameters": {"step": "app-disk", "spec": {"replicas": 1}},
            "internalParameters": {},
            "resolvedDependencies": [
                {"name": "engine/model.gguf", "digest": {"sha256": B.hex}},
                {"name": "inputs/llama", "digest": {"sha256": A.hex}},
                {"name": "layout", "digest": {"sha256": sha256_bytes(b"layout").hex}},
            ],
        },
        "runDetails": {
            "builder": {"id": "https://blindllama.dev/builders/local/v1"},
            "metadata": {
                "invocationId": "app-disk:1",
                "startedOn": "2026-06-01T10:00:00Z",
                "finishedOn": "2026-06-01T10:01:30Z",
            },
            "byproducts": [
                {"name": "app-disk.link", "digest": {"sha256": sha256_bytes(b"link").hex}}
            ],
        },
    }
