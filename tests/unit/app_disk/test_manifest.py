from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app_disk.application import App, parse_app
from app_disk.manifest import Fault, ManifestError
from app_disk.source import read_app
from tests.unit.app_disk.conftest import REMOVED, Documents, set_at

NAME = "localhost/llama-server"


def _parse(documents: Documents) -> App:
    return parse_app([json.dumps(document) for document in documents])


def _pod(deployment: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


def test_the_default_application_is_understood(default_app: Path) -> None:
    app = read_app(default_app)

    (pod,) = app.workloads
    assert (app.name, str(pod.address), pod.ports) == ("llm", "10.89.0.10", (8080,))
    assert (pod.readiness.path, pod.readiness.port) == ("/health", 8080)
    assert app.images == ("localhost/front", NAME)
    assert [(one.path, one.exact) for one in app.routes] == [("/v1", False), ("/v2", False)]


def test_an_application_of_one_container_is_understood(documents: Documents) -> None:
    app = _parse(documents)

    (pod,) = app.workloads
    assert (app.name, pod.name) == ("llm", "llm")
    assert (str(pod.address), pod.ports) == ("10.89.0.10", (8080,))
    assert pod.readiness.path == "/health"
    assert app.images == (NAME,)
    assert app.needs_engine
    assert [(one.path, one.exact, one.workload, one.port) for one in app.routes] == [
        ("/v1", False, "llm", 8080)
    ]


def test_a_pod_of_its_own_is_understood(documents: Documents) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "llm", "labels": {"app": "llm"}},
        "spec": _pod(documents[0]),
    }

    app = _parse([pod, *documents[1:]])

    assert app.workloads == _parse(documents).workloads


POD = "0/spec/template/spec"
CONTAINER = f"{POD}/containers/0"
PATH = "1/spec/rules/0/http/paths/0"
POLICY = "2/spec"
SERVICE = "3/spec"
RULE = "2/spec/ingress/0"

# Each mutation makes one thing wrong; the fault says that it was noticed for what it is.
MUTATIONS: dict[str, tuple[Fault, str, object]] = {
    "host network": (Fault.FIELD, f"{POD}/hostNetwork", True),
    "host processes": (Fault.FIELD, f"{POD}/hostPID", True),
    "init container": (Fault.FIELD, f"{POD}/initContainers", []),
    "privileged": (Fault.FIELD, f"{CONTAINER}/securityContext/privileged", True),
    "capability": (Fault.FIELD, f"{CONTAINER}/securityContext/capabilities/add", ["NET_RAW"]),
    "liveness probe": (Fault.FIELD, f"{CONTAINER}/livenessProbe", {}),
    "host port": (Fault.FIELD, f"{CONTAINER}/ports/0/hostPort", 80),
    "value from elsewhere": (
        Fault.FIELD,
        f"{CONTAINER}/env",
        [{"name": "A", "valueFrom": {"secretKeyRef": {}}}],
    ),
    "more resources": (Fault.FIELD, f"{CONTAINER}/resources/requests", {}),
    "limit of CPU": (Fault.FIELD, f"{CONTAINER}/resources/limits/cpu", "1"),
    "host name": (Fault.FIELD, "1/spec/rules/0/host", "llm.example"),
    "certificate": (Fault.FIELD, "1/spec/tls", []),
    "default backend": (Fault.FIELD, "1/spec/defaultBackend", {}),
    "port by name": (Fault.FIELD, f"{PATH}/backend/service/port/name", "http"),
    "range of ports": (Fault.FIELD, f"{RULE}/ports/0/endPort", 9000),
    "other namespace label": (
        Fault.FIELD,
        f"{RULE}/from/0/namespaceSelector/matchLabels/team",
        "a",
    ),
    "optional ConfigMap": (
        Fault.FIELD,
        f"{POD}/volumes/0/configMap",
        {"name": "a", "optional": True},
    ),
    "claimed volume": (Fault.FIELD, f"{POD}/volumes/0/persistentVolumeClaim", {}),
    "annotation": (Fault.FIELD, "0/metadata/annotations", {}),
    "namespace": (Fault.FIELD, "3/metadata/namespace", "other"),
    "node port": (Fault.FIELD, f"{SERVICE}/ports/0/nodePort", 30000),
    "writable root": (
        Fault.VALUE,
        f"{CONTAINER}/securityContext/readOnlyRootFilesystem",
        False,
    ),
    "escalation": (
        Fault.VALUE,
        f"{CONTAINER}/securityContext/allowPrivilegeEscalation",
        REMOVED,
    ),
    "kept capabilities": (
        Fault.VALUE,
        f"{CONTAINER}/securityContext/capabilities/drop",
        ["CHOWN"],
    ),
    "no container security": (Fault.VALUE, f"{CONTAINER}/securityContext", REMOVED),
    "no pod security": (Fault.VALUE, f"{POD}/securityContext", REMOVED),
    "root": (Fault.VALUE, f"{POD}/securityContext/runAsUser", 0),
    "perhaps root": (Fault.VALUE, f"{POD}/securityContext/runAsNonRoot", False),
    "no seccomp": (Fault.VALUE, f"{POD}/securityContext/seccompProfile/type", "Unconfined"),
    "users of the host": (Fault.VALUE, f"{POD}/hostUsers", REMOVED),
    "numbers of the host": (Fault.VALUE, f"{POD}/hostUsers", True),
    "service account": (Fault.VALUE, f"{POD}/automountServiceAccountToken", True),
    "pulled image": (Fault.VALUE, f"{CONTAINER}/imagePullPolicy", "IfNotPresent"),
    "no limit": (Fault.VALUE, f"{CONTAINER}/resources", REMOVED),
    "no limit of memory": (Fault.VALUE, f"{CONTAINER}/resources/limits", {}),
    "limit in other units": (Fault.VALUE, f"{CONTAINER}/resources/limits/memory", "1G"),
    "two values": (
        Fault.VALUE,
        f"{CONTAINER}/env",
        [{"name": "A", "value": "", "valueFrom": {"configMapKeyRef": {"name": "a", "key": "b"}}}],
    ),
    "no value": (Fault.VALUE, f"{CONTAINER}/env", [{"name": "A"}]),
    "volume of two kinds": (
        Fault.VALUE,
        f"{POD}/volumes/0/emptyDir",
        {"medium": "Memory", "sizeLimit": "1Mi"},
    ),
    "empty directory on a disk": (
        Fault.VALUE,
        f"{POD}/volumes/0",
        {"name": "engine", "emptyDir": {"sizeLimit": "1Mi"}},
    ),
    "empty directory without end": (
        Fault.VALUE,
        f"{POD}/volumes/0",
        {"name": "engine", "emptyDir": {"medium": "Memory"}},
    ),
    "pattern of a path": (Fault.VALUE, f"{PATH}/pathType", "ImplementationSpecific"),
    "path with a wildcard": (Fault.VALUE, f"{PATH}/path", "/v1/*"),
    "path with a directive": (Fault.VALUE, f"{PATH}/path", "/v1 {\n}"),
    "two rules": (
        Fault.VALUE,
        "1/spec/rules",
        [{"http": {"paths": []}}, {"http": {"paths": []}}],
    ),
    "peer of two kinds": (Fault.VALUE, f"{RULE}/from/0/podSelector", {}),
    "everybody": (Fault.VALUE, f"{RULE}/from", []),
    "every port": (Fault.VALUE, f"{RULE}/ports", REMOVED),
    "another namespace": (
        Fault.VALUE,
        f"{RULE}/from/0/namespaceSelector/matchLabels",
        {"kubernetes.io/metadata.name": "default"},
    ),
    "writable volume": (Fault.VOLUME, f"{CONTAINER}/volumeMounts/0/readOnly", False),
    "mount over proc": (Fault.VOLUME, f"{CONTAINER}/volumeMounts/0/mountPath", "/proc/sys"),
    "mount beside": (Fault.VOLUME, f"{CONTAINER}/volumeMounts/0/mountPath", "/models/.."),
    "another host path": (Fault.VALUE, f"{POD}/volumes/0/hostPath/path", "/run/app"),
    "two replicas": (Fault.VALUE, "0/spec/replicas", 2),
    "true for a number": (Fault.VALUE, "0/spec/replicas", True),
    "text for a number": (Fault.VALUE, f"{SERVICE}/ports/0/port", "8080"),
    "UDP": (Fault.VALUE, f"{SERVICE}/ports/0/protocol", "UDP"),
    "load balancer": (Fault.VALUE, f"{SERVICE}/type", "LoadBalancer"),
    "no address": (Fault.VALUE, f"{SERVICE}/clusterIP", "None"),
    "egress rule": (Fault.VALUE, f"{POLICY}/egress", [{}]),
    "egress not ruled": (Fault.VALUE, f"{POLICY}/policyTypes", ["Ingress"]),
    "wrong version": (Fault.VALUE, "0/apiVersion", "apps/v1beta1"),
    "secret": (Fault.KIND, "3/kind", "Secret"),
    "no kind": (Fault.KIND, "3/kind", REMOVED),
    "kind of kinds": (Fault.KIND, "3/kind", ["Service"]),
    "missing ConfigMap": (
        Fault.CONFIG,
        f"{POD}/volumes/0",
        {"name": "engine", "configMap": {"name": "absent"}},
    ),
    "missing key": (
        Fault.CONFIG,
        f"{CONTAINER}/env",
        [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "absent", "key": "b"}}}],
    ),
    "setting twice": (Fault.NAME, f"{CONTAINER}/env", [{"name": "A", "value": ""}] * 2),
    "address of the guest": (Fault.NETWORK, f"{SERVICE}/clusterIP", "10.89.0.1"),
    "address elsewhere": (Fault.NETWORK, f"{SERVICE}/clusterIP", "10.89.1.10"),
    "address of everybody": (Fault.NETWORK, f"{SERVICE}/clusterIP", "10.89.0.255"),
    "path of the guest": (Fault.INGRESS, f"{PATH}/path", "/attestation"),
    "path below the guest's": (Fault.INGRESS, f"{PATH}/path", "/Healthz/x"),
    "path upwards": (Fault.INGRESS, f"{PATH}/path", "/v1/../x"),
    "path with nothing in it": (Fault.INGRESS, f"{PATH}/path", "/v1//x"),
    "unknown service": (Fault.INGRESS, f"{PATH}/backend/service/name", "other"),
    "unknown port": (Fault.INGRESS, f"{PATH}/backend/service/port/number", 9),
    "service of another": (Fault.SELECTOR, f"{SERVICE}/selector", {"app": "other"}),
    "policy for another": (Fault.SELECTOR, f"{POLICY}/podSelector/matchLabels/app", "other"),
    "deployment of another": (Fault.SELECTOR, "0/spec/selector/matchLabels/app", "other"),
    "unknown volume": (Fault.VOLUME, f"{CONTAINER}/volumeMounts/0/name", "other"),
    "unused volume": (Fault.VOLUME, f"{CONTAINER}/volumeMounts", REMOVED),
    "translated port": (Fault.NETWORK, f"{SERVICE}/ports/0/port", 80),
    "nobody listens": (Fault.NETWORK, f"{CONTAINER}/ports", REMOVED),
    "no probe": (Fault.PROBE, f"{CONTAINER}/readinessProbe", REMOVED),
    "probe elsewhere": (Fault.PROBE, f"{CONTAINER}/readinessProbe/httpGet/port", 9),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_what_a_guest_does_not_do_is_refused(documents: Documents, name: str) -> None:
    fault, path, value = MUTATIONS[name]
    set_at(documents, path, value)

    with pytest.raises(ManifestError) as caught:
        _parse(documents)

    assert (caught.value.code, caught.value.fault) == ("app_disk.manifest", fault)


@pytest.mark.parametrize(
    ("index", "fault"),
    [(0, Fault.COUNT), (1, Fault.COUNT), (2, Fault.SELECTOR), (3, Fault.SELECTOR)],
)
def test_no_object_may_be_missing(documents: Documents, index: int, fault: Fault) -> None:
    del documents[index]

    with pytest.raises(ManifestError) as caught:
        _parse(documents)

    assert caught.value.fault is fault


@pytest.mark.parametrize("index", range(4))
def test_no_name_is_given_twice(documents: Documents, index: int) -> None:
    with pytest.raises(ManifestError) as caught:
        _parse([*documents, documents[index]])

    assert caught.value.fault is Fault.NAME


@pytest.mark.parametrize(
    "text",
    [
        "kind: Pod\nkind: Service\n",
        "a: {b: 1, b: 2}\n",
        "a: &x {b: 1}\nc: *x\n",
        "a: {b: 1}\nc:\n  <<: {d: 1}\n  <<: {e: 1}\n",
        "a: 2026-01-01\n",
        "a: !!binary aGVsbG8=\n",
        "a: !!python/object/apply:os.getcwd []\n",
        "a: .nan\n",
        "? [1, 2]\n: 3\n",
        "a: [\n",
        "- 1\n",
        "text\n",
        "",
    ],
)
def test_yaml_that_readers_understand_differently_is_refused(text: str) -> None:
    with pytest.raises(ManifestError) as caught:
        parse_app([text])

    assert caught.value.code == "app_disk.manifest"
    assert caught.value.fault in {Fault.SYNTAX, Fault.KIND, Fault.COUNT}
