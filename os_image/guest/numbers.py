"""The users and groups of pods: 65536 numbers each, and what is root inside is `podN` outside.

What has an owner on the disk has that owner's number in each pod, by a mapped mount.
"""

FIRST = 1 << 20
"""Far from every account of the image."""

EACH = 1 << 16

PODS = 16
"""As many as have an account, `pod0` and so on."""


def first_number(index: int) -> int:
    """The number that a pod's root has in the guest.

    Args:
        index: Of the pod in the application's description, from 0.

    Raises:
        ValueError: There is no account for it.
    """
    if not 0 <= index < PODS:
        raise ValueError(f"pods: expected at most {PODS}, got number {index}")
    return FIRST + index * EACH
