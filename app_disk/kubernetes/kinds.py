"""Every kind of object that is understood, by its name."""

from __future__ import annotations

from app_disk.kubernetes.network import Ingress, NetworkPolicy, Service
from app_disk.kubernetes.workload import ConfigMap, Deployment, Pod

AnyObject = Pod | Deployment | ConfigMap | Service | Ingress | NetworkPolicy

KINDS: dict[str, type[AnyObject]] = {
    "Pod": Pod,
    "Deployment": Deployment,
    "ConfigMap": ConfigMap,
    "Service": Service,
    "Ingress": Ingress,
    "NetworkPolicy": NetworkPolicy,
}
