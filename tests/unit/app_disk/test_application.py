"""Several pods: each with its service, its address and its requests."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from app_disk.application import App, parse_app
from app_disk.manifest import Fault, ManifestError
from tests.unit.app_disk.conftest import Documents, set_at


def _parse(documents: Documents) -> App:
    return parse_app([json.dumps(document) for document in documents])


def _path(path: str, name: str, path_type: str = "Prefix") -> dict[str, Any]:
    service = {"name": name, "port": {"number": 8080}}
    return {"path": path, "pathType": path_type, "backend": {"service": service}}


@pytest.fixture
def two_pods(documents: Documents) -> Documents:
    """The default application beside itself, as `other`: Deployment 4, policy 5, service 6."""
    second = copy.deepcopy([documents[0], documents[2], documents[3]])
    for document in second:
        document["metadata"]["name"] = "other"
    labels = {"app": "other"}
    set_at(second, "0/spec/selector/matchLabels", labels)
    set_at(second, "0/spec/template/metadata/labels", labels)
    set_at(second, "1/spec/podSelector/matchLabels", labels)
    set_at(second, "2/spec/selector", labels)
    set_at(second, "2/spec/clusterIP", "10.89.0.11")
    documents[1]["spec"]["rules"][0]["http"]["paths"] = [
        _path("/", "llm"),
        _path("/v1/", "other"),
        _path("/v1", "llm", "Exact"),
        _path("/v1/models", "llm"),
    ]
    return [*documents, *second]


def test_each_pod_has_its_address(two_pods: Documents) -> None:
    app = _parse(two_pods)

    assert [(pod.name, str(pod.address)) for pod in app.workloads] == [
        ("llm", "10.89.0.10"),
        ("other", "10.89.0.11"),
    ]


def test_a_guest_has_accounts_for_so_many_pods_and_no_more(two_pods: Documents) -> None:
    first, ingress, *_ = two_pods
    pods = [ingress]
    for at in range(17):
        new = copy.deepcopy([two_pods[4], two_pods[5], two_pods[6]])
        name = "llm" if at == 0 else "other" if at == 1 else f"more{at}"
        for document in new:
            document["metadata"]["name"] = name
        for path in ("0/spec/selector/matchLabels", "0/spec/template/metadata/labels"):
            set_at(new, path, {"app": name})
        set_at(new, "1/spec/podSelector/matchLabels", {"app": name})
        set_at(new, "2/spec/selector", {"app": name})
        set_at(new, "2/spec/clusterIP", f"10.89.0.{10 + at}")
        pods += new
    assert first["kind"] == "Deployment"
    assert len(_parse(pods[:-3]).workloads) == 16

    with pytest.raises(ManifestError) as caught:
        _parse(pods)

    assert caught.value.fault is Fault.COUNT
    assert "at most 16 pods, got 17" in str(caught.value)


def test_the_longest_path_is_tried_first_and_the_whole_one_before_its_elements(
    two_pods: Documents,
) -> None:
    assert [(one.path, one.exact, one.workload) for one in _parse(two_pods).routes] == [
        ("/v1/models", False, "llm"),
        ("/v1", True, "llm"),
        ("/v1", False, "other"),
        ("", False, "llm"),
    ]


# Each mutation makes one thing wrong.
MUTATIONS: dict[str, tuple[Fault, str, object]] = {
    "one address for two": (Fault.NETWORK, "6/spec/clusterIP", "10.89.0.10"),
    "two services for one pod": (Fault.SELECTOR, "6/spec/selector", {"app": "llm"}),
    "a policy for nobody": (Fault.SELECTOR, "5/spec/podSelector/matchLabels", {"app": "x"}),
    "a pod that no policy rules": (Fault.SELECTOR, "5/spec/podSelector/matchLabels/app", "llm"),
    "one path for two": (
        Fault.INGRESS,
        "1/spec/rules/0/http/paths",
        [_path("/v1/", "llm"), _path("/V1", "other")],
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_pods_do_not_share(two_pods: Documents, name: str) -> None:
    assert len(_parse(two_pods).workloads) == 2
    fault, path, value = MUTATIONS[name]
    set_at(two_pods, path, value)

    with pytest.raises(ManifestError) as caught:
        _parse(two_pods)

    assert (caught.value.code, caught.value.fault) == ("app_disk.manifest", fault)


def test_a_policy_may_rule_all_pods(two_pods: Documents) -> None:
    del two_pods[5]
    set_at(two_pods, "2/spec/podSelector", {})

    (policy,) = _parse(two_pods).policies

    assert policy.spec.pod_selector.match_labels == {}
