from __future__ import annotations

import copy
import inspect
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

import blindllama
from blindllama._platform.azure import ROOT_2023
from blindllama.errors import Code, PolicyError
from blindllama.measurements import PlatformName
from blindllama.policy import GITHUB_ISSUER, PUBLIC_GOOD, GithubSource, Owner, Policy

ROOT = {"tlogs": [1], "certificateAuthorities": [1], "ctlogs": [1], "timestampAuthorities": [1]}
GITHUB = {
    "repository": "https://github.com/owner/name",
    "workflow": ".github/workflows/release.yml",
    "ref": "refs/tags/v1",
}


def parts() -> dict[str, Any]:
    return {
        "version": 1,
        "platform": "qemu-swtpm",
        "release": {"name": "demo", "minimum_sequence": 3, "maximum_age_days": 30},
        "signer": {"issuer": "https://issuer", "identity": "me@example", "builder_id": "https://b"},
        "sigstore": {"trusted_root": json.dumps(ROOT, indent=1)},
        "layout": {"owners": [{"keyid": "aa" * 32, "scheme": "ed25519", "public": "bb" * 32}]},
        "vtpm": {"roots": ["cc" * 32]},
    }


def changed(place: str, value: object) -> dict[str, Any]:
    """The honest policy with one value replaced; `...` takes the value out."""
    document = copy.deepcopy(parts())
    *way, last = place.split(".")
    part = document
    for key in way:
        part = part[key]
    if value is ...:
        del part[last]
    else:
        part[last] = value
    return document


def refusal(document: dict[str, Any]) -> PolicyError:
    with pytest.raises(PolicyError) as caught:
        Policy.from_mapping(document)
    assert caught.value.step == 1
    return caught.value


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


class TestGithub:
    """S1, S3: the builder alone does not say what it was given to build."""

    def signer(self, **changes: object) -> dict[str, Any]:
        signer = {
            "issuer": GITHUB_ISSUER,
            "identity": "https://github.com/o/.github/.github/workflows/build.yml@refs/tags/v1",
            "builder_id": "https://github.com/o/.github/.github/workflows/build.yml@refs/tags/v1",
            "github": GITHUB,
        }
        return changed("signer", signer | changes)

    def test_a_github_identity_needs_its_source(self) -> None:
        Policy.from_mapping(self.signer())
        assert refusal(self.signer(github=None)).code is Code.POLICY_INVALID

    def test_a_source_needs_a_github_identity(self) -> None:
        assert refusal(self.signer(issuer="https://other")).code is Code.POLICY_INVALID

    def test_the_builder_is_the_signer(self) -> None:
        assert refusal(self.signer(builder_id="https://other")).code is Code.POLICY_INVALID

    @pytest.mark.parametrize("identity", ["https://github.com/", "https://github.com/o/n"])
    def test_less_than_a_workflow_is_no_builder(self, identity: str) -> None:
        signer = self.signer(identity=identity, builder_id=identity)
        assert refusal(signer).code is Code.POLICY_INVALID

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("ref", "refs/pull/7/merge"),
            ("ref", "v1"),
            ("ref", "main"),
            ("ref", "refs/tags/*"),
            ("ref", "refs/tags/"),
            ("ref", "refs/tags/v1 refs/heads/x"),
            ("ref_pattern", "refs/tags/v*"),
            ("runner", "any"),
            ("repository", "owner/name"),
            ("repository", "https://github.com/owner"),
            ("repository", "https://github.com.evil.example/owner/name"),
            ("workflow", "release.yml"),
            ("workflow", ".github/workflows/../../x.yml"),
            ("workflow", ".github/workflows/a.yml@refs/heads/x"),
        ],
    )
    def test_loose_sources_are_refused(self, field: str, value: str) -> None:
        assert refusal(self.signer(github=GITHUB | {field: value})).code is Code.POLICY_INVALID

    @pytest.mark.parametrize(
        "pattern",
        [
            ".*",
            "refs/.*",
            "refs/*",
            "refs/tags/*",
            "refs/tags/**",
            "refs/tags/v**",
            "refs/tags/v*?",
            "refs/tags/v[0-9]*",
            "refs/tags/v*|refs/heads/x",
            "refs/tags/(v*)",
            "^refs/tags/v*$",
            "refs/tags/v*\n",
            "refs/tags//v*",
            "refs/tags/v1",
            "refs/heads/v*",
            "refs/heads/*",
            "refs/pull/*",
            "refs/pull/*/merge",
            "tags/v*",
            "v*",
            "*",
            "",
        ],
    )
    def test_s3_loose_patterns_are_refused(self, pattern: str) -> None:
        source = {k: v for k, v in GITHUB.items() if k != "ref"} | {"ref_pattern": pattern}
        code = refusal(self.signer(github=source)).code
        assert code in {Code.POLICY_INVALID, Code.POLICY_EMPTY}

    def test_one_of_ref_and_pattern(self) -> None:
        source = {k: v for k, v in GITHUB.items() if k != "ref"}
        assert refusal(self.signer(github=source)).code is Code.POLICY_INVALID
        Policy.from_mapping(self.signer(github=source | {"ref_pattern": "refs/tags/v*"}))

    @pytest.mark.parametrize(
        ("pattern", "yes", "no"),
        [
            (
                "refs/tags/v*",
                ["refs/tags/v1", "refs/tags/v1.2.3-rc.1+build"],
                [
                    "refs/tags/v",
                    "refs/tags/v1/x",
                    "refs/tags/w1",
                    "refs/heads/v1",
                    "refs/pull/1/merge",
                    "xrefs/tags/v1",
                    "refs/tags/v1\n",
                    "refs/tags/v1 ",
                    "refs/tags/vä",
                ],
            ),
            ("refs/tags/v1.*", ["refs/tags/v1.0"], ["refs/tags/v1x0", "refs/tags/v1."]),
            ("refs/tags/a/v*-*", ["refs/tags/a/v1-2"], ["refs/tags/a/v1", "refs/tags/b/v1-2"]),
        ],
    )
    def test_s3_a_pattern_is_compared_with_the_whole_ref(
        self, pattern: str, yes: list[str], no: list[str]
    ) -> None:
        source = GithubSource(
            repository=GITHUB["repository"], workflow=GITHUB["workflow"], ref_pattern=pattern
        )
        assert [ref for ref in (*yes, *no) if source.accepts_ref(ref)] == yes


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


class TestOwners:
    """Who may own a layout: a key of one of three schemes, or a Sigstore identity."""

    P256 = pem(ec.generate_private_key(ec.SECP256R1()))
    RSA = pem(rsa.generate_private_key(65537, 2048))

    def owner(self, scheme: str, public: str) -> dict[str, Any]:
        owner = {"keyid": "aa" * 32, "scheme": scheme, "public": public}
        return changed("layout.owners", [owner])

    def test_three_schemes(self) -> None:
        for scheme, public in (
            ("ed25519", "bb" * 32),
            ("ecdsa-sha2-nistp256", self.P256),
            ("rsassa-pss-sha256", self.RSA),
        ):
            policy = Policy.from_mapping(self.owner(scheme, public))
            assert Policy.from_bytes(policy.to_toml().encode()) == policy

    @pytest.mark.parametrize(
        ("scheme", "public"),
        [
            ("ed25519", "bb"),
            ("ed25519", "BB" * 32),
            ("ed25519", P256),
            ("ecdsa-sha2-nistp256", "bb" * 32),
            ("ecdsa-sha2-nistp256", RSA),
            ("ecdsa-sha2-nistp256", pem(ec.generate_private_key(ec.SECP384R1()))),
            ("rsassa-pss-sha256", P256),
            ("rsassa-pss-sha256", pem(rsa.generate_private_key(65537, 1024))),  # noqa: S505 - refused
            ("rsassa-pss-sha256", "-----BEGIN PUBLIC KEY-----"),
        ],
    )
    def test_a_key_of_another_kind(self, scheme: str, public: str) -> None:
        assert refusal(self.owner(scheme, public)).code is Code.POLICY_OWNER_KEY

    def test_an_identity(self) -> None:
        me = {"issuer": "https://issuer", "identity": "me@example"}
        policy = Policy.from_mapping(changed("layout.owners", [me]))
        assert Policy.from_bytes(policy.to_toml().encode()) == policy
        assert refusal(changed("layout.owners", [me, me])).code is Code.POLICY_INVALID
        blank = changed("layout.owners", [me | {"identity": " "}])
        assert refusal(blank).code in {Code.POLICY_EMPTY, Code.POLICY_INVALID}

    def test_s3_an_identity_on_github_needs_its_source(self) -> None:
        me = {
            "issuer": GITHUB_ISSUER,
            "identity": "https://github.com/o/n/.github/workflows/own.yml@refs/tags/v1",
        }
        assert refusal(changed("layout.owners", [me])).code is Code.POLICY_INVALID
        Policy.from_mapping(changed("layout.owners", [me | {"github": GITHUB}]))
        assert refusal(changed("verifier", me | {"id": "https://v"})).code is Code.POLICY_INVALID
        Policy.from_mapping(changed("verifier", me | {"id": "https://v", "github": GITHUB}))


class TestGithubPreset:
    """Whom to trust has no default; what has one narrows that trust."""

    BUILDER = "o/.github/.github/workflows/build.yml@refs/tags/v1"

    def preset(self, **changes: Any) -> Policy:  # noqa: ANN401 - arguments of any type
        arguments: dict[str, Any] = {
            "repository": "owner/name",
            "workflow": "release.yml",
            "ref": "refs/tags/v1",
            "trusted_root": json.dumps(ROOT, indent=1),
            "owners": (Owner(keyid="aa" * 32, scheme="ed25519", public="bb" * 32),),
            "platform": PlatformName.AZURE_TRUSTED_LAUNCH,
        }
        return Policy.github(**(arguments | changes))

    def code(self, **changes: object) -> Code:
        with pytest.raises(PolicyError) as caught:
            self.preset(**changes)
        return caught.value.code

    def test_all_of_it_can_be_said(self) -> None:
        policy = self.preset(
            platform=PlatformName.QEMU_SWTPM,
            builder=self.BUILDER,
            name="demo",
            minimum_sequence=3,
            maximum_age_days=30,
            vtpm_roots=("cc" * 32,),
        )
        assert policy == Policy.from_mapping(TestGithub().signer())

    def test_the_workflow_itself_signs_unless_another_does(self) -> None:
        signer = self.preset().signer
        assert signer.identity == (
            "https://github.com/owner/name/.github/workflows/release.yml@refs/tags/v1"
        )
        assert signer.builder_id == signer.identity
        assert signer.issuer == GITHUB_ISSUER

    def test_the_example_of_the_readme(self, checkout: Path) -> None:
        blocks = (checkout / "README.md").read_text("utf-8").split("```python\n")
        (example,) = (block.partition("```")[0] for block in blocks if "Policy.github" in block)
        owner = Owner(keyid="aa" * 32, scheme="ed25519", public="bb" * 32)
        names: dict[str, Any] = {"blindllama": blindllama, "owner": owner}
        exec(example, names)  # noqa: S102 - our own page
        assert names["policy"].signer.github.ref == "refs/tags/v1.2.0"

    def test_what_has_a_default(self) -> None:
        policy = self.preset(platform="azure-trusted-launch")
        assert policy.release.name == "name"
        assert policy.release.minimum_sequence == 1
        assert policy.release.maximum_age_days == 90
        assert policy.vtpm.roots == (ROOT_2023.hex(),)

    @pytest.mark.parametrize(
        "argument", ["repository", "workflow", "ref", "trusted_root", "owners", "platform"]
    )
    def test_whom_to_trust_has_none(self, argument: str) -> None:
        parameter = inspect.signature(Policy.github).parameters[argument]
        assert parameter.default is inspect.Parameter.empty

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"repository": ""}, Code.POLICY_EMPTY),
            ({"repository": "", "name": "demo"}, Code.POLICY_INVALID),
            ({"workflow": ""}, Code.POLICY_INVALID),
            ({"ref": ""}, Code.POLICY_INVALID),
            ({"builder": ""}, Code.POLICY_INVALID),
            ({"trusted_root": ""}, Code.POLICY_EMPTY),
            ({"owners": ()}, Code.POLICY_EMPTY),
            ({"platform": ""}, Code.POLICY_INVALID),
            ({"name": ""}, Code.POLICY_EMPTY),
            ({"vtpm_roots": ()}, Code.POLICY_EMPTY),
            ({"minimum_sequence": 0}, Code.POLICY_INVALID),
            ({"maximum_age_days": 0}, Code.POLICY_INVALID),
        ],
    )
    def test_nothing_may_be_empty(self, changes: dict[str, object], code: Code) -> None:
        assert self.code(**changes) is code

    def test_a_simulation_has_no_root_of_its_own(self) -> None:
        assert self.code(platform=PlatformName.QEMU_SWTPM) is Code.POLICY_EMPTY

    def test_s6_the_public_root_is_the_installed_one(self) -> None:
        root = json.loads(self.preset(trusted_root=PUBLIC_GOOD).sigstore.trusted_root)
        uris = {authority["uri"] for authority in root["certificateAuthorities"]}
        assert uris == {"https://fulcio.sigstore.dev"}

    def test_a_trust_root_may_be_a_file(self, tmp_path: Path) -> None:
        path = tmp_path / "root.json"
        path.write_text(json.dumps(ROOT))
        assert self.preset(trusted_root=path).sigstore.trusted_root == json.dumps(ROOT)
        assert self.code(trusted_root=tmp_path / "none") is Code.POLICY_TRUST_ROOT


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


def test_a_policy_does_not_change() -> None:
    policy = Policy.from_mapping(parts())
    with pytest.raises(ValueError, match="frozen"):
        policy.debug_images = True  # type: ignore[misc] # the type says so too
