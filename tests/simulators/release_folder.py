"""A whole release folder whose disks are a few bytes long, signed by the local Sigstore."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from blindllama.measurements import PlatformMeasurements, measurements_file
from engine.target import RELEASE_MANIFEST
from supply_chain.attest.bill import DISKS, Bill, sdk_bill, sign_bills
from supply_chain.attest.signing import Signer, signer
from supply_chain.digest import Sha256, sha256_bytes
from supply_chain.progress import SilentProgress
from supply_chain.release import write_release
from tests.simulators.signed_release import (
    PLATFORMS,
    PRODUCTS,
    RELEASE_FILES,
    VTPM_ROOT,
    SignedRelease,
    make_signed_release,
)

WHEEL = sdk_bill("blindllama-1.0-py3-none-any.whl")
ENGINE_MANIFEST = b'{"kind":"gguf","name":"simulated"}\n'
"""What every machine can serve."""
Bundles = Callable[[Mapping[str, Path], Signer], Mapping[str, bytes]]


def honest_bills(files: Mapping[str, Path], signing: Signer) -> dict[str, bytes]:
    """The bundles of every bill of materials that is among the files."""
    bills = [bill for bill in (*DISKS, WHEEL) if bill.path in files]
    return sign_bills(bills, files=files, signer=signing)


def made_folder(
    root: Path,
    *,
    bundles: Bundles = honest_bills,
    more: Mapping[str, bytes] | None = None,
    measurements: Mapping[str, PlatformMeasurements] = PLATFORMS,
    vtpm_roots: Sequence[Sha256] = (VTPM_ROOT,),
    engine_manifest: bytes = ENGINE_MANIFEST,
) -> SignedRelease:
    """Write `release/` and `policy.toml` into a directory; return what they were made from.

    Args:
        root: The directory.
        bundles: Makes the bundles beside those that every client verifies.
        more: Contents of further files, or other contents, by path in the release.
        measurements: Expected PCRs by platform.
        vtpm_roots: Fingerprints for the policy.
        engine_manifest: What its engine says about itself.
    """
    contents = {path: (product or path).encode() for path, product in RELEASE_FILES.items()}
    contents["measurements.json"] = measurements_file(debug=False, platforms=measurements)
    contents[RELEASE_MANIFEST] = engine_manifest
    contents |= {bill.path: bill_of(bill) for bill in DISKS}
    products = {name: sha256_bytes(name.encode()) for name in PRODUCTS}
    products |= {
        product: sha256_bytes(contents[path]) for path, product in RELEASE_FILES.items() if product
    }
    files = {}
    for path, content in {**contents, **(more or {})}.items():
        files[path] = root / "made" / path
        files[path].parent.mkdir(parents=True, exist_ok=True)
        files[path].write_bytes(content)
    made = make_signed_release(
        root / "state", products=products, measurements=measurements, vtpm_roots=vtpm_roots
    )
    with signer(root / "state") as signing:
        write_release(
            root / "release",
            files=files,
            chain=made.chain,
            index=made.index,
            sign=signing.sign_statement,
            progress=SilentProgress(),
            more=bundles(files, signing),
        )
    (root / "policy.toml").write_text(made.policy_toml)
    return made


def bill_of(bill: Bill) -> bytes:
    """The content of a bill of materials: about nothing, but JSON."""
    return json.dumps({"bomFormat": "CycloneDX", "about": bill.subject}, indent=1).encode()
