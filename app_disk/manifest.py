"""Kubernetes manifests as a person writes them, and as they go onto the disk.

The source names images without a digest (`localhost/llama-server`), since digests follow from the
lock. The build puts in the digest of the image that it has made, parses the result again with the
same strict rules, and writes it as JSON, which every YAML parser reads alike.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import yaml
from pydantic import ValidationError

from app_disk.kubernetes import KINDS, Container, Deployment, NetworkPolicy, Pod, Service
from supply_chain.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence
    from ipaddress import IPv4Address

    from app_disk.kubernetes import HttpGet, PodSpec


class Fault(StrEnum):
    """What is wrong with a manifest."""

    SYNTAX = "syntax"
    KIND = "kind"
    FIELD = "unsupported_field"
    VALUE = "value"
    COUNT = "count"
    SELECTOR = "selector"
    IMAGE = "image"
    NETWORK = "network"
    VOLUME = "volume"
    PROBE = "probe"


class ManifestError(BuildError):
    """A manifest asks for what a guest does not do, or contradicts itself."""

    code: ClassVar[str] = "app_disk.manifest"

    def __init__(self, fault: Fault, message: str) -> None:
        """Keep the fault for programs and the text for people."""
        self.fault = fault
        super().__init__(f"manifest: {message}")


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """An application whose manifest has been understood completely."""

    name: str
    """The name of its Pod or Deployment."""
    pod: PodSpec
    address: IPv4Address
    """Where the pod listens: the service's cluster address."""
    port: int
    readiness: HttpGet
    """The page that tells when it can work."""
    policy: NetworkPolicy
    documents: tuple[Mapping[str, Any], ...]
    """The objects as they were given, JSON-shaped."""

    @property
    def images(self) -> tuple[str, ...]:
        """The images that its containers name, sorted."""
        return tuple(sorted({container.image for container in self.pod.containers}))


_Kind = TypeVar("_Kind", Service, NetworkPolicy)


def parse_app(texts: Sequence[str]) -> App:
    """The application that some YAML files describe together.

    Raises:
        ManifestError: Its `fault` says what is wrong.
    """
    documents = [document for text in texts for document in load_yaml(text)]
    return _app(documents)


def render_app(app: App, images: Mapping[str, str]) -> bytes:
    """The manifest for the disk: each image by its digest, one JSON document per object.

    Args:
        app: The application as its source describes it.
        images: References with digest, by image name.

    Raises:
        ManifestError: An image is not on the disk, or is named with another digest or with a tag.
    """
    documents = json.loads(json.dumps(app.documents))
    for document in documents:
        for container in _containers(document):
            container["image"] = _reference(container["image"], images)
    text = "---\n".join(json.dumps(document, indent=1) + "\n" for document in documents)
    rendered = parse_app([text])
    unknown = set(rendered.images) - set(images.values())
    if unknown:
        raise ManifestError(Fault.IMAGE, f"expected images of the disk only, got {sorted(unknown)}")
    return text.encode("ascii")


class _StrictLoader(yaml.SafeLoader):
    """YAML without its surprises: no key twice, no anchors and no merges."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise ManifestError(Fault.SYNTAX, "expected plain YAML, got an alias (*name)")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        keys = [key.value for key, _ in node.value]
        if len(set(map(str, keys))) != len(keys):
            raise ManifestError(Fault.SYNTAX, f"expected each key once, got {keys}")
        return super().construct_mapping(node, deep)


def load_yaml(text: str) -> list[dict[str, Any]]:
    """The objects of a YAML file, JSON-shaped.

    Raises:
        ManifestError: It is not YAML, repeats a key, uses anchors, or holds something else than
            mappings.
    """
    try:
        documents = list(yaml.load_all(text, Loader=_StrictLoader))
        # What JSON cannot say (dates, binary, sets) is no Kubernetes either.
        objects: list[Any] = json.loads(json.dumps(documents, allow_nan=False))
    except (yaml.YAMLError, TypeError, ValueError, RecursionError) as exc:
        raise ManifestError(Fault.SYNTAX, f"not plain YAML: {exc}") from exc
    for found in objects:
        if not isinstance(found, dict):
            raise ManifestError(Fault.SYNTAX, f"expected objects, got {found!r}")
    return objects


def _app(documents: Sequence[Mapping[str, Any]]) -> App:
    objects = [_parse_object(document) for document in documents]
    workloads = [one for one in objects if isinstance(one, Pod | Deployment)]
    if len(workloads) != 1:
        raise ManifestError(
            Fault.COUNT, f"expected one Pod or Deployment, got {len(workloads)} of them"
        )
    pod, labels = _pod(workloads[0])
    service = _only(objects, Service)
    policy = _only(objects, NetworkPolicy)
    _check_selector(service.spec.selector, labels, "Service")
    _check_selector(policy.spec.pod_selector.match_labels, labels, "NetworkPolicy")
    _check_volumes(pod)
    port = service.spec.ports[0]
    if port.port != port.target_port:
        raise ManifestError(
            Fault.NETWORK,
            f"Service: nothing translates ports; expected port {port.target_port}, got {port.port}",
        )
    return App(
        name=workloads[0].metadata.name,
        pod=pod,
        address=service.spec.cluster_ip,
        port=port.port,
        readiness=_readiness(pod, port.port),
        policy=policy,
        documents=tuple(documents),
    )


def _parse_object(document: Mapping[str, Any]) -> Pod | Deployment | Service | NetworkPolicy:
    kind = document.get("kind")
    model = KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise ManifestError(Fault.KIND, f"expected a kind of {', '.join(KINDS)}, got {kind!r}")
    try:
        return model.model_validate(document)
    except ValidationError as exc:
        errors = exc.errors(include_url=False)
        unsupported = [error for error in errors if error["type"] == "extra_forbidden"]
        fault = Fault.FIELD if unsupported else Fault.VALUE
        what = "; ".join(
            f"{kind}.{'.'.join(map(str, error['loc']))}: {error['msg']}"
            for error in unsupported or errors
        )
        raise ManifestError(fault, what) from exc


def _pod(workload: Pod | Deployment) -> tuple[PodSpec, Mapping[str, str]]:
    if isinstance(workload, Pod):
        return workload.spec, workload.metadata.labels
    labels = workload.spec.template.metadata.labels
    _check_selector(workload.spec.selector.match_labels, labels, "Deployment")
    return workload.spec.template.spec, labels


def _only(objects: Sequence[object], kind: type[_Kind]) -> _Kind:
    found = [one for one in objects if isinstance(one, kind)]
    if len(found) != 1:
        raise ManifestError(Fault.COUNT, f"expected one {kind.__name__}, got {len(found)}")
    return found[0]


def _check_selector(selector: Mapping[str, str], labels: Mapping[str, str], kind: str) -> None:
    if not selector.items() <= labels.items():
        raise ManifestError(
            Fault.SELECTOR, f"{kind}: expected it to select the pod {dict(labels)}, got {selector}"
        )


def _check_volumes(pod: PodSpec) -> None:
    known = [volume.name for volume in pod.volumes]
    used = {mount.name for container in pod.containers for mount in container.volume_mounts}
    if len(set(known)) != len(known) or used != set(known):
        raise ManifestError(
            Fault.VOLUME,
            f"expected each volume once and in use: {known}, got mounts {sorted(used)}",
        )


def _readiness(pod: PodSpec, port: int) -> HttpGet:
    serving = [
        container
        for container in pod.containers
        if any(open_port.container_port == port for open_port in container.ports)
    ]
    if len(serving) != 1:
        raise ManifestError(
            Fault.NETWORK, f"expected one container with port {port}, got {len(serving)}"
        )
    probe = _probe_of_only(pod.containers)
    if serving[0].readiness_probe is None or probe.port != port:
        raise ManifestError(
            Fault.PROBE, f"expected the readiness probe at the service's port {port}"
        )
    return probe


def _probe_of_only(containers: Sequence[Container]) -> HttpGet:
    probes = [one.readiness_probe for one in containers if one.readiness_probe is not None]
    if len(probes) != 1:
        raise ManifestError(Fault.PROBE, f"expected one readiness probe, got {len(probes)}")
    return probes[0].http_get


def _containers(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    spec = document["spec"]
    if document["kind"] == "Deployment":
        spec = spec["template"]["spec"]
    containers: list[dict[str, Any]] = spec.get("containers", [])
    return containers


def _reference(image: str, images: Mapping[str, str]) -> str:
    name, _, digest = image.partition("@")
    if name not in images:
        raise ManifestError(
            Fault.IMAGE, f"expected an image of {', '.join(sorted(images))}, got {image!r}"
        )
    if digest and images[name] != image:
        raise ManifestError(Fault.IMAGE, f"expected {images[name]}, got {image}")
    return images[name]
