from __future__ import annotations

import json

import pytest

from app_disk.manifest import App, Fault, ManifestError, parse_app
from app_disk.network import check_network, network_rules
from tests.unit.app_disk.conftest import Documents, set_at


def _app(documents: Documents) -> App:
    return parse_app([json.dumps(document) for document in documents])


def test_the_policy_lets_the_terminator_in_and_nothing_out(documents: Documents) -> None:
    app = _app(documents)
    check_network(app)
    lines = [line.strip() for line in network_rules(app).splitlines()]

    accepting = [line for line in lines if line.endswith(" accept")]
    assert accepting == [
        "ip saddr 10.89.0.1/32 ip daddr 10.89.0.10 tcp dport 8080 accept",
        "ip saddr 10.89.0.10 ct state established accept",
    ]
    assert lines.count("ip saddr 10.89.0.10 drop") == 2
    assert lines.count("ip daddr 10.89.0.10 drop") == 2
    for hook in ("output", "input", "forward"):
        assert f"type filter hook {hook} priority 10; policy accept;" in lines


@pytest.mark.parametrize(
    ("index", "path", "value"),
    [
        (2, "clusterIP", "10.89.0.11"),
        (1, "ingress/0/from/0/ipBlock/cidr", "0.0.0.0/0"),
        (1, "ingress/0/from", [{"ipBlock": {"cidr": c}} for c in ("10.89.0.1/32", "10.0.0.0/8")]),
        (1, "ingress/0/ports", [{"port": 8080}, {"port": 22}]),
        (1, "policyTypes", ["Ingress", "Ingress"]),
    ],
    ids=["address", "everyone", "one more", "port", "egress not ruled"],
)
def test_another_network_than_the_guests_is_refused(
    documents: Documents, index: int, path: str, value: object
) -> None:
    set_at(documents[index]["spec"], path, value)

    with pytest.raises(ManifestError) as caught:
        check_network(_app(documents))

    assert (caught.value.code, caught.value.fault) == ("app_disk.manifest", Fault.NETWORK)
