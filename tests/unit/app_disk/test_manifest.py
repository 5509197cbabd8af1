from __future__ import annotations

import json
from typing import Any

import pytest

from app_disk.manifest import App, Fault, ManifestError, load_yaml, parse_app, render_app
from tests.unit.app_disk.conftest import REMOVED, Documents, set_at

NAME = "localhost/llama-server"
REFERENCE = f"{NAME}@sha256:{'ab' * 32}"


def _parse(documents: Documents) -> App:
    return parse_app([json.dumps(document) for document in documents])


def _pod(deployment: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


def _container(deployment: dict[str, Any]) -> dict[str, Any]:
    container: dict[str, Any] = _pod(deployment)["containers"][0]
    return container


def test_the_default_application_is_understood(documents: Documents) -> None:
    app = _parse(documents)

    assert app.name == "llm"
    assert (str(app.address), app.port) == ("10.89.0.10", 8080)
    assert app.readiness.path == "/health"
    assert app.images == (NAME,)


def test_a_pod_of_its_own_is_understood(documents: Documents) -> None:
    deployment = documents[0]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "llm", "labels": {"app": "llm"}},
        "spec": _pod(deployment),
    }

    app = _parse([pod, *documents[1:]])

    assert app.pod == _parse(documents).pod
    rendered = render_app(app, {NAME: REFERENCE})
    assert load_yaml(rendered.decode())[0]["spec"]["containers"][0]["image"] == REFERENCE


POD = "0/spec/template/spec"
CONTAINER = f"{POD}/containers/0"
POLICY = "1/spec"
SERVICE = "2/spec"

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
        [{"name": "A", "value": "", "valueFrom": {}}],
    ),
    "resources": (Fault.FIELD, f"{CONTAINER}/resources", {}),
    "annotation": (Fault.FIELD, "0/metadata/annotations", {}),
    "namespace": (Fault.FIELD, "2/metadata/namespace", "other"),
    "excepted peer": (Fault.FIELD, f"{POLICY}/ingress/0/from/0/ipBlock/except", []),
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
    "service account": (Fault.VALUE, f"{POD}/automountServiceAccountToken", True),
    "pulled image": (Fault.VALUE, f"{CONTAINER}/imagePullPolicy", "IfNotPresent"),
    "writable volume": (Fault.VALUE, f"{CONTAINER}/volumeMounts/0/readOnly", False),
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
    "secret": (Fault.KIND, "2/kind", "Secret"),
    "no kind": (Fault.KIND, "2/kind", REMOVED),
    "kind of kinds": (Fault.KIND, "2/kind", ["Service"]),
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


@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize("times", [0, 2])
def test_each_object_is_there_once(documents: Documents, index: int, times: int) -> None:
    changed = [*documents[:index], *[documents[index]] * times, *documents[index + 1 :]]

    with pytest.raises(ManifestError) as caught:
        _parse(changed)

    assert caught.value.fault is Fault.COUNT


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


def test_the_disk_gets_images_by_digest(documents: Documents) -> None:
    rendered = render_app(_parse(documents), {NAME: REFERENCE, "localhost/other": "unused"})
    objects = load_yaml(rendered.decode())

    assert _container(objects[0])["image"] == REFERENCE
    _container(objects[0])["image"] = NAME
    assert objects == documents


def test_rendering_is_deterministic_and_stable(documents: Documents) -> None:
    once = render_app(_parse(documents), {NAME: REFERENCE})
    again = render_app(parse_app([once.decode()]), {NAME: REFERENCE})

    assert once == again


@pytest.mark.parametrize(
    "image",
    [
        "localhost/absent",
        f"{NAME}:latest",
        f"{NAME}@sha256:{'cd' * 32}",
        f"{NAME}:1@sha256:{'ab' * 32}",
        f"elsewhere.example/llama-server@sha256:{'ab' * 32}",
        "",
    ],
)
def test_an_image_that_is_not_on_the_disk_is_refused(documents: Documents, image: str) -> None:
    _container(documents[0])["image"] = image

    with pytest.raises(ManifestError) as caught:
        render_app(_parse(documents), {NAME: REFERENCE})

    assert caught.value.fault is Fault.IMAGE
