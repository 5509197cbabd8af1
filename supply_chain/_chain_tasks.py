"""Tasks of the chain: keys of owners, a release checked as a client would, the local Sigstore."""

from __future__ import annotations

import contextlib
import os
import threading
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from invoke import Collection, Context, Exit, task

from blindllama.errors import VerificationError
from blindllama.policy import Policy
from blindllama.release import verify_release
from supply_chain.attest.bill import verify_bills
from supply_chain.attest.config import (
    CHAIN_NAME,
    BuilderOwner,
    FileOwner,
    SignerOwner,
    read_chain,
    with_owner,
)
from supply_chain.attest.owner import init_owner_key, read_public_key, uri_owner
from supply_chain.errors import BuildError
from supply_chain.front import told, whole_number
from supply_chain.local_sigstore import running
from supply_chain.local_sigstore.instance import secret_path
from supply_chain.local_sigstore.log_reader import reader_of
from supply_chain.local_sigstore.monitor import MONITOR, entries_of, log_of, look, trusted_logs
from supply_chain.local_sigstore.server import ADDRESS
from supply_chain.local_sigstore.trust_root import LogVersion
from supply_chain.passphrase import given_passphrase, known_passphrase, new_passphrase
from supply_chain.rebuilds import add_rebuild
from supply_chain.release import read_release, verify_folder
from supply_chain.summary import verify_folder_summary
from supply_chain.workspace import Workspace, replace_file

ROOT = Path(__file__).resolve().parent.parent


@task(help={"release": "the release folder", "policy": "whom to trust: a policy file"})
@told()
def verify(_context: Context, release: str, policy: str = "dist/policy.toml") -> None:
    """Check a release folder with nothing but the folder and a policy, offline."""
    try:
        trusted = Policy.from_file(Path(policy))
        folder = read_release(Path(release))
        now = datetime.now(UTC)
        verified = verify_release(folder.evidence, trusted, now)
        verify_folder(folder.path, verified)
        summary = verify_folder_summary(folder.path, verified, trusted, now=now)
        bills = verify_bills(folder.path, verified, trusted)
    except VerificationError as exc:
        raise Exit(f"refused in step {exc.step}, {exc.code}: {exc}", code=1) from exc
    except BuildError as exc:
        raise Exit(f"refused, {exc.code}: {exc}", code=1) from exc
    print(f"{verified.name} {verified.sequence}, signed by {verified.signer}")
    print(f"{len(verified.files)} files are as signed; expires {verified.expires:%Y-%m-%d}")
    if summary is not None:
        print(f"{', '.join(summary.levels)}, says {summary.verifier}")
    print(f"bills of materials are as built and as signed: {', '.join(bills) or 'none'}")


@task(
    help={
        "rebuild": "the folder of a rebuild",
        "release": "the release folder",
        "policy": "the policy that verifies the release",
    }
)
@told()
def add(_context: Context, rebuild: str, release: str, policy: str = "dist/policy.toml") -> None:
    """Add a rebuild to the release that it confirms; clients decide whether it counts."""
    root = Policy.from_file(Path(policy)).sigstore.trusted_root
    added = add_rebuild(Path(rebuild), Path(release), root)
    print(f"added: {', '.join(added.steps)}, built again")
    counted = ", ".join(added.links) or "no step"
    print(
        f"the layout counts its links for {counted}; check all: ./do invoke chain.verify {release}"
    )


@task(
    help={
        "owner": "write another into chain.toml: file, builder, sigstore:IDENTITY, or a signer URI",
        "public": "with a signer URI: the PEM file of its public key, relative to the checkout",
    }
)
@told()
def init(_context: Context, owner: str = "", public: str = "") -> None:
    """Make or encrypt the key of the layout's owner, and see that each owner can sign."""
    workspace = Workspace.at(ROOT, os.environ)
    path = ROOT / CHAIN_NAME
    if owner:
        replace_file(path, with_owner(path.read_text(), owner, public).encode())
    known = partial(known_passphrase, os.environ, "the layout's owner")
    for choice in read_chain(path).owners:
        if isinstance(choice, FileOwner):
            key, done = init_owner_key(
                workspace.state,
                new=partial(new_passphrase, os.environ),
                known=known,
            )
            print(f"owner {key.keyid}: {done}")
        elif isinstance(choice, SignerOwner):
            key = uri_owner(choice.uri, read_public_key(ROOT / choice.public), secret=known)
            key.sign(b"can it sign?")
            print(f"owner {key.keyid}: signs")
        elif isinstance(choice, BuilderOwner):
            print("owner: whoever signs the release")
        else:
            print(f"owner {choice.identity}: signs through Sigstore, when a release is made")


@task(
    help={
        "port": "the port; 0 takes a free one",
        "log": "which version of Rekor clients are told to use: v1 or v2",
        "listen": "the address to listen on",
        "unsafe-beyond-this-machine": "listen although others can reach the address",
    }
)
@told()
def serve(
    _context: Context,
    port: str = "0",
    log: str = "v1",
    listen: str = ADDRESS,
    unsafe_beyond_this_machine: bool = False,
) -> None:
    """Run the local Sigstore until interrupted, and print how to sign with it."""
    workspace = Workspace.at(ROOT, os.environ)
    with running(
        workspace.state,
        address=listen,
        port=whole_number(port, "port", least=0, most=65535),
        unsafe_beyond_this_machine=unsafe_beyond_this_machine,
        log_version=_log_version(log),
        passphrase=given_passphrase(os.environ),
    ) as instance:
        config = workspace.state / "trust_config.json"
        replace_file(config, instance.trust_config_json.encode())
        print(f"{instance.url}\nsigstore --trust-config {config} …")
        # Where it is, and not what it is: terminals are logged.
        print(f"to sign in, its client secret is in {secret_path(workspace.state)}", flush=True)
        threading.Event().wait()


@task(
    help={
        "identity": "list what this identity has signed",
        "url": "watch the log at this address instead of the one in the state folder",
        "root": "with --url: the trusted root, or trust configuration, that names the log",
        "log": "which version of Rekor is watched: v1 or v2",
    }
)
@told()
def monitor(
    _context: Context, identity: str = "", url: str = "", root: str = "", log: str = "v1"
) -> None:
    """See that the log has only grown since the last look, and list an identity's entries."""
    workspace = Workspace.at(ROOT, os.environ)
    version = _log_version(log)
    if bool(url) != bool(root):
        raise BuildError("--url and --root: expected both, or neither for the log of this machine")
    with contextlib.ExitStack() as stack:
        if url:
            logs = trusted_logs(Path(root).read_text("utf-8"))
        else:
            passphrase = given_passphrase(os.environ)
            instance = stack.enter_context(running(workspace.state, passphrase=passphrase))
            url, logs = instance.url, trusted_logs(instance.trusted_root_json)
        reader = reader_of(url, version)
        seen = look(reader, log_of(logs, version), workspace.state / MONITOR)
        before = "nothing before" if seen.before is None else f"{seen.before.size} before"
        print(f"{seen.now.origin}: {seen.now.size} entries, {before}; root {seen.now.root.hex()}")
        for found in entries_of(reader, seen.now, identity) if identity else ():
            print(
                f"{found.index}  {found.time:%Y-%m-%dT%H:%M:%SZ}  {found.claim.kind}  "
                f"sha256:{found.claim.digest_hex}  {found.identity} ({found.issuer})"
            )


def _log_version(word: str) -> LogVersion:
    if word == "v1":
        return 1
    if word == "v2":
        return 2
    raise BuildError(f"--log: expected v1 or v2, got {word!r}")


ns = Collection("chain", add, init, verify, serve, monitor)
