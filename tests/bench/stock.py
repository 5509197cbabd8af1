"""What a verification costs beside what a user would take instead: cosign."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blindllama.release import verify_release
from supply_chain.errors import BuildError
from supply_chain.local_sigstore.oidc import ISSUER
from supply_chain.progress import ConsoleProgress
from supply_chain.workspace import Workspace
from tests.bench.paired import Bench, NotMeasuredError, timed
from tests.conformance.corpus import read_document
from tests.conformance.vector import read_case
from tests.simulators.cosign import ROOT, cosign, fetch_cosign
from tests.simulators.release_folder import made_folder

VERSION = "3"


@contextmanager
def cosigned() -> Iterator[Bench]:
    """Checks 1 to 9 (ten bundles, a quote with its chain), against cosign verifying one bundle."""
    cache = Workspace.at(ROOT, os.environ).cache
    try:
        fetch_cosign(VERSION, cache, environ=os.environ, progress=ConsoleProgress())
    except BuildError as exc:
        raise NotMeasuredError("It compares with cosign, which cannot be had here.") from exc
    case, document = read_case(), read_document("alone")
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        made = made_folder(home)
        root = home / "trusted_root.json"
        root.write_text(made.policy.sigstore.trusted_root, "utf-8")
        argv = [
            *(str(cosign(VERSION, cache)), "verify-blob-attestation"),
            f"--bundle={home / 'release/bundles/engine.provenance.sigstore.json'}",
            f"--trusted-root={root}",
            f"--certificate-identity={made.policy.signer.identity}",
            f"--certificate-oidc-issuer={ISSUER}",
            *("--type=slsaprovenance1", str(home / "release/engine-manifest.json")),
        ]

        def ours() -> None:
            verify_release(made.evidence, made.policy, made.now)
            case.verify(document)

        def theirs() -> None:
            subprocess.run(
                argv,
                check=True,
                env={"HOME": name, "PATH": "/usr/bin:/bin"},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

        yield Bench(
            name="release and evidence, warm and offline, against one run of cosign "
            "verify-blob-attestation",
            subject=timed(ours),
            baseline=timed(theirs),
            at_most_ratio=1.0,
        )
