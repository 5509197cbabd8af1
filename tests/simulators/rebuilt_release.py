"""A whole release folder that wants two functionaries, and rebuilders of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from blindllama.measurements import measurements_file
from blindllama.policy import Policy
from supply_chain.attest.rebuild import (
    LOCAL_REBUILDER,
    RebuiltRelease,
    RebuiltStep,
    rebuild_statement,
    sign_rebuild,
)
from supply_chain.attest.signing import signer
from supply_chain.attest.summary import LOCAL_VERIFIER
from supply_chain.claimed import read_claim
from supply_chain.digest import sha256_bytes
from supply_chain.progress import SilentProgress
from supply_chain.rebuilds import Added, add_rebuild, write_rebuild
from supply_chain.release import EVIDENCE, write_release
from tests.simulators.signed_release import (
    PLATFORMS,
    PRODUCTS,
    RELEASE_FILES,
    Hooks,
    SignedRelease,
    make_signed_release,
)

if TYPE_CHECKING:
    from pathlib import Path

STEPS = ("engine", "app-disk", "os-image")


class Bench:
    """A release that wants two functionaries, and rebuilders of it."""

    def __init__(self, root: Path) -> None:
        root.mkdir(exist_ok=True)
        self.root = root
        self.state = root / "state"
        files = {}
        for path, product in RELEASE_FILES.items():
            files[path] = root / "made" / path
            files[path].parent.mkdir(exist_ok=True)
            files[path].write_bytes((product or path).encode())
        files["measurements.json"].write_bytes(measurements_file(debug=False, platforms=PLATFORMS))
        two = Hooks(
            steps=lambda steps: [
                replace(step, threshold=2 if step.name in STEPS else 1) for step in steps
            ]
        )
        self.made: SignedRelease = make_signed_release(
            self.state,
            products={name: sha256_bytes(name.encode()) for name in PRODUCTS},
            rebuilders=[LOCAL_REBUILDER],
            hooks=two,
        )
        with signer(self.state) as builder:
            write_release(
                root / "release",
                files=files,
                chain=self.made.chain,
                index=self.made.index,
                sign=builder.sign_statement,
                progress=SilentProgress(),
            )
        self.claim = read_claim((root / "release" / EVIDENCE).read_bytes())

    def rebuild(
        self,
        folder: Path,
        *,
        steps: tuple[str, ...] = STEPS,
        who: str = LOCAL_REBUILDER,
        sequence: int = 1,
        evil: str = "",
        state: Path | None = None,
    ) -> Path:
        """A signed rebuild, of another release or with other bytes where that is wanted."""
        made = [
            RebuiltStep(
                name=name,
                materials=self.claim.steps[name].materials,
                products={
                    product: sha256_bytes(b"evil") if product == evil else digest
                    for product, digest in self.claim.steps[name].products.items()
                },
            )
            for name in steps
        ]
        statement = rebuild_statement(
            made,
            release=RebuiltRelease(
                name=self.claim.name, sequence=sequence, layout=self.claim.layout
            ),
            environment={"zone": "Pacific/Chatham"},
            started=self.made.now,
            finished=self.made.now,
        )
        with signer(state or self.state, identity=who) as found:
            write_rebuild(folder, sign_rebuild(made, statement=statement, signer=found))
        return folder

    def add(self, rebuild: Path, release: Path) -> Added:
        return add_rebuild(rebuild, release, self.made.policy.sigstore.trusted_root)

    def policy_with_verifier(self) -> Policy:
        document = self.made.policy.model_dump(exclude_none=True)
        with signer(self.state, identity=LOCAL_VERIFIER) as found:
            who = {"issuer": found.authority.issuer, "identity": LOCAL_VERIFIER}
        return Policy.from_mapping(document | {"verifier": who | {"id": LOCAL_VERIFIER}})
