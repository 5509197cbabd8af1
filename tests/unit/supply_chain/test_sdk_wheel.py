"""The client's wheel: the same bytes anywhere, whole, installable, with its bill of materials."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from supply_chain.digest import Sha256, sha256_bytes, sha256_file
from supply_chain.errors import LockError
from supply_chain.inputs.tree import Tree
from supply_chain.sbom.document import SBOM
from supply_chain.sdk_wheel import SOURCES, build_sdk, read_project, read_requirements

SITE = sysconfig.get_path("purelib")
"""The locked packages: what the client's dependencies are in these tests."""


def copy_sources(checkout: Path, to: Path) -> Path:
    """The sources of the wheel in another place."""
    for name in SOURCES:
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        if (checkout / name).is_dir():
            shutil.copytree(checkout / name, to / name)
        else:
            shutil.copy(checkout / name, to / name)
    return to


@pytest.fixture(scope="module")
def built(checkout: Path, tools: Tree, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel of this checkout and its bill of materials."""
    out = tmp_path_factory.mktemp("wheel")
    build_sdk(checkout, tools=tools, out=out)
    return out


@pytest.fixture
def clean_python(tmp_path: Path) -> Path:
    """The interpreter of an environment with nothing in it."""
    venv.create(tmp_path / "clean", symlinks=True)
    return tmp_path / "clean" / "bin" / "python"


def install(python: Path, *what: str) -> subprocess.CompletedProcess[str]:
    """Install something that is on this machine, and nothing else, into an environment."""
    argv = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    argv += ["--no-index", "--no-deps", "--no-build-isolation", *what]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": SITE, "PIP_USER": "0"}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def run(python: Path, program: str, *arguments: str) -> str:
    """What a program of an environment says, with the locked packages as its dependencies."""
    argv = [str(python.with_name(program)), *arguments]
    done = subprocess.run(
        argv, cwd="/", env={"PYTHONPATH": SITE}, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.root
def test_another_place_umask_and_zone_give_the_same_wheel(
    checkout: Path, tools: Tree, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = copy_sources(checkout, tmp_path / "else where")
    for path in elsewhere.rglob("*"):
        os.utime(path, (1, 1))
    monkeypatch.setenv("TZ", "Pacific/Chatham")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    out = tmp_path / "out"
    out.mkdir()
    before = os.umask(0o077)
    try:
        build_sdk(elsewhere, tools=tools, out=out)
    finally:
        os.umask(before)
    assert {path.name: sha256_file(path) for path in out.iterdir()} == {
        path.name: sha256_file(path) for path in built.iterdir()
    }


@pytest.mark.root
def test_the_wheel_holds_every_file_of_the_package(checkout: Path, built: Path) -> None:
    source = checkout / "sdk" / "src"
    expected = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(built / read_project(checkout).wheel) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        (licence,) = (name for name in wheel.namelist() if name.endswith("/licenses/LICENSE"))
        assert wheel.read(licence) == (checkout / "LICENSE").read_bytes()
    data = f"{read_project(checkout).wheel.partition('-py3')[0]}.data/data"
    assert names == expected | {f"{data}/share/bash-completion/completions/blindllama"}
    assert {"blindllama/py.typed", "blindllama/errors.toml"} <= names


@pytest.mark.root
def test_the_bill_of_materials_names_the_wheel_and_what_comes_with_it(
    checkout: Path, built: Path
) -> None:
    project = read_project(checkout)
    document = json.loads((built / SBOM).read_bytes())
    subject = document["metadata"]["component"]
    assert subject["purl"] == f"pkg:pypi/blindllama@{project.version}"
    assert subject["hashes"][0]["content"] == sha256_file(built / project.wheel).hex
    assert subject["licenses"][0]["license"]["id"] == "Apache-2.0"
    locked = read_requirements((checkout / "requirements" / "sdk.txt").read_text())
    assert {(part["name"], part["version"]) for part in document["components"]} == {
        (requirement.name, requirement.version) for requirement in locked
    }
    assert {"sigstore", "cryptography", "in-toto"} <= {
        part["name"] for part in document["components"]
    }


@pytest.mark.root
def test_the_wheel_works_in_a_clean_environment(
    checkout: Path, built: Path, clean_python: Path
) -> None:
    install(clean_python, str(built / read_project(checkout).wheel))
    code = "import blindllama as b; print(b.__file__, b.Policy.__module__, b.verify_release)"
    said = run(clean_python, "python", "-c", code)
    assert str(clean_python.parent.parent) in said
    assert str(checkout) not in said.split()[0]
    assert "verify" in run(clean_python, "blindllama", "--help")


def test_the_source_installs_in_a_clean_environment(
    checkout: Path, clean_python: Path, tmp_path: Path
) -> None:
    source = copy_sources(checkout, tmp_path / "source") / "sdk"
    install(clean_python, str(source))
    said = run(clean_python, "python", "-c", "import blindllama; print(blindllama.__file__)")
    assert str(clean_python.parent.parent) in said
    assert {path.name for path in source.iterdir()} == {
        "LICENSE",
        "data",
        "pyproject.toml",
        "src",
    }


def test_the_licence_is_the_projects(checkout: Path) -> None:
    """A copy: a build backend must not follow links out of its folder."""
    assert (checkout / "sdk" / "LICENSE").read_bytes() == (checkout / "LICENSE").read_bytes()


def test_requirements_are_read_with_their_hashes_and_markers() -> None:
    digests = [sha256_bytes(name.encode()) for name in "abc"]
    found = read_requirements(
        "# made by a compiler\n"
        "one==1.0 \\\n"
        f"    --hash=sha256:{digests[0].hex} \\\n"
        f"    --hash=sha256:{digests[1].hex}\n"
        "    # via two\n"
        "two-more==2.0rc1 ; sys_platform == 'win32' \\\n"
        f"    --hash=sha256:{digests[2].hex}\n"
    )
    assert [(r.name, r.version, r.marker, r.digests) for r in found] == [
        ("one", "1.0", "", tuple(digests[:2])),
        ("two-more", "2.0rc1", "sys_platform == 'win32'", tuple(digests[2:])),
    ]


@pytest.mark.parametrize(
    "line", ["one>=1.0", "-e .", "    --hash=md5:00", f"    --hash=sha256:{Sha256(bytes(32)).hex}"]
)
def test_other_requirements_are_refused(line: str) -> None:
    with pytest.raises(LockError, match="line 1") as caught:
        read_requirements(line)
    assert caught.value.code == "build.lock"
