"""The packet filter that a guest ends up with, as its own nft lists it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from supply_chain.errors import CommandError
from supply_chain.inputs.tree import Bind

if TYPE_CHECKING:
    from supply_chain.inputs.tree import Tree

FIREWALL = Path(__file__).resolve().parent / "guest/files/etc/blindllama/firewall.nft"
"""The image's own part."""
_INSIDE = "/mnt/firewall.nft"


def effective_rules(app_rules: str, *, guest: Tree) -> str:
    """The rules in force once the image's and then an application's are loaded.

    They are loaded into a network namespace that ends with the call: nothing of this machine changes.

    Args:
        app_rules: The application's part, `/network.nft` of its disk.
        guest: A root that holds the guest's nft.

    Raises:
        CommandError: The kernel does not take them.
        BuildError: This process is not root.
    """
    # One nft for all of it, since the namespace is gone with it; only between the lines of a dialogue
    # does nft ask the kernel anew.
    dialogue = f'include "{_INSIDE}"\n{app_rules}\nlist ruleset\n'.encode("ascii")
    binds = [Bind(host=FIREWALL, inside=_INSIDE)]
    done = guest.run(["/usr/sbin/nft", "--interactive"], binds=binds, stdin=dialogue)
    if b"Error:" in done.stderr:
        raise CommandError(done.argv, returncode=done.returncode, stderr=done.stderr)
    return done.stdout.decode("ascii")
