"""Several signing processes over one state folder, and what must hold when they have ended."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import requests
from sigstore.models import Bundle

from supply_chain.local_sigstore import LocalSigstore, running
from supply_chain.local_sigstore.checkpoint import verify_checkpoint
from supply_chain.local_sigstore.log_reader import reader_of
from supply_chain.local_sigstore.merkle import MerkleTree, leaf_hash, verify_consistency
from supply_chain.local_sigstore.monitor import log_of, look, trusted_logs
from tests.simulators.signing_worker import statement
from tests.simulators.sigstore_client import by, verifier_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

TIMEOUT_S = 300


@contextlib.contextmanager
def worker(
    checkout: Path, state: Path, name: str, *, count: int, threads: int
) -> Iterator[subprocess.Popen[str]]:
    """A process that signs; it is ended with the block."""
    argv = [sys.executable, "-m", "tests.simulators.signing_worker"]
    with subprocess.Popen(
        [*argv, str(state), name, str(count), str(threads)],
        cwd=checkout,
        env={"PYTHONPATH": "sdk/src:."},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def acknowledged(process: subprocess.Popen[str]) -> list[str]:
    """All bundles of a worker, once it has ended well."""
    out, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0
    return out.splitlines()


def signing(checkout: Path, state: Path, *, processes: int, count: int, threads: int) -> list[str]:
    """The bundles that some processes have signed at the same time."""
    with contextlib.ExitStack() as stack:
        started = [
            stack.enter_context(
                worker(checkout, state, f"worker {number}", count=count, threads=threads)
            )
            for number in range(processes)
        ]
        return [bundle for process in started for bundle in acknowledged(process)]


def check_all_logged(state: Path, bundles: Sequence[str], *, processes: int, count: int) -> None:
    """Every statement was signed, verifies, and has one entry of its own in the log."""
    with running(state) as instance:
        verifier = verifier_of(instance.trusted_root_json)
        read = [Bundle.from_json(text) for text in bundles]
        payloads = {verifier.verify_dsse(bundle, by())[1] for bundle in read}
        assert payloads == {
            statement(f"worker {worker}", number)
            for worker in range(processes)
            for number in range(count)
        }
        indices = sorted(int(bundle.log_entry._inner.log_index) for bundle in read)
        assert indices == list(range(1, processes * count + 1))
        reader = reader_of(instance.url, 1)
        log = log_of(trusted_logs(instance.trusted_root_json), 1)
        now = look(reader, log, state / "watched").now
        tree = MerkleTree()
        for leaf in reader.leaves(now.size):
            tree.append(leaf_hash(leaf.data))
        assert (now.size, tree.root()) == (processes * count + 1, now.root)
        for bundle in read:
            # Each was told a tree of its moment: all of them are prefixes of the one of now.
            proof = bundle.log_entry._inner.inclusion_proof
            size, root = int(proof.tree_size), proof.root_hash
            assert tree.root(size) == root
            assert proof.checkpoint is not None
            verify_checkpoint(proof.checkpoint.envelope, log.log_id, log.key)
            verify_consistency((size, root), (now.size, now.root), tree.consistency_proof(size))


def check_entry(instance: LocalSigstore, text: str) -> None:
    """A bundle verifies, and the log still has its entry at its index."""
    verifier_of(instance.trusted_root_json).verify_dsse(Bundle.from_json(text), by())
    entry = json.loads(text)["verificationMaterial"]["tlogEntries"][0]
    url = f"{instance.url}/api/v1/log/entries?logIndex={entry['logIndex']}"
    ((_, logged),) = requests.get(url, timeout=10).json().items()
    assert logged["body"] == entry["canonicalizedBody"]
    assert base64.b64decode(logged["body"])
    assert str(logged["integratedTime"]) == entry["integratedTime"]
