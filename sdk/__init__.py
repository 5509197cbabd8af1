"""The client's front door, importable from the repository root: the same names as `blindllama`."""

from blindllama import verify_and_connect

__all__ = ["verify_and_connect"]
