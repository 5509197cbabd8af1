from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from blindllama.errors import Code
from blindllama.policy import GITHUB_ISSUER, Policy
from tests.unit.sdk.policy.made import GITHUB, changed, refusal


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

    def test_a_key_of_a_kind_that_nobody_knows(self) -> None:
        der = bytes.fromhex("300b300506032a030403020001")  # of the algorithm 1.2.3.4
        body = base64.b64encode(der).decode()
        public = f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n"
        error = refusal(self.owner("rsassa-pss-sha256", public))
        assert error.code is Code.POLICY_OWNER_KEY

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
