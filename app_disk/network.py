"""A NetworkPolicy as nftables rules: podman has none, so the guest's kernel enforces it.

Source: Kubernetes, Network Policies; nft(8).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from app_disk.manifest import Fault, ManifestError

if TYPE_CHECKING:
    from app_disk.kubernetes import IngressRule
    from app_disk.manifest import App

POD_ADDRESS = IPv4Address("10.89.0.10")
"""The one address that the guest gives to a pod."""
POD_PORT = 8080
"""The one port that the guest's TLS terminator forwards to."""
TERMINATOR = IPv4Network("10.89.0.1/32")
"""The TLS terminator's side of the pod's network; there is nobody else on it."""

_TABLE = """\
# The NetworkPolicy {name}. The table only drops: beside the guest's own rules, and in whatever
# order the two are loaded, it can narrow what passes and never widen it.
table inet app_policy {{
	chain to_pod {{
		type filter hook output priority 10; policy accept;
{ingress}
		ip daddr {pod} drop
	}}
	chain from_pod {{
		type filter hook input priority 10; policy accept;
		ip saddr {pod} ct state established accept
		ip saddr {pod} drop
	}}
	chain past_pod {{
		type filter hook forward priority 10; policy accept;
		ip saddr {pod} drop
		ip daddr {pod} drop
	}}
}}
"""


def check_network(app: App) -> None:
    """Nothing: the application's network is the one that a guest gives.

    Raises:
        ManifestError: It wants another address or port, or lets in someone else than the terminator.
    """
    if (app.address, app.port) != (POD_ADDRESS, POD_PORT):
        raise ManifestError(
            Fault.NETWORK, f"expected {POD_ADDRESS}:{POD_PORT}, got {app.address}:{app.port}"
        )
    for rule in app.policy.spec.ingress:
        peers = {peer.ip_block.cidr for peer in rule.from_}
        ports = {port.port for port in rule.ports}
        if (peers, ports) != ({TERMINATOR}, {POD_PORT}):
            raise ManifestError(
                Fault.NETWORK,
                f"NetworkPolicy: expected ingress from {TERMINATOR} to {POD_PORT} alone, "
                f"got {sorted(map(str, peers))} to {sorted(ports)}",
            )
    if set(app.policy.spec.policy_types) != {"Ingress", "Egress"}:
        raise ManifestError(Fault.NETWORK, "NetworkPolicy: expected Ingress and Egress to be ruled")


def network_rules(app: App) -> str:
    """The policy as an nftables file: ingress from the named peers, answers, and nothing else."""
    ingress = [line for rule in app.policy.spec.ingress for line in _accept_lines(app, rule)]
    return _TABLE.format(name=app.policy.metadata.name, pod=app.address, ingress="\n".join(ingress))


def _accept_lines(app: App, rule: IngressRule) -> list[str]:
    return [
        f"\t\tip saddr {peer.ip_block.cidr} ip daddr {app.address} tcp dport {port.port} accept"
        for peer in rule.from_
        for port in rule.ports
    ]
