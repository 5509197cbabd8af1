"""A process that signs statements with the local Sigstore, from many threads at once.

Usage: python -m tests.simulators.signing_worker STATE NAME COUNT THREADS

Starts the instance of the state folder on a port of its own, and prints each bundle on a line as
soon as it is acknowledged.
"""

from __future__ import annotations

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sigstore.dsse import Statement
from sigstore.sign import SigningContext

from supply_chain.local_sigstore import running
from tests.simulators.sigstore_client import IDENTITY


def statement(name: str, number: int) -> bytes:
    """The statement that a worker signs under a number."""
    return json.dumps(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": f"{name} {number}", "digest": {"sha256": f"{number:064x}"}}],
            "predicateType": "https://blindllama.dev/test/v1",
            "predicate": {},
        }
    ).encode()


def work(state: Path, name: str, count: int, threads: int) -> None:
    """Sign, and tell of each signature once there is one."""
    told = threading.Lock()
    with running(state) as instance, ThreadPoolExecutor(threads) as pool:
        context = SigningContext.from_trust_config(instance.trust_config)

        def sign(number: int) -> None:
            # Each has a key, a token and a certificate of its own, as in a release.
            with context.signer(instance.identity_token(IDENTITY)) as signer:
                bundle = signer.sign_dsse(Statement(statement(name, number)))
            with told:
                sys.stdout.write(bundle.to_json() + "\n")
                sys.stdout.flush()

        list(pool.map(sign, range(count)))


if __name__ == "__main__":
    work(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
