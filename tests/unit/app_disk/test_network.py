from __future__ import annotations

import json

import pytest

from app_disk.application import App, parse_app
from app_disk.manifest import Fault, ManifestError
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
        "ip saddr 10.89.0.1 ip daddr 10.89.0.10 tcp dport 8080 accept",
        "ip saddr { 10.89.0.10 } ct state established accept",
    ]
    assert lines.count("ip saddr { 10.89.0.10 } drop") == 2
    assert lines.count("ip daddr { 10.89.0.10 } drop") == 2
    for hook in ("output", "input", "forward"):
        assert f"type filter hook {hook} priority 10; policy accept;" in lines


EGRESS = [{"to": [{"podSelector": {}}], "ports": [{"port": 8080}]}]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("ingress/0/from", [{"ipBlock": {"cidr": "0.0.0.0/0"}}]),
        ("ingress/0/from", [{"podSelector": {}}]),
        ("egress", EGRESS),
    ],
    ids=["everyone", "pods", "egress"],
)
def test_another_network_than_the_guests_is_refused(
    documents: Documents, path: str, value: object
) -> None:
    set_at(documents[2]["spec"], path, value)

    with pytest.raises(ManifestError) as caught:
        check_network(_app(documents))

    assert (caught.value.code, caught.value.fault) == ("app_disk.manifest", Fault.NETWORK)
