"""Tasks of the chain: check a release as a client would, and run the local Sigstore by hand."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime
from pathlib import Path

from invoke import Collection, Context, Exit, task

from blindllama.errors import VerificationError
from blindllama.policy import Policy
from blindllama.release import verify_release
from supply_chain.errors import BuildError
from supply_chain.front import told, whole_number
from supply_chain.local_sigstore import running
from supply_chain.release import read_release, verify_folder
from supply_chain.workspace import Workspace

ROOT = Path(__file__).resolve().parent.parent


@task(help={"release": "the release folder", "policy": "whom to trust: a policy file"})
@told()
def verify(_context: Context, release: str, policy: str = "dist/policy.toml") -> None:
    """Check a release folder with nothing but the folder and a policy, offline."""
    try:
        trusted = Policy.from_file(Path(policy))
        folder = read_release(Path(release))
        verified = verify_release(folder.evidence, trusted, datetime.now(UTC))
        verify_folder(folder.path, verified)
    except VerificationError as exc:
        raise Exit(f"refused in step {exc.step}, {exc.code}: {exc}", code=1) from exc
    except BuildError as exc:
        raise Exit(f"refused, {exc.code}: {exc}", code=1) from exc
    print(f"{verified.name} {verified.sequence}, signed by {verified.signer}")
    print(f"{len(verified.files)} files are as signed; expires {verified.expires:%Y-%m-%d}")


@task(help={"port": "the loopback port; 0 takes a free one"})
@told()
def serve(_context: Context, port: str = "0") -> None:
    """Run the local Sigstore until interrupted, and print how to sign with it."""
    workspace = Workspace.at(ROOT, os.environ)
    number = whole_number(port, "port", least=0, most=65535)
    with running(workspace.state, port=number) as instance:
        config = workspace.state / "trust_config.json"
        config.write_text(instance.trust_config_json)
        print(f"{instance.url}\nsigstore --trust-config {config} …", flush=True)
        threading.Event().wait()


ns = Collection("chain", verify, serve)
