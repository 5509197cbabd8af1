"""The subset of Kubernetes that a guest runs, in strict types: what is not here is refused.

A field that podman or this project would ignore must not be accepted: whoever reads a manifest would
believe in a protection that nobody enforces.

Source: Kubernetes API reference 1.32, Pod v1, Deployment v1 apps, ConfigMap v1, Service v1, Ingress v1
networking.k8s.io, NetworkPolicy v1 networking.k8s.io.
"""
