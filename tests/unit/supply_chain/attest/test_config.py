"""`chain.toml`: what it may say, and that the checkout's own says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from supply_chain.attest.config import (
    CHAIN_NAME,
    ChainError,
    FileOwner,
    SignerOwner,
    parse_chain,
    read_chain,
    with_owner,
)

LEAST = """
owners = [{ kind = "file" }]
valid_days = 90
renew_days = 7
"""
REBUILDER = '[[rebuilders]]\nidentity = "you"\n'


def test_the_checkout_has_one(checkout: Path) -> None:
    chain = read_chain(checkout / CHAIN_NAME)
    assert chain.owners == (FileOwner(kind="file"),)
    assert chain.thresholds.by_step() == {"engine": 1, "app-disk": 1, "os-image": 1}
    assert [person.identity for person in chain.rebuilders] == [
        "https://blindllama.dev/rebuilders/local/v1"
    ]


def test_thresholds_and_rebuilders() -> None:
    chain = parse_chain(f"{LEAST}[thresholds]\nengine = 2\n{REBUILDER}")
    assert chain.thresholds.by_step() == {"engine": 2, "app-disk": 1, "os-image": 1}


def test_owners_of_every_kind() -> None:
    kinds = parse_chain(
        LEAST.replace(
            '{ kind = "file" }',
            '{ kind = "file" }, { kind = "sigstore", identity = "me" },'
            ' { kind = "signer", uri = "hsm:", public = "p.pem" }',
        )
    ).owners
    assert [owner.kind for owner in kinds] == ["file", "sigstore", "signer"]


REFUSED = {
    "no owner": (LEAST.replace('{ kind = "file" }', ""), "owners: "),
    "an owner of no kind": (LEAST.replace("file", "pgp"), "owners.0: "),
    "an owner twice": (LEAST.replace("[{", '[{ kind = "file" }, {'), "owners: expected each once"),
    "a signer without its public key": (
        LEAST.replace('"file"', '"signer", uri = "hsm:"'),
        "public: Field required",
    ),
    "a path for a URI": (
        LEAST.replace('"file"', '"signer", uri = "/key.pem", public = "p"'),
        "uri: ",
    ),
    "a threshold of none": (f"{LEAST}[thresholds]\nengine = 0\n", "thresholds.engine: "),
    "a threshold that nobody can reach": (
        f"{LEAST}[thresholds]\nos-image = 2\n",
        "expected at most 1, the builder and the rebuilders, got 2",
    ),
    "a threshold of another step": (f"{LEAST}[thresholds]\nmeasure = 1\n", "thresholds.measure: "),
    "a rebuilder twice": (LEAST + REBUILDER * 2, "rebuilders: expected each once"),
    "GitHub without a source": (
        f'{LEAST}{REBUILDER}issuer = "https://token.actions.githubusercontent.com"\n',
        "github: expected exactly when the issuer is",
    ),
    "renewed for ever": (LEAST.replace("7", "90"), "renew_days: expected fewer than valid_days"),
    "an unknown word": (f"{LEAST}threshold = 2\n", "threshold: Extra inputs"),
    "no TOML": ("owners = [", "not TOML"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    text, reason = REFUSED[case]
    with pytest.raises(ChainError) as raised:
        parse_chain(text)
    assert reason in str(raised.value)
    assert raised.value.code == "build.chain"


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ChainError, match="part of the checkout: restore it"):
        read_chain(tmp_path / CHAIN_NAME)


@pytest.mark.parametrize(
    ("wanted", "public", "kind"),
    [
        ("file", "", "file"),
        ("builder", "", "builder"),
        ("sigstore:https://blindllama.dev/owners/board", "", "sigstore"),
        ("hsm:2?label=a%22b", "keys/owner.pem", "signer"),
    ],
)
def test_another_owner_leaves_the_rest_alone(
    checkout: Path, wanted: str, public: str, kind: str
) -> None:
    text = (checkout / CHAIN_NAME).read_text()
    changed = with_owner(text, wanted, public)
    (owner,) = parse_chain(changed).owners
    assert owner.kind == kind
    if isinstance(owner, SignerOwner):
        assert (owner.uri, owner.public) == (wanted, public)
    before, after = text.splitlines(), changed.splitlines()
    assert sum(old != new for old, new in zip(before, after, strict=True)) == (kind != "file")


@pytest.mark.parametrize("wanted", ["sigstore:", "board", "hsm:"])
def test_an_owner_that_is_none(checkout: Path, wanted: str) -> None:
    with pytest.raises(ChainError, match=f"owner {wanted}: owners.0"):
        with_owner((checkout / CHAIN_NAME).read_text(), wanted)


def test_a_file_without_the_line() -> None:
    with pytest.raises(ChainError, match="expected one line that begins with"):
        with_owner("valid_days = 1\n", "file")
