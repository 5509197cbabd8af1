"""NetworkPolicy objects as nftables rules: podman has none, so the guest's kernel enforces them.

Source: Kubernetes, Network Policies; nft(8).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app_disk.manifest import Fault, ManifestError

if TYPE_CHECKING:
    from app_disk.application import App, Workload

TERMINATOR = "10.89.0.1"
"""The TLS terminator's side of the pods' network."""

_TABLE = """\
# The NetworkPolicies of {name}. The table only drops: beside the guest's own rules, and in whatever
# order the two are loaded, it can narrow what passes and never widen it.
table inet app_policy {{
	chain to_pod {{
		type filter hook output priority 10; policy accept;
{ingress}
		ip daddr {{ {pods} }} drop
	}}
	chain from_pod {{
		type filter hook input priority 10; policy accept;
		ip saddr {{ {pods} }} ct state established accept
		ip saddr {{ {pods} }} drop
	}}
	chain past_pod {{
		type filter hook forward priority 10; policy accept;
		ip saddr {{ {pods} }} drop
		ip daddr {{ {pods} }} drop
	}}
}}
"""


def check_network(app: App) -> None:
    """Nothing: the application's network is one that a guest gives.

    Raises:
        ManifestError: A policy lets in someone else than the terminator, or lets a pod out.
    """
    for policy in app.policies:
        name = policy.metadata.name
        if policy.spec.egress:
            raise ManifestError(
                Fault.NETWORK, f"NetworkPolicy {name}: expected no egress, got a rule"
            )
        for rule in policy.spec.ingress:
            if any(peer.namespace_selector is None for peer in rule.from_):
                raise ManifestError(
                    Fault.NETWORK,
                    f"NetworkPolicy {name}: expected ingress from the namespace ingress alone",
                )


def network_rules(app: App) -> str:
    """The policies as an nftables file: ingress from the named peers, answers, and nothing else."""
    ingress = [line for workload in app.workloads for line in _accept_lines(app, workload)]
    return _TABLE.format(
        name=app.name,
        pods=", ".join(str(workload.address) for workload in app.workloads),
        ingress="\n".join(ingress),
    )


def _accept_lines(app: App, workload: Workload) -> list[str]:
    ports = {
        port.port
        for policy in app.policies
        if workload.selected_by(policy.spec.pod_selector.match_labels)
        for rule in policy.spec.ingress
        for port in rule.ports
    }
    return [
        f"\t\tip saddr {TERMINATOR} ip daddr {workload.address} tcp dport {port} accept"
        for port in sorted(ports)
    ]
