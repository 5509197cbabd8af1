"""64 clients at one guest, each attesting it anew for every answer: none is wrong, memory is flat.

They do what a guest that has no time asks for: they wait, and ask again.
"""

from __future__ import annotations

import json
import re
import statistics
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import pytest

from blindllama import AttestedSession, BusyError, Error, NetworkError
from building_site import Site
from tests.e2e.inside.inspected import Inspected

CLIENTS = 64
PROMPT, TOKENS = "Once", 2
"""Of an answer: a token read or written takes seconds under emulation, and each client is to get
one."""
SECONDS = 600
SAMPLE_S = 5.0
GROWTH_MIB = 48.0
"""What half a run may take more than the other half: the page cache and the allocators breathe."""
OUTPUT = "soak.json"


@dataclass(kw_only=True)
class Crowd:
    """Clients that ask until they are told to stop, and what came of it."""

    inspected: Inspected
    expected: str
    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, seconds: float) -> list[float]:
        """Let all clients ask for this long; the guest's free memory over that time, in MiB."""
        clients = [threading.Thread(target=self._client) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        free = []
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                time.sleep(SAMPLE_S)
                free.append(available_mib(self.inspected))
        finally:
            self.over.set()
            for client in clients:
                client.join()
        return free

    def _client(self) -> None:
        while not self.over.is_set():
            try:
                with self.inspected.connect() as session:
                    answer = self._asked(session)
            except NetworkError as exc:
                # The queue was longer than the client's patience: not an answer.
                outcome = f"not reached: {exc}"
            except Error as exc:
                outcome = f"refused: {exc}"
                with self.lock:
                    self.wrong.append(outcome)
            else:
                if answer is None:
                    return
                outcome = "right" if answer == self.expected else "wrong"
                if outcome == "wrong":
                    with self.lock:
                        self.wrong.append(answer)
            with self.lock:
                self.outcomes[outcome] += 1

    def _asked(self, session: AttestedSession) -> str | None:
        """The answer, as soon as the guest has time for it; None where all is over before."""
        while not self.over.is_set():
            try:
                return answered(session)
            except BusyError as exc:
                with self.lock:
                    self.outcomes[f"busy: {exc}"] += 1
                self.over.wait(exc.retry_after or 1)
        return None


def answered(session: AttestedSession) -> str:
    """What the model says to the prompt, at most so many tokens of it."""
    return session.completion(PROMPT, max_tokens=TOKENS, seed=0)


def available_mib(inspected: Inspected) -> float:
    """Memory of the guest that is free or could be freed at once, in MiB."""
    said = inspected.console.run("grep ^MemAvailable: /proc/meminfo")
    # The kernel may speak at the same console, in the middle.
    found = re.search(r"^MemAvailable: +(\d+) kB$", said, re.MULTILINE)
    assert found, said
    return int(found[1]) / 1024


@pytest.mark.soak
def test_no_answer_is_wrong_and_memory_is_flat(site: Site, inspected: Inspected) -> None:
    """Every answer is what one client alone gets; what is used at the end was used before."""
    with inspected.connect() as session:
        crowd = Crowd(inspected=inspected, expected=answered(session))
    before = inspected.main_pid("blindllama-attest.service")
    free = crowd.run(SECONDS)
    half = len(free) // 2
    record = {
        "clients": CLIENTS,
        "seconds": SECONDS,
        "outcomes": dict(crowd.outcomes),
        "free_mib": free,
    }
    (site.workspace.build / OUTPUT).write_text(json.dumps(record, indent=1) + "\n")
    assert crowd.wrong == []
    assert crowd.outcomes["right"] >= CLIENTS
    assert inspected.main_pid("blindllama-attest.service") == before
    assert statistics.median(free[:half]) - statistics.median(free[half:]) < GROWTH_MIB
