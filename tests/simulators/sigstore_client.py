"""Clients of the local Sigstore: plain HTTP, and sigstore-python's verifier for a trusted root."""

from __future__ import annotations

import json
from dataclasses import dataclass

import requests
from sigstore.models import TrustedRoot
from sigstore.verify import Verifier, policy
from sigstore_models.trustroot.v1 import TrustedRoot as TrustedRootMessage

from supply_chain.local_sigstore.oidc import ISSUER

IDENTITY = "https://blindllama.dev/test/builder"
STATEMENT = json.dumps(
    {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "disk", "digest": {"sha256": "ab" * 32}}],
        "predicateType": "https://blindllama.dev/test/v1",
        "predicate": {"count": 1},
    }
).encode()


@dataclass(frozen=True)
class Client:
    """Plain HTTP to the instance, without the sigstore library."""

    url: str

    def get(self, path: str) -> requests.Response:
        return requests.get(self.url + path, timeout=10)

    def post(self, path: str, data: bytes | dict[str, str], **headers: str) -> requests.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return requests.post(self.url + path, data=data, headers=named, timeout=10)

    def post_json(self, path: str, document: object, **headers: str) -> requests.Response:
        return self.post(path, json.dumps(document).encode(), **headers)


def verifier_of(trusted_root_json: str) -> Verifier:
    """Stock verification with this trusted root and nothing else."""
    return Verifier(trusted_root=TrustedRoot(TrustedRootMessage.from_json(trusted_root_json)))


def by(identity: str = IDENTITY) -> policy.Identity:
    """The demand that this identity of the local issuer has signed."""
    return policy.Identity(identity=identity, issuer=ISSUER)
