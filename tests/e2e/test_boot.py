"""A booted guest is what was predicted, and answers as the same engine does natively."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from app_disk.image import server_image
from app_disk.layer import write_layer
from blindllama import AttestedSession
from blindllama.explain import Machine, explain_registers
from blindllama.measurements import PlatformName
from building_site import Site
from deploy.qemu import vm
from engine.native import native_server
from pipeline import ENGINE
from standing import Published
from supply_chain.step import StepResult
from tests.e2e.raw import claimed_evidence

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
PROMPT = "The capital of France is"
TOKENS = 8
NONCE = bytes(range(32))
_MAIN = "from blindllama._cli import main; raise SystemExit(main())"


def test_booted_pcrs_equal_the_predicted_ones(published: Published, guest: vm.Guest) -> None:
    """Every register that is predicted has the predicted value, byte for byte."""
    document = json.loads(claimed_evidence(guest.url, NONCE).document)
    booted = {index: bytes.fromhex(value) for index, value in enumerate(document["pcrs"]["sha256"])}
    log = base64.b64decode(document["event_log"])
    expected = published.verified.measurements[PlatformName.QEMU_SWTPM]
    wrong = [pcr for pcr, value in expected.values.items() if booted[pcr] != value]
    machine = Machine(values=booted, event_log=log, app_events=())
    assert explain_registers(wrong, machine, expected=expected) == ()
    assert set(expected.values) == {0, 1, 2, 3, 4, 5, 7, 9, 11, 12, 13, 15}


def test_all_ten_checks_pass(session: AttestedSession) -> None:
    """The report has ten results, and each says that it passed."""
    checks = session.report.to_json()["checks"]
    assert isinstance(checks, list)
    assert [check["status"] for check in checks] == ["passed"] * 10


def test_the_guest_answers_as_the_engine_does_natively(
    session: AttestedSession, site: Site, results: Mapping[str, StepResult], tmp_path: Path
) -> None:
    """A greedy answer is a function of the model, the CPU variant and the server's arguments."""
    root = tmp_path / "image"
    write_layer(server_image(site.tree("llama")).layer, root)
    model = results[ENGINE].path("model.gguf")
    with native_server(site.engine, model=model, root=root) as server:
        expected = server.complete(PROMPT, max_tokens=TOKENS)
    assert session.completion(PROMPT, max_tokens=TOKENS, seed=0) == expected
    assert "Paris" in expected


def test_the_shell_does_the_same(published: Published, guest: vm.Guest) -> None:
    """`blindllama verify --json` exits with 0 and prints the same ten checks."""
    run = _blindllama(
        "verify",
        guest.url,
        "--release",
        str(published.evidence),
        "--policy",
        str(published.policy),
        "--json",
    )
    assert run.returncode == 0, run.stderr
    checks = json.loads(run.stdout)["report"]["checks"]
    assert [check["status"] for check in checks] == ["passed"] * 10


def test_the_shell_asks(published: Published, guest: vm.Guest) -> None:
    """`blindllama ask` prints the model's words."""
    run = _blindllama(
        "ask",
        guest.url,
        "--release",
        str(published.evidence),
        "--policy",
        str(published.policy),
        "--max-tokens",
        "3",
        PROMPT,
    )
    assert run.returncode == 0, run.stderr
    assert "Paris" in run.stdout


def _blindllama(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _MAIN, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT / "sdk" / "src")},
    )
