"""What .github must be, whatever a linter of its day says: pinned, least privileged, runnable."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nox
import pytest
import yaml

from tests.docs.commands import check, commands_in

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+(\.\d+)*")
IMAGE = re.compile(r"(debian:[a-z]+-slim|python:3\.\d+-slim-[a-z]+)@sha256:[0-9a-f]{64}")
CALLED = "./.github/workflows/build.yml"
WRITES = {
    ("build", "build", "id-token"),
    ("release", "build", "id-token"),
    ("release", "publish", "contents"),
    ("release", "publish-client", "id-token"),
    ("reproduce", "rebuild", "id-token"),
    ("reproduce", "tell", "contents"),
    ("reproduce", "tell", "issues"),
}
"""Every right to write that a job has: one more is a decision, made here."""

Workflow = dict[Any, Any]


def read(path: Path) -> Workflow:
    found = yaml.safe_load(path.read_text("utf-8"))
    assert isinstance(found, dict)
    return found


def steps(workflow: Workflow) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, job in workflow["jobs"].items():
        for step in job.get("steps", ()):
            yield name, step


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    found = request.param
    assert isinstance(found, Path)
    return found


def test_all_of_them_are_looked_at() -> None:
    names = {path.stem for path in WORKFLOWS}
    assert names == {"build", "ci", "conformance", "release", "reproduce"}


def test_every_action_is_pinned_by_commit_and_named_by_version(path: Path) -> None:
    used = re.findall(r"uses: *(.+)", path.read_text("utf-8"))
    for action in used:
        assert action.startswith(CALLED) or PINNED.fullmatch(action), action
    # One commit for each action, everywhere.
    commits = re.findall(r"uses: *(\S+)@(\S+)", "".join(p.read_text("utf-8") for p in WORKFLOWS))
    assert len({name for name, _ in commits}) == len(set(commits))


def test_every_image_is_named_by_digest(path: Path) -> None:
    for job in read(path)["jobs"].values():
        for image in images(job):
            assert IMAGE.fullmatch(image), image


def images(job: dict[str, Any]) -> list[str]:
    """The images that a job runs in, one for each entry of its matrix where that names them."""
    image = job.get("container", {}).get("image")
    if image == "${{ matrix.image }}":
        return [entry["image"] for entry in job["strategy"]["matrix"]["include"]]
    return [] if image is None else [image]


def test_the_whole_unit_set_runs_on_every_python_of_the_client() -> None:
    """Debian 13's own Python is 3.13; the others are asked for by name, which an image must have."""
    jobs = read(ROOT / ".github/workflows/ci.yml")["jobs"]
    asked = {entry["python"] for entry in jobs["unit"]["strategy"]["matrix"]["include"]}
    assert "unit" in jobs["check"]["strategy"]["matrix"]["session"]
    assert jobs["check"]["container"]["image"].startswith("debian:trixie-slim@")
    assert asked | {"3.13"} == set(jobs["client"]["strategy"]["matrix"]["python"])
    step = next(step for step in jobs["unit"]["steps"] if "env" in step)
    assert step["env"] == {"PYTHON": "python${{ matrix.python }}"}
    assert step["run"] == "./do nox -s unit"


def test_nothing_is_allowed_but_what_a_job_says(path: Path) -> None:
    workflow = read(path)
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert isinstance(job["permissions"], dict)


def test_who_may_write() -> None:
    found = {
        (path.stem, name, scope)
        for path in WORKFLOWS
        for name, job in read(path)["jobs"].items()
        for scope, right in job["permissions"].items()
        if right != "read"
    }
    assert found == WRITES


def test_no_credentials_stay_in_a_checkout(path: Path) -> None:
    for _, step in steps(read(path)):
        if "actions/checkout@" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False


def test_nothing_of_another_run_gets_into_a_release(path: Path) -> None:
    text = path.read_text("utf-8")
    assert "actions/cache" not in text
    assert "pull_request_target" not in text
    for _, step in steps(read(path)):
        assert "cache" not in step.get("with", {})


def test_no_expression_is_part_of_a_script(path: Path) -> None:
    """What somebody else may name, a branch, say, reaches a shell as a variable or not at all."""
    for _, step in steps(read(path)):
        assert "${{" not in step.get("run", "")


def test_every_job_ends(path: Path) -> None:
    for job in read(path)["jobs"].values():
        assert "timeout-minutes" in job or "uses" in job


def test_every_command_exists(path: Path) -> None:
    workflow = read(path)
    for name, step in steps(workflow):
        sessions = workflow["jobs"][name].get("strategy", {}).get("matrix", {}).get("session", [""])
        for session in sessions:
            for command in commands_in(step.get("run", "").replace('"$SESSION"', session)):
                check(command)


def test_the_sessions_of_a_plain_run_are_all_run_on_github() -> None:
    import noxfile  # noqa: F401, PLC0415 - it says which they are, and changes the working directory

    ran = set[str]()
    for name, step in steps(read(ROOT / ".github/workflows/ci.yml")):
        job = read(ROOT / ".github/workflows/ci.yml")["jobs"][name]
        matrix = job.get("strategy", {}).get("matrix", {}).get("session", [])
        for command in commands_in(step.get("run", "")):
            ran |= set(command[3:])
            ran |= set(matrix) if "$SESSION" in command else set()
    assert set(nox.options.sessions or ()) <= ran
    assert "./do nox" in (ROOT / ".ci/run").read_text("utf-8")


def test_a_release_is_built_by_the_called_workflow_alone() -> None:
    """Its name in the certificate is the builder's: nothing that a caller says reaches a step."""
    build = read(ROOT / ".github/workflows/build.yml")
    # YAML 1.1 reads the word "on" as true.
    assert build[True] == {"workflow_call": None}
    assert read(ROOT / ".github/workflows/release.yml")["jobs"]["build"]["uses"] == CALLED
    assert "inputs." not in (ROOT / ".github/workflows/build.yml").read_text("utf-8")


def test_updates_wait_a_week() -> None:
    found = read(ROOT / ".github/dependabot.yml")
    assert {one["package-ecosystem"] for one in found["updates"]} == {
        "github-actions",
        "npm",
        "pip",
    }
    for one in found["updates"]:
        assert one["cooldown"]["default-days"] >= 7
        for directory in one.get("directories", [one.get("directory")]):
            assert (ROOT / directory.lstrip("/")).is_dir()
