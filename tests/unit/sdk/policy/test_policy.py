from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from blindllama._policy_toml import policy_toml
from blindllama.errors import Code, PolicyError
from blindllama.measurements import PlatformName
from blindllama.policy import Policy
from tests.simulators.ak_authority import new_root
from tests.unit.sdk.policy.made import ROOT, changed, parts, refusal


def test_the_honest_policy_is_accepted() -> None:
    policy = Policy.from_mapping(parts())
    assert policy.platform_name is PlatformName.QEMU_SWTPM
    assert policy.sigstore.require_timestamp
    assert policy.sigstore.require_inclusion_promise
    assert not policy.debug_images
    assert policy.rebuilders.threshold == 0


def test_toml_reads_back_equal() -> None:
    document = parts() | {
        "debug_images": True,
        "rebuilders": {"threshold": 1, "identities": [{"issuer": "i", "identity": "you"}]},
    }
    document["release"]["revoked"] = [4, 5]
    document["vtpm"]["allowed"] = {"0": ["ab" * 32], "7": ["cd" * 32, "ef" * 32]}
    policy = Policy.from_mapping(document)
    assert Policy.from_bytes(policy.to_toml().encode()) == policy


def test_issuers_are_added_and_read_back_equal() -> None:
    one, two = (new_root().certificate.public_bytes(Encoding.PEM).decode() for _ in range(2))
    policy = Policy.from_mapping(parts())
    assert policy.vtpm.issuers_der() == ()
    assert "issuers" not in policy.to_toml()
    both = policy.with_issuers([one]).with_issuers([two, one])
    assert both.vtpm.issuers == (one, two)
    assert len(both.vtpm.issuers_der()) == 2
    assert Policy.from_bytes(both.to_toml().encode()) == both
    assert both.vtpm.roots == policy.vtpm.roots


@pytest.mark.parametrize("issuers", [[], [""], ["cert"], ["-----BEGIN CERTIFICATE-----\nAA\n"]])
def test_issuers_are_certificates(issuers: list[str]) -> None:
    error = refusal(changed("vtpm.issuers", issuers))
    assert error.code in {Code.POLICY_INVALID, Code.POLICY_EMPTY}


@pytest.mark.parametrize(
    "allowed",
    [{"0": []}, {"00": ["ab" * 32]}, {"24": ["ab" * 32]}, {"-1": ["ab" * 32]}, {"0": ["AB" * 32]}],
    ids=str,
)
def test_firmware_that_is_allowed_is_a_register_and_its_values(allowed: object) -> None:
    error = refusal(changed("vtpm.allowed", allowed))
    assert error.code in {Code.POLICY_INVALID, Code.POLICY_EMPTY}


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=40).filter(str.strip))
def test_any_text_survives_toml(text: str) -> None:
    policy = Policy.from_mapping(changed("release.name", text))
    assert tomllib.loads(policy.to_toml())["release"]["name"] == text


@pytest.mark.parametrize(
    "place",
    [
        "platform",
        "release",
        "release.name",
        "release.minimum_sequence",
        "release.maximum_age_days",
        "signer",
        "signer.issuer",
        "signer.identity",
        "signer.builder_id",
        "sigstore",
        "sigstore.trusted_root",
        "layout",
        "layout.owners",
        "vtpm",
        "vtpm.roots",
    ],
)
def test_nothing_may_be_left_out(place: str) -> None:
    assert refusal(changed(place, ...)).code is Code.POLICY_EMPTY


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("release.name", ""),
        ("release.name", "   "),
        ("signer.issuer", ""),
        ("signer.identity", " "),
        ("signer.builder_id", ""),
        ("sigstore.trusted_root", ""),
        ("layout.owners", []),
        ("vtpm.roots", []),
    ],
)
def test_nothing_may_be_empty(place: str, value: object) -> None:
    assert refusal(changed(place, value)).code is Code.POLICY_EMPTY


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("version", 2),
        ("version", "1"),
        ("platform", "azure"),
        ("unknown", 1),
        ("debug_images", 1),
        ("debug_images", "yes"),
        ("release.minimum_sequence", 0),
        ("release.minimum_sequence", 1.0),
        ("release.minimum_sequence", True),
        ("release.maximum_age_days", 0),
        ("release.maximum_age_days", 10_000),
        ("release.revoked", [0]),
        ("signer.identity", 5),
        ("signer.pattern", ".*"),
        ("sigstore.require_timestamp", "false"),
        ("layout.owners", [{"keyid": "aa" * 32, "scheme": "rsa", "public": "bb" * 32}]),
        ("layout.owners", [{"keyid": "aa", "scheme": "ed25519", "public": "bb" * 32}]),
        ("vtpm.roots", ["CC" * 32]),
        ("vtpm.roots", ["cc" * 32, "cc" * 32]),
        ("vtpm.roots", "cc" * 32),
        ("rebuilders", {"threshold": -1}),
    ],
)
def test_nothing_may_be_of_another_kind(place: str, value: object) -> None:
    assert refusal(changed(place, value)).code is Code.POLICY_INVALID


def test_an_owner_is_named_once() -> None:
    owner = parts()["layout"]["owners"][0]
    assert refusal(changed("layout.owners", [owner, owner])).code is Code.POLICY_INVALID


def test_an_owner_key_of_zeros_is_a_template() -> None:
    owner = {"keyid": "aa" * 32, "scheme": "ed25519", "public": "00" * 32}
    assert refusal(changed("layout.owners", [owner])).code is Code.POLICY_OWNER_KEY


def test_more_rebuilders_than_known_cannot_agree() -> None:
    rebuilders = {"threshold": 2, "identities": [{"issuer": "i", "identity": "you"}]}
    assert refusal(changed("rebuilders", rebuilders)).code is Code.POLICY_EMPTY


@pytest.mark.parametrize("missing", sorted(ROOT))
def test_a_trust_root_without_a_part_is_refused(missing: str) -> None:
    root = {key: value for key, value in ROOT.items() if key != missing}
    error = refusal(changed("sigstore.trusted_root", json.dumps(root)))
    assert error.code is Code.POLICY_TRUST_ROOT


@pytest.mark.parametrize("text", ["no json", "[]", '{"tlogs":[1],"tlogs":[1]}'])
def test_a_trust_root_is_strict_json(text: str) -> None:
    assert refusal(changed("sigstore.trusted_root", text)).code is Code.POLICY_TRUST_ROOT


def test_a_trust_root_without_stamps_will_do_where_none_are_required() -> None:
    root = {key: value for key, value in ROOT.items() if key != "timestampAuthorities"}
    document = changed("sigstore", {"trusted_root": json.dumps(root), "require_timestamp": False})
    assert not Policy.from_mapping(document).sigstore.require_timestamp


def test_keywords_may_be_parts_or_tables() -> None:
    policy = Policy.from_mapping(parts())
    keywords = {name: getattr(policy, name) for name in Policy.model_fields}
    assert Policy(**keywords) == policy
    assert Policy(**parts()) == policy


@pytest.mark.parametrize("name", ["self", "cls", "parts"])
def test_no_name_is_special(name: str) -> None:
    assert refusal(parts() | {name: 1}).code is Code.POLICY_INVALID


def test_files_and_folders_are_read(tmp_path: Path) -> None:
    policy = Policy.from_mapping(parts())
    path = tmp_path / "policy.toml"
    path.write_text(policy.to_toml())
    assert Policy.from_file(path) == policy
    assert Policy.local(path) == policy
    assert Policy.local(str(tmp_path)) == policy
    assert Policy.local(tmp_path) == policy


@pytest.mark.parametrize(
    "data",
    [
        b"=",
        b"\xff",
        b"a = 1\na = 2",
        b"#" * (1 << 20) + b"#",
        b"a=" + b"[" * 5000,
        b"a." * 5000 + b"a = 1",
    ],
)
def test_bytes_that_are_no_policy(data: bytes) -> None:
    with pytest.raises(PolicyError) as caught:
        Policy.from_bytes(data)
    assert caught.value.code is Code.POLICY_UNREADABLE


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PolicyError) as caught:
        Policy.from_file(tmp_path / "none.toml")
    assert caught.value.code is Code.POLICY_UNREADABLE


def test_toml_is_written_of_what_a_policy_holds() -> None:
    with pytest.raises(TypeError, match="no TOML for float"):
        policy_toml({"release": {"maximum_age_days": 1.5}})


def test_a_policy_does_not_change() -> None:
    policy = Policy.from_mapping(parts())
    with pytest.raises(ValueError, match="frozen"):
        policy.debug_images = True  # type: ignore[misc] # the type says so too
