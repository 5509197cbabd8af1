from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from blindllama.measurements import PlatformName, measurements_file
from blindllama.policy import Policy
from blindllama.release import VerifiedRelease, verify_release
from supply_chain.attest.chain import LayoutPlan, Measured, SignedChain, sign_chain
from supply_chain.attest.owner import owner_key
from supply_chain.attest.signing import Signer, signer
from supply_chain.attest.statement import ReleaseIndexPredicate
from supply_chain.digest import Sha256, sha256_bytes, sha256_file
from supply_chain.errors import DigestMismatchError
from supply_chain.progress import SilentProgress
from supply_chain.release import (
    EVIDENCE,
    INDEX,
    UNINDEXED,
    ReleaseError,
    ReleaseFolder,
    read_release,
    release_policy,
    verify_folder,
    write_policy,
    write_release,
)
from supply_chain.step import Step, StepResult, run_step
from tests.simulators.signed_release import PLATFORMS

PRODUCTS = {
    "engine": ("model.gguf", "manifest.json"),
    "app-disk": ("app.img", "app-disk.json"),
    "os-image": ("os.img", "uki.efi", "os-image.json"),
    "measure": ("measurements.json",),
}
AFTER = {"engine": (), "app-disk": ("engine",), "os-image": (), "measure": ("app-disk", "os-image")}
FILES = {
    "os.img": "os-image/os.img",
    "app.img": "app-disk/app.img",
    "engine-manifest.json": "engine/manifest.json",
    "measurements.json": "measure/measurements.json",
}
NOW = datetime.now(UTC).replace(microsecond=0)

pytestmark = pytest.mark.root  # steps are built without a network
INDEX_PREDICATE = ReleaseIndexPredicate(
    name="demo", sequence=4, created=NOW, expires=NOW + timedelta(days=30)
)


def content(product: str) -> bytes:
    """What a step writes: the measuring one the values that are signed, others anything."""
    if product == FILES["measurements.json"]:
        return measurements_file(debug=False, platforms=PLATFORMS)
    return product.encode() * 1000


class Made:
    """A release that real steps made and the local Sigstore signed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.build = root / "build"
        self.results = self._run()
        with signer(root / "state") as found:
            self.chain = self._chain(found)
            self.policy = release_policy(
                index=INDEX_PREDICATE,
                platform=PlatformName.QEMU_SWTPM,
                authority=found.authority,
                owners=[owner_key(root / "state")],
                vtpm_roots=[sha256_bytes(b"root")],
            )

    def _run(self) -> dict[str, StepResult]:
        results: dict[str, StepResult] = {}
        for name, products in PRODUCTS.items():

            def build(folder: Path, name: str = name, products: tuple[str, ...] = products) -> None:
                for product in products:
                    (folder / product).write_bytes(content(f"{name}/{product}"))

            step = Step(
                name=name,
                inputs={"wheel": sha256_bytes(b"wheel")},
                after=AFTER[name],
                products=products,
                code={},
                parameters={"flavour": "test"},
                build=build,
            )
            results[name] = run_step(
                step, earlier=results, build_root=self.build, clock=lambda: NOW
            )
        return results

    def _chain(self, found: Signer) -> SignedChain:
        return sign_chain(
            list(self.results.values()),
            measured=Measured(
                subjects=("os-image/os.img", "app-disk/app.img"), debug=False, platforms=PLATFORMS
            ),
            sequence=INDEX_PREDICATE.sequence,
            signer=found,
            plan=LayoutPlan(
                owners=[owner_key(self.root / "state")], expires=NOW + timedelta(days=365)
            ),
            progress=SilentProgress(),
        )

    def write(self, folder: Path) -> ReleaseFolder:
        with signer(self.root / "state") as found:
            return write_release(
                folder,
                files={name: self.build / product for name, product in FILES.items()},
                chain=self.chain,
                index=INDEX_PREDICATE,
                sign=found.sign_statement,
                progress=SilentProgress(),
            )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("made"))


@pytest.fixture
def release(made: Made, tmp_path: Path) -> ReleaseFolder:
    return made.write(tmp_path / "dist" / "release")


def verified(made: Made, release: ReleaseFolder) -> VerifiedRelease:
    return verify_release(release.evidence, made.policy, NOW)


def test_what_is_written_verifies(made: Made, release: ReleaseFolder) -> None:
    outcome = verified(made, release)
    assert (outcome.name, outcome.sequence) == ("demo", 4)
    assert outcome.artifacts["os-image/os.img"] == sha256_file(release.path / "os.img").hex
    verify_folder(release.path, outcome)


def test_the_folder_holds_what_is_promised(release: ReleaseFolder) -> None:
    there = {
        path.relative_to(release.path).as_posix()
        for path in release.path.rglob("*")
        if path.is_file()
    }
    steps = set(PRODUCTS)
    assert {name for name in there if name.startswith("bundles/")} == {
        "bundles/index.sigstore.json",
        "bundles/measurements.sigstore.json",
        *(f"bundles/{step}.provenance.sigstore.json" for step in steps),
    }
    assert {
        name.split("/")[1].split(".")[0] for name in there if name.startswith("links/")
    } == steps
    assert there - {n for n in there if "/" in n} == {*FILES, "root.layout", INDEX, EVIDENCE}


def test_the_listing_has_digests_and_sizes(release: ReleaseFolder) -> None:
    listing = json.loads((release.path / INDEX).read_text())
    assert listing["sequence"] == 4
    assert listing["created"] == NOW.strftime("%Y-%m-%dT%H:%M:%SZ")
    paths = [entry["path"] for entry in listing["files"]]
    assert paths == sorted(paths)
    assert not UNINDEXED & set(paths)
    for entry in listing["files"]:
        path = release.path / entry["path"]
        assert entry["size"] == path.stat().st_size
        assert entry["sha256"] == sha256_file(path).hex


def test_reading_gives_what_was_written(release: ReleaseFolder) -> None:
    assert read_release(release.path) == release


def test_the_evidence_holds_no_disk(release: ReleaseFolder) -> None:
    assert len(release.evidence) < 200_000


def test_an_older_release_stays_until_the_new_one_is_whole(
    made: Made, release: ReleaseFolder
) -> None:
    before = sorted(path.name for path in release.path.parent.iterdir())
    with pytest.raises(FileNotFoundError), signer(made.root / "state") as found:
        write_release(
            release.path,
            files={"os.img": made.root / "absent"},
            chain=made.chain,
            index=INDEX_PREDICATE,
            sign=found.sign_statement,
            progress=SilentProgress(),
        )
    assert sorted(path.name for path in release.path.parent.iterdir()) == before
    verify_folder(release.path, verified(made, release))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["os.img", "app.img", "engine-manifest.json", "root.layout"])
def test_a_flipped_bit_is_found(made: Made, release: ReleaseFolder, name: str) -> None:
    outcome = verified(made, release)
    flip(release.path / name)
    with pytest.raises(DigestMismatchError) as caught:
        verify_folder(release.path, outcome)
    assert caught.value.code == "build.digest_mismatch"


def link_out(folder: Path) -> None:
    target = folder.parent / "elsewhere"
    (folder / "os.img").rename(target)
    (folder / "os.img").symlink_to(target)


def relist(folder: Path) -> None:
    listing = json.loads((folder / INDEX).read_text())
    listing["files"][0]["sha256"] = "00" * 32
    (folder / INDEX).write_text(json.dumps(listing))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "os.img").unlink(),
        lambda folder: (folder / "extra").write_text("extra"),
        lambda folder: (folder / "links" / "more.link").write_text("{}"),
        lambda folder: (folder / "loop").symlink_to(folder),
        link_out,
        relist,
        lambda folder: (folder / EVIDENCE).unlink(),
    ],
)
def test_a_folder_that_is_not_the_release(
    made: Made, release: ReleaseFolder, spoil: Callable[[Path], object]
) -> None:
    outcome = verified(made, release)
    spoil(release.path)
    with pytest.raises(ReleaseError) as caught:
        verify_folder(release.path, outcome)
    assert caught.value.code == "build.release"


@pytest.mark.parametrize(
    "path", ["../os.img", "/etc/passwd", "a/../b", "./a", "a//b", "a\\b", "", "a/"]
)
def test_a_listing_names_files_of_the_folder_only(release: ReleaseFolder, path: str) -> None:
    listing = json.loads((release.path / INDEX).read_text())
    listing["files"][0]["path"] = path
    (release.path / INDEX).write_text(json.dumps(listing))
    with pytest.raises(ReleaseError):
        read_release(release.path)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="is not a release"):
        read_release(tmp_path)


def test_the_policy_reads_back(made: Made, tmp_path: Path) -> None:
    path = tmp_path / "dist" / "policy.toml"
    write_policy(path, made.policy)
    assert Policy.local(path.parent) == made.policy
    assert made.policy.release.minimum_sequence == INDEX_PREDICATE.sequence
    assert made.policy.vtpm.roots == (sha256_bytes(b"root").hex,)


def test_digests_are_those_of_the_steps(made: Made) -> None:
    products: dict[str, Sha256] = {}
    for result in made.results.values():
        products.update(result.products)
    assert {sha256_file(made.build / name) for name in products} == set(products.values())
