"""What is checked before a rebuild and after it; the rebuild itself is in tests/e2e."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from building_site import SOURCES, Site, read_site, source_files
from disk.erofs import build_erofs
from disk.gpt import LINUX_DATA_TYPE, Partition, write_gpt
from pipeline import chosen_steps, declared_steps
from reproduce.confirm import read_rebuildable, require_equal
from reproduce.differences import FOLDER, REPORT
from reproduce.rebuild import Rebuild, lay_sources
from reproduce.thresholds import awaited, require_none_awaited
from supply_chain.attest.config import Thresholds
from supply_chain.attest.rebuild import RebuiltStep
from supply_chain.claimed import Claim, ClaimedStep
from supply_chain.digest import sha256_bytes, sha256_file
from supply_chain.errors import BuildError, NotReproducibleError
from supply_chain.inputs.tree import Tree
from supply_chain.progress import SilentProgress
from supply_chain.step import StepResult
from supply_chain.workspace import EPOCH, Workspace
from tests.simulators.rebuilt_release import Bench
from tests.unit.reproduce.test_inside import IDENTITY

NOW = datetime(2026, 5, 4, tzinfo=UTC)


def claim_of(products: dict[str, bytes], files: dict[str, bytes] | None = None) -> Claim:
    """A claim about one step, `engine`, with these products."""
    return Claim(
        name="a-release",
        sequence=3,
        layout=sha256_bytes(b"layout"),
        functionaries={"engine": frozenset({"a", "b"})},
        thresholds={"engine": 2},
        steps={
            "engine": ClaimedStep(
                materials={},
                products={f"engine/{k}": sha256_bytes(v) for k, v in products.items()},
                parameters={},
                invocation="",
            )
        },
        files={name: sha256_bytes(data) for name, data in (files or {}).items()},
        document={"links": []},
    )


def rebuild_of(folder: Path, products: dict[str, bytes]) -> Rebuild:
    (folder / "engine").mkdir(parents=True)
    for name, data in products.items():
        (folder / "engine" / name).write_bytes(data)
    made = {f"engine/{name}": sha256_bytes(data) for name, data in products.items()}
    step = RebuiltStep(name="engine", materials={}, products=made)
    return Rebuild(steps=(step,), folder=folder, environment={}, started=NOW, finished=NOW)


@pytest.fixture
def site(checkout: Path, tmp_path: Path) -> Site:
    """The checkout's site, with results and state elsewhere."""
    real = read_site(checkout, environ={}, progress=SilentProgress(), clock=lambda: NOW)
    cache = Workspace.at(checkout, os.environ).cache
    (tmp_path / "place").mkdir()
    return dataclasses.replace(real, workspace=Workspace(root=tmp_path / "place", cache=cache))


class TestSources:
    FILES = {f"{SOURCES}lock.toml": b"lock", f"{SOURCES}engine/engine.toml": b"engine"}  # noqa: RUF012 - read only

    def test_of_a_release_take_the_place_of_the_checkouts(self, tmp_path: Path) -> None:
        claim = claim_of({}, self.FILES)
        for name, data in self.FILES.items():
            (tmp_path / "release" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "release" / name).write_bytes(data)
        copy = tmp_path / "copy"
        copy.mkdir()
        (copy / "lock.toml").write_bytes(b"newer lock")
        lay_sources(copy, claim, tmp_path / "release")
        assert (copy / "lock.toml").read_bytes() == b"lock"
        assert (copy / "engine" / "engine.toml").read_bytes() == b"engine"

    def test_without_the_folder_the_checkouts_must_be_the_same(self, tmp_path: Path) -> None:
        claim = claim_of({}, self.FILES)
        (tmp_path / "engine").mkdir()
        (tmp_path / "lock.toml").write_bytes(b"lock")
        with pytest.raises(BuildError, match=r"engine/engine.toml is not .*got no such file; give"):
            lay_sources(tmp_path, claim, None)
        (tmp_path / "engine" / "engine.toml").write_bytes(b"engine")
        lay_sources(tmp_path, claim, None)
        (tmp_path / "lock.toml").write_bytes(b"newer lock")
        with pytest.raises(BuildError, match=r"lock.toml is not the one .* check out its source"):
            lay_sources(tmp_path, claim, None)

    def test_that_the_release_does_not_name(self, tmp_path: Path) -> None:
        with pytest.raises(BuildError, match="does not say which lock"):
            lay_sources(tmp_path, claim_of({}, {"os.img": b""}), None)

    def test_do_not_leave_the_copy(self, tmp_path: Path) -> None:
        (tmp_path / "copy").mkdir()
        evil = claim_of({}, {f"{SOURCES}../outside": b"evil"})
        with pytest.raises(BuildError, match="expected a place in the checkout"):
            lay_sources(tmp_path / "copy", evil, tmp_path)
        assert not (tmp_path / "outside").exists()

    def test_are_the_lock_and_all_specifications(self, checkout: Path) -> None:
        site = read_site(checkout, environ={}, progress=SilentProgress(), clock=lambda: NOW)
        named = source_files(site)
        assert {
            f"{SOURCES}inputs.lock.toml",
            f"{SOURCES}engine/engine.toml",
            f"{SOURCES}os_image/os-image.toml",
        } < named.keys()
        assert any(name.endswith(".yaml") for name in named)


class TestEqual:
    def test_equal_products_leave_nothing(self, site: Site, tmp_path: Path) -> None:
        made = rebuild_of(tmp_path / "made", {"a": b"1"})
        require_equal(site, claim_of({"a": b"1"}), made, release=None)
        assert not (site.workspace.dist / FOLDER).exists()

    @pytest.mark.parametrize(
        ("claimed", "made", "said"),
        [
            (b"1", {"a": b"2"}, "engine/a: at byte 0: release b'1', rebuild b'2'"),
            (b"1", {}, "engine/a: in the release, and not in the rebuild"),
            (b"1", {"a": b"1", "b": b""}, "engine/b: in the rebuild, and not in the release"),
        ],
    )
    def test_a_difference_is_named_and_kept(
        self, site: Site, tmp_path: Path, claimed: bytes, made: dict[str, bytes], said: str
    ) -> None:
        own = site.workspace.build / "engine" / "a"
        own.parent.mkdir(parents=True)
        own.write_bytes(claimed)
        rebuild = rebuild_of(tmp_path / "made", made)
        with pytest.raises(NotReproducibleError) as caught:
            require_equal(site, claim_of({"a": claimed}), rebuild, release=None)
        assert said in str(caught.value)
        assert "nothing was signed" in str(caught.value)
        kept = site.workspace.dist / FOLDER
        assert said in (kept / REPORT).read_text()
        assert {p.relative_to(kept).as_posix() for p in kept.rglob("*") if p.is_file()} == {
            REPORT,
            *(f"engine/{k}" for k, v in made.items() if v != claimed),
        }

    def test_without_the_releases_file_the_digests_are_said(
        self, site: Site, tmp_path: Path
    ) -> None:
        made = rebuild_of(tmp_path / "made", {"a": b"2"})
        with pytest.raises(NotReproducibleError, match=str(sha256_bytes(b"1"))):
            require_equal(site, claim_of({"a": b"1"}), made, release=None)

    @pytest.mark.root
    def test_the_file_inside_a_disk_of_the_release_is_named(
        self, site: Site, tmp_path: Path, tools: Tree
    ) -> None:
        """One changed file in an app disk, found from the release's folder."""
        disks = {}
        for name, content in (("release", b"1.0\n"), ("rebuild", b"1.1\n")):
            root = tmp_path / name / "root"
            (root / "manifests").mkdir(parents=True)
            (root / "manifests" / "app.yaml").write_bytes(b"image: " + content)
            image = tmp_path / name / "erofs"
            build_erofs(root, image, tools=tools, uuid=IDENTITY, epoch=EPOCH)
            part = Partition(name="app", type_guid=LINUX_DATA_TYPE, guid=IDENTITY, source=image)
            write_gpt(tmp_path / name / "app.img", [part], IDENTITY)
            disks[name] = (tmp_path / name / "app.img").read_bytes()
        claim = claim_of({"app.img": disks["release"]}, {"app.img": disks["release"]})
        made = rebuild_of(tmp_path / "made", {"app.img": disks["rebuild"]})
        said = re.escape("engine/app.img › partition app › manifests/app.yaml: at byte 9: release")
        with pytest.raises(NotReproducibleError, match=said):
            require_equal(site, claim, made, release=tmp_path / "release")
        kept = site.workspace.dist / FOLDER / "engine" / "app.img"
        assert sha256_file(kept) == sha256_bytes(disks["rebuild"])


class TestThresholds:
    def claim(self, *signers: str) -> Claim:
        payload = base64.b64encode(json.dumps({"name": "engine"}).encode()).decode()
        links = [{"payload": payload, "signatures": [{"keyid": keyid}]} for keyid in signers]
        return dataclasses.replace(claim_of({"a": b"1"}), document={"links": links})

    @pytest.mark.parametrize(
        ("signers", "wanted", "missing"),
        [
            ((), 1, ["engine"]),
            (("a",), 1, []),
            (("a",), 2, ["engine"]),
            (("a", "a"), 2, ["engine"]),
            (("a", "b"), 2, []),
        ],
    )
    def test_who_is_awaited(
        self, signers: tuple[str, ...], wanted: int, missing: list[str]
    ) -> None:
        claim = dataclasses.replace(self.claim(*signers), thresholds={"engine": wanted})
        assert awaited(claim) == missing

    def test_without_a_release_nobody_is_awaited(self, site: Site) -> None:
        require_none_awaited(site, {})

    @pytest.fixture
    def waiting(
        self, site: Site, checkout: Path, tmp_path: Path
    ) -> tuple[Site, Bench, dict[str, StepResult]]:
        """A signed release that wants two functionaries, and the steps that it was made of."""
        bench = Bench(tmp_path / "bench")
        site.workspace.dist.mkdir()
        (bench.root / "release").rename(site.workspace.release)
        thresholds = Thresholds.model_validate({"engine": 2, "app-disk": 2, "os-image": 2})
        chain = site.chain.model_copy(update={"thresholds": thresholds})
        there = read_site(checkout, environ={}, progress=SilentProgress(), clock=lambda: NOW)
        steps = {step.name: step for step in declared_steps(there)}
        results = {
            name: StepResult(
                step=steps[name],
                folder=site.workspace.build / name,
                key=sha256_bytes(b"key"),
                materials=claimed.materials,
                products=claimed.products,
                started=NOW,
                finished=NOW,
                rebuilt=False,
            )
            for name, claimed in bench.claim.steps.items()
        }
        return dataclasses.replace(site, chain=chain), bench, results

    def test_others_are_awaited_until_their_links_are_there(
        self, waiting: tuple[Site, Bench, dict[str, StepResult]], tmp_path: Path
    ) -> None:
        site, bench, results = waiting
        with pytest.raises(BuildError) as caught:
            require_none_awaited(site, results)
        said = str(caught.value)
        assert "./do invoke reproduce --only engine --only app-disk --only os-image" in said
        assert f"./do invoke chain.add REBUILD {site.workspace.release}" in said
        bench.add(bench.rebuild(tmp_path / "one", steps=("engine",)), site.workspace.release)
        with pytest.raises(BuildError, match="waits for rebuilders of app-disk, os-image;"):
            require_none_awaited(site, results)
        bench.add(bench.rebuild(tmp_path / "all"), site.workspace.release)
        require_none_awaited(site, results)

    def test_nobody_is_awaited_under_thresholds_that_are_not_wanted_any_more(
        self, waiting: tuple[Site, Bench, dict[str, StepResult]]
    ) -> None:
        site, _, results = waiting
        other = Thresholds.model_validate({"engine": 1, "app-disk": 2, "os-image": 2})
        chain = site.chain.model_copy(update={"thresholds": other})
        require_none_awaited(dataclasses.replace(site, chain=chain), results)

    def test_nobody_is_awaited_for_what_is_not_built_any_more(
        self, waiting: tuple[Site, Bench, dict[str, StepResult]]
    ) -> None:
        site, _, results = waiting
        engine = dataclasses.replace(
            results["engine"], products={"engine/model.gguf": sha256_bytes(b"newer")}
        )
        require_none_awaited(site, results | {"engine": engine})


class TestSteps:
    @pytest.fixture
    def names(self, checkout: Path) -> dict[str, tuple[str, ...]]:
        site = read_site(checkout, environ={}, progress=SilentProgress(), clock=lambda: NOW)
        steps = declared_steps(site)
        return {
            only: tuple(step.name for step in chosen_steps(steps, [only] if only else []))
            for only in ("", "engine", "app-disk", "os-image", "measure")
        }

    def test_bring_what_they_need(self, names: dict[str, tuple[str, ...]]) -> None:
        everything = ("engine", "app-disk", "os-image", "measure")
        assert names == {
            "": everything,
            "engine": ("engine",),
            "app-disk": ("engine", "app-disk"),
            "os-image": ("os-image",),
            "measure": everything,
        }

    def test_of_another_name(self, checkout: Path) -> None:
        site = read_site(checkout, environ={}, progress=SilentProgress(), clock=lambda: NOW)
        with pytest.raises(BuildError, match="step: expected one of engine, .*, got kernel"):
            chosen_steps(declared_steps(site), ["kernel"])


@pytest.mark.parametrize("content", [None, b"{}", b"\xff"])
def test_what_is_no_release(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "evidence.json"
    if content is not None:
        path.write_bytes(content)
    said = "expected a release folder" if content is None else "not the evidence of a release"
    with pytest.raises(BuildError, match=said):
        read_rebuildable(path)
    with pytest.raises(BuildError, match="is not a release"):
        read_rebuildable(tmp_path)
