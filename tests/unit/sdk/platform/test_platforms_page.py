"""The sketch of another platform in docs/platforms.md fits the interface as it stands."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ObjectIdentifier

from blindllama._platform.azure import AZURE_TRUSTED_LAUNCH
from blindllama._platform.base import QUOTED_PCRS, Platform
from blindllama._tpm.structures import HashAlgorithm, SignatureScheme
from blindllama.errors import AttestationKeyError, Code
from blindllama.measurements import PlatformName
from tests.simulators.ak_authority import LEAF, new_root


def sketched(page: str) -> Platform:
    (block,) = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {
        "x509": x509,
        "ObjectIdentifier": ObjectIdentifier,
        "Platform": Platform,
        # The one name that does not exist yet.
        "PlatformName": SimpleNamespace(GCP_SHIELDED_VM=PlatformName.QEMU_SWTPM),
        "QUOTED_PCRS": QUOTED_PCRS,
        "SignatureScheme": SignatureScheme,
        "HashAlgorithm": HashAlgorithm,
        "AttestationKeyError": AttestationKeyError,
        "Code": Code,
    }
    exec(block, names)  # noqa: S102 - the page's own code
    platform = names["GCP_SHIELDED_VM"]
    assert isinstance(platform, Platform)
    return platform


def leaf(*extra: tuple[x509.ExtensionType, bool]) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return x509.load_der_x509_certificate(new_root().certify(key, replace(LEAF, extra=extra)))


def test_the_sketch_is_a_platform(checkout: Path) -> None:
    platform = sketched((checkout / "docs/platforms.md").read_text())
    assert platform.enforced == AZURE_TRUSTED_LAUNCH.enforced
    identity = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.11129.2.1.21"), b"\x30\x00")
    platform.check_leaf(leaf((identity, False)))
    with pytest.raises(AttestationKeyError) as caught:
        platform.check_leaf(leaf())
    assert caught.value.code is Code.AK_KEY
