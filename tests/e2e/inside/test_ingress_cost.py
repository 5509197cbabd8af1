"""What the way through the ingress costs inside the guest: a figure, in tokens per second."""

from __future__ import annotations

import base64
import json
import statistics
from pathlib import Path

import pytest

from building_site import Site
from tests.e2e.inside.inspected import RULES, Inspected

ROUNDS = 5
TOKENS = 16
"""Of an answer; under emulation one takes three seconds."""
ADDRESS = "10.89.0.10 8080"
CLIENT = Path(__file__).resolve().parents[2] / "simulators" / "guest_client.py"
OUTPUT = "ingress.json"
LOOPBACK = (
    "nft insert rule inet blindllama output oifname lo tcp dport 443 accept",
    "nft insert rule inet blindllama input iifname lo accept",
)
"""Nobody asks over loopback in a guest; here somebody does."""
CHUNK = 2000
"""Characters of one typed line: a terminal takes 4095."""


@pytest.mark.soak
def test_what_the_ingress_costs(site: Site, inspected: Inspected) -> None:
    """The application is asked at its own address and through the ingress, by turns."""
    program = base64.b64encode(CLIENT.read_bytes()).decode()
    console = inspected.console
    for at in range(0, len(program), CHUNK):
        console.run(f"echo {program[at : at + CHUNK]} >> /run/client.b64")
    console.run("base64 -d /run/client.b64 > /run/client.py")
    # Only the ingress's user may speak to the application; root of a debug image may become it.
    run = f"python3 -I /run/client.py {ADDRESS} {ROUNDS} {TOKENS}"
    for rule in LOOPBACK:
        assert console.run(rule) == ""
    try:
        said = console.run(f"setpriv --reuid=caddy --regid=caddy --clear-groups {run}")
    finally:
        console.run(RULES)
    pairs = json.loads(said.splitlines()[-1])
    ratio = statistics.median(through / bare for bare, through in pairs)
    record = {"tokens": TOKENS, "pairs": pairs, "ratio": ratio}
    (site.workspace.build / OUTPUT).write_text(json.dumps(record, indent=1) + "\n")
    assert len(pairs) == ROUNDS
