"""Who executes the commands that pages name: the end-to-end tests, another test, or nobody here.

A command of a page is looked up by its first words; the longest entry counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

HERE: tuple[str, ...] = (
    "./do invoke --list",
    "./do invoke doctor",
    "./do invoke inputs.fetch",
    "./do invoke build",
    "./do invoke engine.build",
    "./do invoke engine.verify",
    "./do invoke engine.inspect",
    "./do invoke engine.sign",
    "./do invoke app-disk.check",
    "./do invoke app-disk.build",
    "./do invoke os-image.build",
    "./do invoke os-image.inspect",
    "./do invoke network.show",
    "./do invoke network.show --app hello",
    "./do invoke chain.verify dist/release",
    "./do invoke chain.monitor",
    "./do invoke chain.monitor --identity https://blindllama.dev/builders/local/v1",
    "./do invoke sdk.build",
    "./do invoke cache.prune --dry-run",
    "./do invoke boot.status",
    "./do invoke boot.console",
    "./do blindllama verify URL --release dist/release/evidence.json --policy dist/policy.toml",
    "./do blindllama ask URL --release dist/release/evidence.json --policy dist/policy.toml --max-tokens 8 PROMPT",
    (
        "./do blindllama report URL --release dist/release --policy dist/policy.toml "
        "--bill dist/release/sbom/os-image.cdx.json --output build/report.html"
    ),
    "./do blindllama inspect dist/release/evidence.json",
)
"""Run by tests/e2e/test_documented.py, in this order, beside a booted guest; URL is its address."""

ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "./do invoke release": "tests/e2e/test_documented.py::test_a_release_from_the_shell",
        "./do invoke boot.up": "tests/e2e/test_documented.py::test_a_release_from_the_shell",
        "./do invoke boot.down": "tests/e2e/test_documented.py::test_a_release_from_the_shell",
        "./do invoke reproduce": "tests/unit/reproduce/test_rebuild.py",
        "./do invoke chain.add": "tests/unit/reproduce/test_rebuild.py",
        "./do invoke chain.init": "tests/unit/supply_chain/test_chain_tasks.py",
        "./do invoke chain.serve": "tests/unit/supply_chain/test_chain_tasks.py",
        "./do invoke chain.monitor --url": "tests/unit/supply_chain/local_sigstore/test_monitor.py",
        "./do invoke engine.verify-signature": "tests/unit/engine/test_signature.py",
        "./do invoke inputs.add": "tests/unit/supply_chain/inputs/test_add.py",
        "./do invoke app-disk.pull": "tests/unit/app_disk/test_brought.py",
        "./do invoke os-image.issuers": "tests/unit/os_image/test_issuers.py",
        "./do invoke engine.fits": "tests/unit/engine/test_trtllm.py",
        "./do invoke index.": "tests/unit/supply_chain/repository/test_page.py",
        "./do invoke lock.update": "tests/unit/supply_chain/inputs/test_update.py",
        "./do invoke secure-boot.": "tests/e2e/test_secure_boot.py",
        "./do invoke deploy.azure": "tests/unit/deploy/azure/test_deployment.py",
        "./do invoke deploy.azure.upload": "tests/unit/deploy/azure/test_upload.py",
        "./do blindllama verify --repository": "tests/unit/sdk/connect/test_cli_repository.py",
        "blindllama proxy": "tests/unit/sdk/connect/test_proxy_command.py",
        "./do nox": ".ci/run",
    }
)
"""The test that runs the same code."""

NOBODY: Mapping[str, str] = MappingProxyType(
    {
        "./do invoke release --sigstore public": "signs in the public log, for ever; rehearsed",
        "./do invoke engine.build --spec llama-2-7b.toml": "needs a GPU and the vendor's container",
        "./do nox -s requirements": "needs uv, which is no dependency",
        "./do nox -s local": "changes the checkout",
        "./do nox -s bench": "figures: run on an idle machine, by hand",
        "./do nox -s boot_times": "figures of boots: run on an idle machine, by hand",
    }
)
"""What nothing here runs, and why."""
