"""Kubernetes manifests, OCI images and the engine on one read-only disk with one root hash."""
