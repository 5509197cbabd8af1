"""The machine that was deployed: where it is, and when it answers as a client demands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blindllama import NetworkError
from deploy.azure.errors import AzureError, Reason
from deploy.azure.wanted import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from blindllama import AttestedSession
    from deploy.azure.arm import Arm
    from deploy.azure.wanted import Wanted
    from supply_chain.progress import Progress

RETRY_S = 5.0
"""How long a machine that does not answer is left alone."""


def guest_address(arm: Arm, wanted: Sequence[Wanted]) -> str:
    """The IP address of the deployed machine: its public one, or the one in its network.

    Raises:
        AzureError: It has none.
    """
    for kind in (Kind.ADDRESS, Kind.BALANCER, Kind.CARD):
        for one in wanted:
            found = arm.standing(one.identifier) if one.kind is kind else None
            if found is None:
                continue
            inner = [
                it.get("properties", {})
                for key in ("ipConfigurations", "frontendIPConfigurations")
                for it in found.properties.get(key, [])
            ]
            for properties in (found.properties, *inner):
                address = properties.get("ipAddress") or properties.get("privateIPAddress")
                if address:
                    return str(address)
    raise AzureError(
        Reason.GUEST, "machine: expected an IP address, got none; look at its network card in Azure"
    )


def wait_for_guest(
    connect: Callable[[], AttestedSession],
    *,
    patience_s: float,
    elapsed: Callable[[], float],
    sleep: Callable[[float], None],
    progress: Progress,
) -> AttestedSession:
    """A session with the guest, after all ten checks; a refusal ends the waiting at once.

    Args:
        connect: Runs the checks once.
        patience_s: How long it may take until it answers, in seconds.
        elapsed: A clock that only goes forward, in seconds.
        sleep: Waits for some seconds.
        progress: Where to tell what goes on.

    Raises:
        VerificationError: It answers, and a check refused.
        AzureError: It does not answer.
    """
    end = elapsed() + patience_s
    with progress.step("waiting for the machine"):
        while True:
            try:
                return connect()
            except NetworkError as exc:
                left_s = end - elapsed()
                if left_s <= 0:
                    raise AzureError(
                        Reason.GUEST,
                        f"machine: expected an answer within {patience_s:.0f} s, got none ({exc}); "
                        "everything stays as it is: run the same again, or deploy.azure.down",
                    ) from exc
            sleep(min(RETRY_S, left_s))
