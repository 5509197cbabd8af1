"""What NetworkPolicies come to, and that nothing is believed of which nothing comes."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, ip_network
from pathlib import Path

import pytest

from app_disk.application import App, parse_app
from app_disk.build import build_app_disk
from app_disk.manifest import Fault, ManifestError
from app_disk.network import Opening, Passage, plan_network
from app_disk.packet_filter import network_rules
from supply_chain.inputs.tree import Tree
from supply_chain.progress import SilentProgress
from tests.unit.app_disk.conftest import Documents, client_policy, pods_named, set_at

WEB, STORE, THIRD = (IPv4Address(f"10.89.0.{number}") for number in (10, 11, 12))
PORTS = [{"port": 5432}]


def _app(documents: Documents) -> App:
    return parse_app([json.dumps(document) for document in documents])


def test_the_default_lets_the_terminator_in_and_nothing_else(documents: Documents) -> None:
    plan = plan_network(_app(documents))
    assert plan.routes == (Opening(address=WEB, port=8080),)
    assert plan.probes == plan.routes
    assert plan.passages == ()
    assert plan.clients is None
    assert network_rules(_app(documents)).splitlines()[1:] == [
        "add element inet blindllama routes { 10.89.0.10 . 8080 }",
        "add element inet blindllama probes { 10.89.0.10 . 8080 }",
        "add element bridge blindllama links { pod0 . 02:00:0a:59:00:0a . 10.89.0.10 }",
    ]


def test_pods_talk_where_both_sides_say_so(three_pods: Documents) -> None:
    plan = plan_network(_app(three_pods))
    assert plan.routes == (Opening(address=WEB, port=8080),)
    assert [one.address for one in plan.probes] == [WEB, STORE, THIRD]
    assert plan.passages == (Passage(source=WEB, target=STORE, port=5432),)
    links = ", ".join(
        f"pod{index} . 02:00:0a:59:00:0{last} . {pod}"
        for index, last, pod in ((0, "a", WEB), (1, "b", STORE), (2, "c", THIRD))
    )
    assert network_rules(_app(three_pods)).splitlines()[3:] == [
        f"add element bridge blindllama links {{ {links} }}",
        "add element bridge blindllama pod_to_pod { 10.89.0.10 . 10.89.0.11 . 5432 }",
        f"add element bridge blindllama neighbours {{ {WEB} . {STORE}, {STORE} . {WEB} }}",
    ]


def test_a_selector_without_labels_means_every_pod_but_oneself(three_pods: Documents) -> None:
    for policy in (2, 8):
        everybody: list[dict[str, object]] = [{"podSelector": {}}]
        set_at(three_pods, f"{policy}/spec/egress", [{"to": everybody, "ports": PORTS}])
    set_at(three_pods, "5/spec/ingress", [{"from": [{"podSelector": {}}], "ports": PORTS}])
    assert plan_network(_app(three_pods)).passages == tuple(
        Passage(source=source, target=STORE, port=5432) for source in (WEB, THIRD)
    )


def test_clients_are_ranges_of_both_families_less_their_exceptions(documents: Documents) -> None:
    blocks = (
        {"cidr": "203.0.113.0/24", "except": ["203.0.113.128/25", "203.0.113.0/26"]},
        {"cidr": "203.0.113.64/27"},
        {"cidr": "2001:db8::/32", "except": ["2001:db8:8000::/33"]},
    )
    app = _app([*documents, client_policy(*blocks)])
    assert plan_network(app).clients == (
        ip_network("203.0.113.64/26"),
        ip_network("2001:db8::/33"),
    )
    assert network_rules(app).splitlines()[4:] == [
        "add rule inet blindllama clients ip saddr { 203.0.113.64/26 } return",
        "add rule inet blindllama clients ip6 saddr { 2001:db8::/33 } return",
        "add rule inet blindllama clients drop",
    ]


EVERYBODY = {"ipBlock": {"cidr": "0.0.0.0/0"}}
TERMINATOR = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}

# Each makes one thing wrong with the three pods; the words are those of the reason.
REFUSED: dict[str, tuple[str, object, str]] = {
    "from everybody": ("2/spec/ingress/0/from", [TERMINATOR, EVERYBODY], "in from, got ipBlock"),
    "to everybody": ("2/spec/egress/0/to", [EVERYBODY], "nothing leaves a guest"),
    "to the terminator": ("2/spec/egress/0/to", [TERMINATOR], "nothing leaves a guest"),
    "out alone": ("5/spec/ingress", [], "each egress rule"),
    "in alone": ("2/spec/egress", [], "each ingress rule"),
    "another port": ("2/spec/egress/0/ports", [{"port": 5433}], "each egress rule"),
    "to nobody": ("2/spec/egress/0/to", [pods_named("nobody")], "each egress rule"),
    "to oneself": (
        "8/spec/egress",
        [{"to": [pods_named("third")], "ports": PORTS}],
        "each egress rule",
    ),
    "a path that no policy lets in": ("2/spec/ingress", [], "no NetworkPolicy lets them in"),
    "a port that no path leads to": (
        "8/spec/ingress",
        [{"from": [TERMINATOR], "ports": [{"port": 8080}]}],
        "no path leads there",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_guest_does_not_do_is_refused(three_pods: Documents, name: str) -> None:
    path, value, reason = REFUSED[name]
    set_at(three_pods, path, value)
    with pytest.raises(ManifestError, match=reason) as caught:
        plan_network(_app(three_pods))
    assert (caught.value.code, caught.value.fault) == ("app_disk.manifest", Fault.NETWORK)


NETWORK = {"cidr": "203.0.113.0/24"}
CLIENTS: dict[str, tuple[Fault, str, object]] = {
    "another port": (Fault.NETWORK, "ingress/0/ports", [{"port": 22}]),
    "pods": (Fault.NETWORK, "ingress/0/from", [{"podSelector": {}}]),
    "nobody": (Fault.NETWORK, "ingress", []),
    "nobody in the end": (
        Fault.NETWORK,
        "ingress/0/from/0/ipBlock/except",
        ["203.0.113.0/25", "203.0.113.128/25"],
    ),
    "an exception outside": (Fault.VALUE, "ingress/0/from/0/ipBlock/except", ["192.0.2.0/25"]),
    "an exception of the other family": (
        Fault.VALUE,
        "ingress/0/from/0/ipBlock/except",
        ["2001:db8::/64"],
    ),
    "egress": (Fault.VALUE, "policyTypes", ["Ingress", "Egress"]),
    "some terminator": (Fault.VALUE, "podSelector", {"matchLabels": {"app": "llm"}}),
    "host bits": (Fault.VALUE, "ingress/0/from/0/ipBlock/cidr", "203.0.113.7/24"),
}


@pytest.mark.parametrize("name", CLIENTS)
def test_other_clients_than_a_guest_can_tell_apart_are_refused(
    documents: Documents, name: str
) -> None:
    fault, path, value = CLIENTS[name]
    policy = client_policy(NETWORK)
    set_at(policy["spec"], path, value)
    with pytest.raises(ManifestError) as caught:
        plan_network(_app([*documents, policy]))
    assert (caught.value.code, caught.value.fault) == ("app_disk.manifest", fault)


def test_a_policy_of_a_pod_rules_both_directions(documents: Documents) -> None:
    set_at(documents, "2/spec/policyTypes", ["Ingress"])
    with pytest.raises(ManifestError) as caught:
        _app(documents)
    assert caught.value.fault == Fault.VALUE


def test_k3s_is_not_given_a_policy_that_it_would_not_enforce(
    documents: Documents, tmp_path: Path
) -> None:
    with pytest.raises(ManifestError, match="would enforce the policy nowhere") as caught:
        build_app_disk(
            _app([*documents, client_policy(NETWORK)]),
            images=(),
            engine=None,
            airgap=tmp_path / "airgap.tar",
            tools=Tree(tmp_path),
            out=tmp_path,
            progress=SilentProgress(),
        )
    assert (caught.value.code, caught.value.fault) == ("app_disk.manifest", Fault.NETWORK)
