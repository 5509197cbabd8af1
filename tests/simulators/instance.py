"""An instance of a fleet: a machine with a TPM, a certificate and a TLS key of its own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from tests.simulators.ak_authority import Issuer
from tests.simulators.attested_server import Server, TlsKey, attested_server
from tests.simulators.booted_guest import APP, BootedGuest, Papers, boot
from tests.simulators.software_ak import SoftwareAk, SoftwareQuoter

OTHER_APP = (("app-disk", b"another application"), APP[1])


def start_instance(
    stack: ExitStack, root: Issuer, *, app: Sequence[tuple[str, bytes]] = APP
) -> Server:
    """A running instance, until the stack closes.

    Args:
        stack: Ends it.
        root: Who certifies its attestation key, through an intermediate of its own.
        app: What it has booted besides the system.
    """
    quoter, key = SoftwareQuoter(ak=SoftwareAk.make_rsa()), TlsKey()
    boot(quoter, app=app)
    guest = BootedGuest(quoter=quoter, papers=Papers.of(quoter, root), spki=key.spki)
    server = stack.enter_context(attested_server(guest, key))
    # Each request of the application on a connection of its own: all instances have their turn.
    server.closes_after_answer = True
    return server
