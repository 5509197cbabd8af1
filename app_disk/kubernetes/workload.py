"""What runs: Pod and Deployment, and the ConfigMaps whose values and files their containers get."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from app_disk.kubernetes.base import (
    FilePath,
    Items,
    KubernetesObject,
    Label,
    Labels,
    Metadata,
    Port,
    Selector,
    UrlPath,
)

Identity = Annotated[int, Field(ge=1, le=2**31 - 1)]
"""A user or group that is not root."""
Quantity = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,4}(Ki|Mi|Gi)$")]
"""An amount of memory, as Kubernetes writes it."""
ConfigKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,252}$")]
"""The name of a value of a ConfigMap, and of its file; no dot in front."""

_UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}


def quantity_bytes(quantity: str) -> int:
    """The number of bytes that a `Quantity` names."""
    return int(quantity[:-2]) * _UNITS[quantity[-2:]]


class ConfigMap(KubernetesObject):
    """Values that are part of the application, each a text; they are on the measured disk."""

    api_version: Literal["v1"]
    kind: Literal["ConfigMap"]
    metadata: Metadata
    data: Annotated[dict[ConfigKey, str], Field(min_length=1)]


class SeccompProfile(KubernetesObject):
    """The filter of system calls: the runtime's own."""

    type: Literal["RuntimeDefault"]


class PodSecurityContext(KubernetesObject):
    """Who the pod's processes are: never root."""

    run_as_non_root: Literal[True]
    run_as_user: Identity
    run_as_group: Identity
    seccomp_profile: SeccompProfile


class Capabilities(KubernetesObject):
    """No capability at all."""

    drop: Annotated[Items[Literal["ALL"]], Field(min_length=1, max_length=1)]


class SecurityContext(KubernetesObject):
    """What a container may do; each line is demanded, none has a default."""

    allow_privilege_escalation: Literal[False]
    read_only_root_filesystem: Literal[True]
    capabilities: Capabilities


class ContainerPort(KubernetesObject):
    """A port that the container listens on."""

    name: Label | None = None
    container_port: Port
    protocol: Literal["TCP"] = "TCP"


class HttpGet(KubernetesObject):
    """A page that answers 200 when the container can work."""

    path: UrlPath
    port: Port


class Probe(KubernetesObject):
    """How readiness is found out; the guest's health page asks for it."""

    http_get: HttpGet


class VolumeMount(KubernetesObject):
    """Where a volume appears in a container; only memory may be mounted for writing."""

    name: Label
    mount_path: FilePath
    read_only: bool = False


class ConfigMapKey(KubernetesObject):
    """One value of a ConfigMap."""

    name: Label
    key: ConfigKey


class ValueFrom(KubernetesObject):
    """Where a setting's value stands, if not beside its name."""

    config_map_key_ref: ConfigMapKey


class EnvironmentVariable(KubernetesObject):
    """A setting with its value, or with the place of its value."""

    name: Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]{0,63}$")]
    value: str | None = None
    value_from: ValueFrom | None = None

    @model_validator(mode="after")
    def _one_value(self) -> EnvironmentVariable:
        if (self.value is None) == (self.value_from is None):
            raise ValueError("expected one of value and valueFrom")
        return self


class Limits(KubernetesObject):
    """How much memory a container may have before it is ended."""

    memory: Quantity


class Resources(KubernetesObject):
    """What a container may use up; demanded, since a guest's memory is for all of its containers."""

    limits: Limits


class Container(KubernetesObject):
    """One container; its image is on the disk and is never pulled."""

    name: Label
    image: str
    image_pull_policy: Literal["Never"]
    command: Items[str] = ()
    args: Items[str] = ()
    env: Items[EnvironmentVariable] = ()
    ports: Items[ContainerPort] = ()
    readiness_probe: Probe | None = None
    resources: Resources
    security_context: SecurityContext
    volume_mounts: Items[VolumeMount] = ()


class HostPath(KubernetesObject):
    """The engine's directory on the verity disk."""

    path: Literal["/run/app/engine"]
    type: Literal["Directory"]


class ConfigFiles(KubernetesObject):
    """Every value of a ConfigMap as a file of the verity disk, named by its key."""

    name: Label


class EmptyDir(KubernetesObject):
    """Memory that the containers of a pod share, empty at first, gone with the machine."""

    medium: Literal["Memory"]
    size_limit: Quantity


class Volume(KubernetesObject):
    """A directory that containers mount, told in exactly one way."""

    name: Label
    host_path: HostPath | None = None
    config_map: ConfigFiles | None = None
    empty_dir: EmptyDir | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Volume:
        sources = (self.host_path, self.config_map, self.empty_dir)
        if sum(source is not None for source in sources) != 1:
            raise ValueError("expected one of hostPath, configMap and emptyDir")
        return self


class PodSpec(KubernetesObject):
    """The containers that share one address."""

    automount_service_account_token: Literal[False]
    enable_service_links: Literal[False]
    host_users: Literal[False]
    """Whatever number a container knows itself by, for the guest it is another."""
    restart_policy: Literal["Always"] = "Always"
    security_context: PodSecurityContext
    containers: Annotated[Items[Container], Field(min_length=1)]
    volumes: Items[Volume] = ()


class Pod(KubernetesObject):
    """A pod of its own."""

    api_version: Literal["v1"]
    kind: Literal["Pod"]
    metadata: Metadata
    spec: PodSpec


class PodTemplate(KubernetesObject):
    """The pod that a deployment makes."""

    metadata: LabelsOnly
    spec: PodSpec


class LabelsOnly(KubernetesObject):
    """The labels of a pod that gets its name from its deployment."""

    labels: Labels


class DeploymentSpec(KubernetesObject):
    """One pod: a guest is one replica, and replicas are guests."""

    replicas: Annotated[int, Field(ge=1, le=1)]
    selector: Selector
    template: PodTemplate


class Deployment(KubernetesObject):
    """A pod that is started again when it ends."""

    api_version: Literal["apps/v1"]
    kind: Literal["Deployment"]
    metadata: Metadata
    spec: DeploymentSpec
