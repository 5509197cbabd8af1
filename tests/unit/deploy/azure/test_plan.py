from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.azure.arm import Standing
from deploy.azure.config import parse_config
from deploy.azure.errors import AzureError, Reason
from deploy.azure.machine import machine_resources
from deploy.azure.plan import Action, plan, removal_order
from deploy.azure.record import Record, parse_record
from deploy.azure.upload import Image
from deploy.azure.wanted import BODY_TAG, NAME_TAG, Kind, Wanted, kind_of
from supply_chain.digest import sha256_file
from tests.unit.deploy.azure.test_config import WHOLE


@pytest.fixture
def wanted(tmp_path: Path) -> list[Wanted]:
    path = tmp_path / "image"
    path.write_bytes(b"x" * 4096)
    image = Image(path=path, sha256=sha256_file(path))
    return machine_resources(parse_config(WHOLE), system=image, app=image)


def standing(one: Wanted, **changes: object) -> Standing:
    """As it stands after it was made; changed."""
    body = {
        **one.tagged("llama"),
        "properties": {"provisioningState": "Succeeded", "diskState": "Attached"} | changes,
    }
    return Standing.of(one.identifier, body)


def actions(wanted: list[Wanted], found: dict[str, Standing | None]) -> dict[Kind, Action]:
    steps = plan(wanted, found, [], deployment="llama")
    return {kind_of(step.identifier): step.action for step in steps}


def test_everything_comes_after_what_it_names(wanted: list[Wanted]) -> None:
    seen: list[str] = []
    for one in wanted:
        inside = json.dumps(one.body)
        for other in wanted:
            if f'"{other.identifier}' in inside:
                assert other.identifier in seen
        seen.append(one.identifier)


def test_removal_goes_the_other_way(wanted: list[Wanted]) -> None:
    kinds = [kind_of(it) for it in removal_order(one.identifier for one in wanted)]
    assert kinds[:2] == [Kind.MACHINE, Kind.CARD]
    assert kinds[-1] is Kind.GROUP


@pytest.mark.parametrize("kind", Kind)
def test_a_kind_is_read_from_its_identifiers(wanted: list[Wanted], kind: Kind) -> None:
    names = ["name"] * (kind.value.count("/"))
    assert kind_of(parse_config(WHOLE).place.identify(kind, *names)) is kind


def test_what_is_there_as_it_should_be_is_kept(wanted: list[Wanted]) -> None:
    found: dict[str, Standing | None] = {one.identifier: standing(one) for one in wanted}
    done = actions(wanted, found)
    assert done.pop(Kind.RULES) is Action.SET
    assert set(done.values()) == {Action.KEEP}


@pytest.mark.parametrize("state", ["Failed", "Creating", "Canceled"])
def test_what_is_not_finished_is_asked_for_again(wanted: list[Wanted], state: str) -> None:
    found: dict[str, Standing | None] = {
        one.identifier: standing(one, provisioningState=state) for one in wanted
    }
    assert set(actions(wanted, found).values()) == {Action.SET}


def test_another_body_is_set_and_another_machine_made(wanted: list[Wanted]) -> None:
    tags = {NAME_TAG: "llama", BODY_TAG: "another"}
    found: dict[str, Standing | None] = {
        one.identifier: Standing(identifier=one.identifier, state="Succeeded", tags=tags)
        for one in wanted
    }
    done = actions(wanted, found)
    assert done.pop(Kind.MACHINE) is Action.REPLACE
    assert set(done.values()) == {Action.SET}


@pytest.mark.parametrize(
    ("state", "filled", "action", "uploads"),
    [
        ("ReadyToUpload", False, Action.KEEP, True),
        ("ActiveUpload", False, Action.KEEP, True),
        ("ActiveUpload", True, Action.KEEP, True),
        ("Unattached", True, Action.KEEP, False),
        ("Unattached", False, Action.REPLACE, True),
        ("Attached", False, Action.KEEP, False),
        ("Attached", True, Action.KEEP, False),
    ],
)
def test_a_disk_is_filled_until_it_is_full(
    wanted: list[Wanted], state: str, filled: bool, action: Action, uploads: bool
) -> None:
    found: dict[str, Standing | None] = {
        one.identifier: standing(one, diskState=state) for one in wanted
    }
    # With the machine there, it would be known that they were filled.
    found |= {one.identifier: None for one in wanted if one.kind is Kind.MACHINE}
    known = [one.identifier for one in wanted if filled]
    steps = plan(wanted, found, [], deployment="llama", filled=known)
    disks = [step for step in steps if kind_of(step.identifier) is Kind.DISK]
    assert {(step.action, step.uploads) for step in disks} == {(action, uploads)}


@pytest.mark.parametrize("tags", [{}, {NAME_TAG: "other"}])
def test_what_is_not_ours_is_refused_but_for_the_group(
    wanted: list[Wanted], tags: dict[str, str]
) -> None:
    found: dict[str, Standing | None] = {one.identifier: None for one in wanted}
    foreign = Standing(identifier="", state="Succeeded", tags=tags)
    assert actions(wanted, {**found, wanted[0].identifier: foreign})[Kind.GROUP] is Action.USE
    for one in wanted[1:]:
        with pytest.raises(AzureError) as caught:
            plan(wanted, {**found, one.identifier: foreign}, [], deployment="llama")
        assert caught.value.reason is Reason.FOREIGN


def test_a_record_survives_a_torn_line_and_refuses_another_version(tmp_path: Path) -> None:
    path = tmp_path / "record"
    group = "/subscriptions/s/resourceGroups/g"
    disk = f"{group}/providers/Microsoft.Compute/disks/d"
    with Record.open(path) as record:
        record.begin(group)
        record.begin(disk)
        record.gone(group)
    with path.open("ab") as file:
        file.write(b'{"what": "gone", "id": "/subscri')
    with Record.open(path) as record:
        assert list(record.made) == [disk]
        record.begin(group)
        record.fill(disk)
    assert parse_record(path.read_bytes()) == ({disk: None, group: None}, {disk})
    with Record.open(path) as record:
        record.gone(disk)
        assert (list(record.made), record.filled) == ([group], set())
    path.write_text('{"version": 2}\n')
    with pytest.raises(AzureError) as caught:
        Record.open(path)
    assert caught.value.reason is Reason.CONFIG
