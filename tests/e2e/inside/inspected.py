"""A guest that can be looked into and broken: the debug image, and a release that describes it.

Production has no shell to break anything with. The debug image runs the same units with a root
shell on its console beside them, so what comes back here comes back there. Its measurements are its
own; what they are is taken from its first evidence, signed like any release, and demanded from then
on.
"""

from __future__ import annotations

from dataclasses import dataclass

from blindllama import AttestedSession, verify_and_connect
from deploy.qemu import vm
from tests.simulators.debug_console import DebugConsole
from tests.simulators.signed_release import SignedRelease

PROMPT = "The capital of France is"
TOKENS = 2
RULES = "nft -f /etc/blindllama/firewall.nft && nft -f /run/app/network.nft"
"""Loads the packet filter anew, as the guest has loaded it."""


@dataclass(frozen=True, kw_only=True)
class Inspected:
    """A running guest of the debug image, root's shell in it, and who is told what it should be."""

    guest: vm.Guest
    console: DebugConsole
    release: SignedRelease

    def connect(self) -> AttestedSession:
        """A session after all ten checks."""
        return verify_and_connect(
            self.guest.url, release=self.release.evidence, policy=self.release.policy
        )

    def answer(self) -> str:
        """What the model says to `PROMPT`, over a connection that was verified for it."""
        with self.connect() as session:
            return session.completion(PROMPT, max_tokens=TOKENS, seed=0)

    def in_pod(self, index: int) -> str:
        """The beginning of a command in the namespaces of a pod, as their root."""
        monitor = f"$(pgrep --uid pod{index} --oldest conmon)"
        spaces = "--user --mount --net --ipc --cgroup --setuid 0 --setgid 0"
        return f"nsenter --target {monitor} {spaces} env HOME=/run/pod TMPDIR=/run/pod"

    def main_pid(self, unit: str) -> int:
        """The process of a service; 0 when it does not run."""
        return int(self.console.run(f"systemctl show --property=MainPID --value {unit}"))
