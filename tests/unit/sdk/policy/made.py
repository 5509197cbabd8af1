"""An honest policy and ways to spoil it."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from blindllama.errors import PolicyError
from blindllama.policy import Policy

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
