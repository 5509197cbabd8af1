"""Where the guest keeps what it made since it booted: everything is on tmpfs, nothing survives."""

from pathlib import Path

RUNTIME = Path("/run/blindllama")
"""One folder per service, each owned by the service that writes it."""

APP_ROOT = Path("/run/app")
"""The application's disk, read through dm-verity for as long as the machine runs."""

APP_EVENTS = RUNTIME / "setup" / "app-events.json"
"""What was extended into PCR 15, in order, as the evidence shows it."""

EVENT_LOG = RUNTIME / "setup" / "event-log"
"""The firmware's event log, copied once because only root may read the kernel's file."""

ROUTES = RUNTIME / "setup" / "routes.caddy"
"""Which requests the ingress passes on to which pod; the image's Caddyfile imports it."""

PODS_SOCKET = RUNTIME / "app" / "pods.sock"
"""Where each pod comes for its place, once."""

POD = Path("/run/pod")
"""A pod's own memory, which no other process sees: podman's records, and directories that its
containers share, below `volumes`."""

CERTIFICATE = RUNTIME / "tls" / "certificate.pem"
KEY = RUNTIME / "tls" / "key.pem"
SPKI = RUNTIME / "tls" / "spki.der"
"""The public half of the key, DER SubjectPublicKeyInfo: the bytes that every quote binds."""

ATTEST_SOCKET = RUNTIME / "attest" / "attest.sock"
