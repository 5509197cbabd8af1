"""The guest's own ingress as a process of this machine: its Caddy, its Caddyfile, other places.

Only addresses and paths differ from the image's file, and each replacement must find its place.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from os_image.guest import runtime
from os_image.guest.app_description import AppDescription, Route
from os_image.guest.routes import render_routes
from supply_chain.inputs.tree import Tree
from supply_chain.process import spawn
from tests.simulators.ingress_key import make_ingress_key

CADDYFILE = Path(__file__).resolve().parents[2] / "os_image/guest/files/etc/caddy/Caddyfile"
_READY_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Ingress:
    """A running ingress on loopback."""

    port: int

    def connect(self) -> ssl.SSLSocket:
        """A connection to it; whose key it has is not looked at."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context.wrap_socket(socket.create_connection(("127.0.0.1", self.port), timeout=60))


@contextlib.contextmanager
def ingress(tree: Tree, folder: Path, *, attest: Path, application: int) -> Iterator[Ingress]:
    """The ingress of the guest whose packages are in `tree`, while the block runs.

    Args:
        tree: The unpacked packages of the guest.
        folder: An empty folder.
        attest: The socket of the attestation service.
        application: The port of loopback that `/v1` leads to.
    """
    made = make_ingress_key(tree, folder)
    route = Route(path="/v1", exact=False, address="127.0.0.1", port=application)
    routes = folder / "routes.caddy"
    routes.write_text(render_routes(AppDescription(name="bench", pods=(), routes=(route,))))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        running = Ingress(port=probe.getsockname()[1])
    text = CADDYFILE.read_text()
    for old, new in {
        "\n:443 {": f"\n:{running.port} {{\n\tbind 127.0.0.1",
        f"unix/{runtime.ATTEST_SOCKET}": f"unix/{attest}",
        str(runtime.CERTIFICATE): str(made.certificate),
        str(runtime.KEY): str(made.key),
        str(runtime.ROUTES): str(routes),
    }.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    config = folder / "Caddyfile"
    config.write_text(text)
    libraries = tree.root / "usr/lib/x86_64-linux-gnu"
    # By the tree's own loader and libraries: the machine's may be older than the guest's.
    argv = [str(libraries / "ld-linux-x86-64.so.2"), "--library-path", str(libraries)]
    argv += [str(tree.root / "usr/bin/caddy"), "run", "--config", str(config)]
    log = folder / "caddy.log"
    process = spawn([*argv, "--adapter", "caddyfile"], stdout=log, env={"HOME": str(folder)})
    try:
        deadline = time.monotonic() + _READY_S
        while not _listens(running.port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"caddy did not start: {log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
