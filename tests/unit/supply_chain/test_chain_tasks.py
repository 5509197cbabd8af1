from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests
from invoke import Context, Exit
from sigstore.sign import SigningContext

from supply_chain import _chain_tasks
from supply_chain.digest import sha256_bytes
from supply_chain.local_sigstore import running
from supply_chain.passphrase import VARIABLE
from supply_chain.workspace import CACHE_VARIABLE
from tests.simulators.release_folder import made_folder

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release folder whose disks are a few bytes long, with its policy beside it."""
    root = tmp_path_factory.mktemp("release")
    made_folder(root)
    return root


def verify(root: Path) -> None:
    _chain_tasks.verify(Context(), str(root / "release"), str(root / "policy.toml"))


def test_a_release_verifies_from_its_folder_and_a_policy(
    release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verify(release)
    said = capsys.readouterr().out
    assert "simulated-release 1, signed by https://blindllama.dev/" in said
    assert "bills of materials are as built and as signed: os.img, app.img" in said


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("release/os.img", "build.digest_mismatch"),
        ("release/evidence.json", "format."),
        ("release/index.json", "build.release"),
        ("policy.toml", "policy."),
    ],
)
def test_a_changed_file_is_refused_with_its_code(release: Path, path: str, code: str) -> None:
    target = release / path
    honest = target.read_bytes()
    target.write_bytes(b"\xff" + honest)
    try:
        with pytest.raises(Exit, match=code.replace(".", r"\.")) as raised:
            verify(release)
    finally:
        target.write_bytes(honest)
    assert raised.value.code == 1


@pytest.fixture
def served(checkout: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    script = (
        "from invoke import Context; from supply_chain._chain_tasks import serve; serve(Context())"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=checkout,
        env={CACHE_VARIABLE: str(tmp_path), "PYTHONPATH": "sdk/src"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        yield process
        process.send_signal(signal.SIGINT)


def test_the_instance_can_be_run_by_hand(served: subprocess.Popen[str]) -> None:
    assert served.stdout is not None
    url, hint = served.stdout.readline().strip(), served.stdout.readline().split()
    assert requests.get(f"{url}/api/v1/log", timeout=10).json()["treeSize"] == 1
    assert hint[:2] == ["sigstore", "--trust-config"]
    assert url in Path(hint[2]).read_text()


@pytest.mark.parametrize("log", ["v1", "v2"])
def test_the_log_of_this_machine_can_be_watched(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    log: str,
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    _chain_tasks.monitor(Context(), log=log)
    with running(tmp_path / "state", log_version=1 if log == "v1" else 2) as instance:
        context = SigningContext.from_trust_config(instance.trust_config)
        with context.signer(instance.identity_token("me@blindllama.dev")) as signing:
            signing.sign_artifact(b"data")
        config = tmp_path / "config.json"
        config.write_text(instance.trust_config_json)
        _chain_tasks.monitor(
            Context(), identity="me@blindllama.dev", url=instance.url, root=str(config), log=log
        )
    first, second, entry = capsys.readouterr().out.splitlines()
    assert ": 1 entries, nothing before; root " in first
    assert ": 2 entries, 1 before; root " in second
    assert f"sha256:{sha256_bytes(b'data').hex}  me@blindllama.dev (https://oidc." in entry


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"url": "http://127.0.0.1:9"}, "--url and --root: expected both"),
        ({"root": "x"}, "--url and --root: expected both"),
        ({"log": "v3"}, "--log: expected v1 or v2, got 'v3'"),
        ({"url": "http://127.0.0.1:9", "root": "nowhere.json"}, "nowhere.json: No such file"),
    ],
)
def test_what_cannot_be_watched_is_told(options: dict[str, str], complaint: str) -> None:
    with pytest.raises(Exit, match=complaint):
        _chain_tasks.monitor(Context(), **options)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"listen": "192.0.2.1"}, "listen: expected a loopback address"),
        ({"log": "2"}, "--log: expected v1 or v2"),
        ({"port": "-1"}, "--port: expected a number"),
    ],
)
def test_an_instance_that_cannot_be_served_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, str], complaint: str
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    with pytest.raises(Exit, match=complaint):
        _chain_tasks.serve(Context(), **options)


def test_init_encrypts_the_owners_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setenv(VARIABLE, "open")
    _chain_tasks.init(Context())
    _chain_tasks.init(Context())
    first, again = capsys.readouterr().out.splitlines()
    assert first.endswith(": made and encrypted")
    assert again == first.replace("made and encrypted", "was encrypted already")
    monkeypatch.setenv(VARIABLE, "shut")
    with pytest.raises(Exit, match="the passphrase does not open the layout key"):
        _chain_tasks.init(Context())
