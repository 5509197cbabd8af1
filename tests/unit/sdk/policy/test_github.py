from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest

import blindllama
from blindllama._platform.azure import ROOT_2023
from blindllama.errors import Code, PolicyError
from blindllama.measurements import PlatformName
from blindllama.policy import GITHUB_ISSUER, PUBLIC_GOOD, GithubSource, Owner, Policy
from tests.unit.sdk.policy.made import GITHUB, ROOT, changed, refusal


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


class TestForPlatform:
    def test_everything_but_the_machine_stays(self) -> None:
        here = Policy.from_mapping(changed("platform", "qemu-swtpm"))
        there = here.for_platform(PlatformName.AZURE_TRUSTED_LAUNCH)
        assert there.platform_name is PlatformName.AZURE_TRUSTED_LAUNCH
        assert there.vtpm.roots == (ROOT_2023.hex(),)
        kept = {"platform", "vtpm"}
        assert there.model_dump(exclude=kept) == here.model_dump(exclude=kept)
        assert Policy.from_bytes(there.to_toml().encode()) == there

    def test_a_simulation_has_no_root_that_is_known(self) -> None:
        there = Policy.from_mapping(changed("platform", "qemu-swtpm"))
        with pytest.raises(PolicyError) as caught:
            there.for_platform("qemu-swtpm")
        assert caught.value.code is Code.POLICY_EMPTY
