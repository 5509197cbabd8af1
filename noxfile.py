"""Checks of the source, run by `./do nox`; artefacts are made by invoke.

No session makes an environment of its own (`venv_backend = "none"`): all of them run in
the locked one of `./do`, so what is checked is what runs, and nothing unlocked is installed.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from pathlib import Path

import nox
from nox.command import CommandFailed

from supply_chain.errors import MissingToolError
from supply_chain.host import BOOT_PROGRAMS, BUILD_PROGRAMS, TPM_PROGRAMS, require
from supply_chain.progress import ConsoleProgress
from supply_chain.workspace import Workspace
from tests.simulators import node

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "unit", "sigstore", "e2e"]
nox.options.error_on_missing_interpreters = True

ROOT = Path(__file__).resolve().parent
PYTHON_H = sysconfig.get_path("include") + "/Python.h"
TSS2_H = "/usr/include/tss2/tss2_esys.h"
TPM_NEEDS = ("gcc", "pkg-config", PYTHON_H, TSS2_H, *TPM_PROGRAMS)
SPECIAL = ("e2e", "soak", "swtpm", "sigstore", "azure", "browser", "triton")
PLAIN = " and ".join(f"not {marker}" for marker in SPECIAL)
"""The tests that need nothing but this environment and the fetched inputs."""
RELEASE_NEEDS = (*BUILD_PROGRAMS, *BOOT_PROGRAMS, "apt-get")


@nox.session
def lint(session: nox.Session) -> None:
    """Style, layering between the rooms, spelling."""
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports", "--no-cache")
    session.run("codespell")


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict, on everything including the tests."""
    session.run("mypy")


@nox.session
def unit(session: nox.Session) -> None:
    """Unit tests, in a network namespace without a network."""
    # All of it comes before the network goes: some tests run the locked tools, QEMU and swtpm.
    require((*RELEASE_NEEDS, "openssl"), ConsoleProgress())
    session.run("invoke", "inputs.fetch", silent=True)
    offline(
        session,
        "-m",
        PLAIN,
        *session.posargs,
    )


@nox.session
def sigstore(session: nox.Session) -> None:
    """Stock clients against the local Sigstore, and a thousand signatures at once."""
    require(("apt-get", "dpkg-deb"), ConsoleProgress())
    # It comes before the network goes; where the archive has none, its tests say so.
    session.run("python", "-m", "tests.simulators.cosign")
    offline(session, "-m", "sigstore", *session.posargs)


@nox.session
def azure(session: nox.Session) -> None:
    """Tests of the way to Azure, against Azurite; installs the optional requirements."""
    pip = ("python", "-m", "pip", "install", "--quiet", "--require-hashes", "--only-binary=:all:")
    # Without dependencies: the file holds all of them, and one is overridden.
    session.run(*pip, "--no-deps", "-r", "requirements/azure.txt")
    # It comes before the network goes; where there is no node, its tests say so.
    session.run("python", "-m", "tests.simulators.azurite")
    offline(session, "-m", "azure", *session.posargs)


@nox.session
def client(session: nox.Session) -> None:
    """The client's own tests and the corpus, for whatever Python runs this; no Debian is needed."""
    offline(
        session,
        *("-m", PLAIN),
        *("tests/unit/sdk", "tests/conformance", *session.posargs),
    )


@nox.session
def minimums(session: nox.Session) -> None:
    """The client's wheel with the oldest libraries that it declares, installed and by uvx: the corpus.

    They have wheels for Python 3.11 to 3.13.
    """
    place = Path(session.create_tmp()).resolve()
    wheels, home = str(place / "wheels"), place / "home"
    pip = ("python", "-m", "pip", "--disable-pip-version-check", "--quiet")
    locked = ("--require-hashes", "--no-deps", "--only-binary=:all:")
    session.run(*pip, "download", *locked, "--dest", wheels, "-r", "requirements/minimums.txt")
    session.run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, "./sdk")
    session.run("python", "-m", "venv", "--clear", str(home))
    # From here on without a network: what it needs is all there.
    alone = ("python", "tests/offline.py")
    inside = (str(home / "bin" / "python"), "-m", "pip", "--quiet", "install", "--no-index")
    given = ("--find-links", wheels)
    session.run(*alone, *inside, *given, "--no-deps", "-r", "requirements/minimums.txt")
    session.run(*alone, *inside, *given, "blindllama")
    session.run(*alone, str(home / "bin" / "blindllama"), "--help", silent=True)
    asked = (str(home / "bin" / "python"), "-m", "tests.conformance.subject")
    cases = (*alone, "python", "-m", "tests.conformance.run", "--codes", "--")
    session.run(*cases, *asked)
    # The same wheels without an installation, as docs/cli.md says.
    uvx = ("uvx", "--offline", "--no-config", "--no-index", *given, "--python", sys.executable)
    cache = {"UV_CACHE_DIR": str(place / "uv"), "UV_LINK_MODE": "copy"}
    session.run(*alone, *uvx, "blindllama", "verify", "--help", env=cache, silent=True)
    session.run(*cases, *uvx, "--from", "blindllama", "python", *asked[1:], env=cache)


@nox.session
def docs(session: nox.Session) -> None:
    """The site of docs/, in build/site; a broken link or a page outside of the menu ends it."""
    place = Path(session.create_tmp()).resolve()
    session.run("python", "-m", "venv", "--clear", str(place))
    inside = str(place / "bin" / "python")
    pip = (inside, "-m", "pip", "install", "--quiet", "--require-hashes", "--only-binary=:all:")
    session.run(*pip, "--no-deps", "-r", "requirements/docs.txt")
    modules = Workspace.at(ROOT, os.environ).cache
    locked = ROOT / "tests" / "docs" / "npm"
    node.fetch(locked, modules, os.environ)
    mermaid = node.modules(locked, modules) / "mermaid" / "dist" / "mermaid.min.js"
    session.run(
        *(inside, "-m", "mkdocs", "build", "--strict", "--site-dir", str(ROOT / "build" / "site")),
        env={"BLINDLLAMA_MERMAID": str(mermaid), "PYTHONDONTWRITEBYTECODE": "1"},
    )


@nox.session
def local(session: nox.Session) -> None:
    """Before a push: mends what can be mended, then everything that a plain run checks."""
    session.run("ruff", "check", "--fix-only", "--quiet")
    session.run("ruff", "format", "--quiet")
    session.run("python", "-m", "tests.docs.pages")
    for name in nox.options.sessions or ():
        session.notify(name)


@nox.session
def workflows(session: nox.Session) -> None:
    """Zizmor and actionlint over .github; what they need comes by a lock of its own."""
    pip = ("python", "-m", "pip", "install", "--quiet", "--require-hashes", "--only-binary=:all:")
    session.run(*pip, "-r", "requirements/workflows.txt")
    session.run("python", "-m", "tests.workflows")


@nox.session
def browser(session: nox.Session) -> None:
    """The pages in headless Chromium, which is installed, with axe-core, which comes by a lock."""
    require(("chromium",), ConsoleProgress())
    session.run("python", "-c", "from tests.browser.chromium import fetch; fetch()")
    offline(session, "-m", "browser", *session.posargs)


@nox.session
def triton(session: nox.Session) -> None:
    """Triton's image on a CPU: started here, then in a guest of a release of its application."""
    require((*RELEASE_NEEDS, "openssl"), ConsoleProgress())
    session.run("invoke", "inputs.fetch", silent=True)
    session.run("python", "-m", "pytest", "-m", "triton", *session.posargs)


@nox.session
def tpm(session: nox.Session) -> None:
    """Tests against a software TPM, with the forged quotes."""
    install_tpm(session)
    offline(session, "-m", "swtpm and not e2e", *session.posargs)


@nox.session
def e2e(session: nox.Session) -> None:
    """Builds once, boots guests, asks them; then the tests that need a TPM."""
    require((*RELEASE_NEEDS, "openssl"), ConsoleProgress())
    install_tpm(session)
    session.run("python", "-m", "pytest", "-m", "e2e or swtpm", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Ten minutes of 64 clients at one guest, and ten power cuts; half an hour in all."""
    require(RELEASE_NEEDS, ConsoleProgress())
    install_tpm(session)
    session.run("python", "-m", "pytest", "-m", "soak", *session.posargs)


@nox.session
def conformance(session: nox.Session) -> None:
    """Asks the corpus of this SDK and of tpm2_checkquote; compares with what is recorded."""
    require(("tpm2_checkquote",), ConsoleProgress())
    session.run("python", "-m", "tests.conformance.run")
    session.run("python", "-m", "tests.conformance.page")


@nox.session
def fuzz(session: nox.Session) -> None:
    """Fuzzes every parser by coverage; takes the number of executions, and targets."""
    if importlib.util.find_spec("atheris") is None:
        pip = (
            "python",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--require-hashes",
            "--only-binary=:all:",
        )
        try:
            session.run(*pip, "-r", "requirements/fuzz.txt")
        except CommandFailed:
            session.skip("atheris has no wheel for this Python and this machine")
    session.run("python", "-m", "tests.fuzz", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Figures of time, each against its goal; prints them, writes docs/benchmarks.md. Takes names."""
    try:
        require((*RELEASE_NEEDS, "tpm2_checkquote"), ConsoleProgress())
    except MissingToolError as exc:
        session.warn(f"{exc}; the rows that need it will say so")
    session.run("python", "-m", "tests.bench", *session.posargs)


@nox.session
def boot_times(session: nox.Session) -> None:
    """Boots the release and a stock image by turns; prints each stage. Takes the rounds."""
    require(RELEASE_NEEDS, ConsoleProgress())
    session.run("python", "-m", "tests.bench.boot_times", *session.posargs)


@nox.session
def requirements(session: nox.Session) -> None:
    """Compile requirements/*.in again; needs uv, which is no dependency of anything else."""
    options = ["--universal", "--python-version=3.11", "--generate-hashes", "--quiet"]
    # Addresses stay out: the machine's own settings say where packages come from.
    options += ["--no-emit-index-url", "--no-header", *session.posargs]
    with session.chdir(ROOT / "requirements"):
        for name in (
            "dev",
            "sdk",
            "build",
            "tpm-build",
            "tpm",
            "fuzz",
            "azure",
            "workflows",
            "docs",
        ):
            # dev.txt is the widest: the others take the same versions from it.
            same = [] if name == "dev" else ["--constraint=dev.txt"]
            if name == "azure":
                # azure-cli-core demands an argcomplete below nox's, and uses it for nothing here.
                same.append("--override=azure-override.in")
            session.run(
                "uv", "pip", "compile", *options, *same, f"{name}.in", f"--output-file={name}.txt"
            )
        # The oldest of what the client declares; not universal, old wheels are not either.
        session.run(
            *("uv", "pip", "compile", *options[1:], "--python-platform=linux"),
            *("--resolution=lowest-direct", "../sdk/pyproject.toml", "--output-file=minimums.txt"),
        )


def offline(session: nox.Session, *arguments: str) -> None:
    """Run pytest where nothing but loopback can be reached."""
    session.run("python", "tests/offline.py", "python", "-m", "pytest", *arguments)


def install_tpm(session: nox.Session) -> None:
    """Add swtpm to the host and tpm2-pytss, which is compiled here, to the environment."""
    require(TPM_NEEDS, ConsoleProgress())
    if importlib.util.find_spec("tpm2_pytss") is not None:
        return
    pip = ("python", "-m", "pip", "install", "--quiet", "--require-hashes")
    session.run(*pip, "-r", "requirements/tpm-build.txt")
    # Its build requirements are the locked ones just installed, not pip's choice.
    session.run(*pip, "--no-build-isolation", "--no-deps", "-r", "requirements/tpm.txt")


os.chdir(ROOT)
