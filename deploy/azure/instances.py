"""The instances behind a load balancer: every one of them is attested, as a client would do it.

A new connection goes to some instance. So there is nothing to ask but often: until as many
different TLS keys have been attested as there are instances. No instance is told from another by
anything that Azure says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blindllama import MeasurementError, NetworkError
from deploy.azure.errors import AzureError, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from blindllama import AttestedSession
    from blindllama.report import Report
    from supply_chain.progress import Progress

RETRY_S = 5.0
"""How long the fleet is left alone when it does not answer, or another release still does."""
_CHANNEL = 10


def wait_for_instances(
    connect: Callable[[], AttestedSession],
    *,
    instances: int,
    patience_s: float,
    elapsed: Callable[[], float],
    sleep: Callable[[float], None],
    progress: Progress,
) -> Mapping[str, Report]:
    """The ten checks of each instance, by its TLS key.

    Instances of the release before may still answer while the scale set exchanges them. They are
    refused like anything else, and counted when they have been replaced.

    Args:
        connect: Runs the checks once, on a new connection.
        instances: How many there are.
        patience_s: How long it may take until all have answered, in seconds.
        elapsed: A clock that only goes forward, in seconds.
        sleep: Waits for some seconds.
        progress: Where to tell what goes on.

    Raises:
        VerificationError: One answers that is not a guest of this release.
        AzureError: Fewer have answered in time.
    """
    end = elapsed() + patience_s
    found: dict[str, Report] = {}
    last: MeasurementError | NetworkError | None = None
    with progress.step(f"attesting {instances} instances"):
        while len(found) < instances:
            if elapsed() >= end:
                raise _incomplete(len(found), instances, patience_s, last)
            try:
                with connect() as session:
                    key = session.report.checks[_CHANNEL - 1].detail["key"]
                    if key not in found:
                        found[key] = session.report
                        progress.note(f"{len(found)} of {instances}: {key}")
            except (MeasurementError, NetworkError) as exc:
                last = exc
                sleep(RETRY_S)
    return found


def _incomplete(
    found: int,
    instances: int,
    patience_s: float,
    last: MeasurementError | NetworkError | None,
) -> MeasurementError | AzureError:
    """The error to end with: the refusal, where one of the instances is something else."""
    if isinstance(last, MeasurementError):
        return last
    why = "" if last is None else f" (last: {last})"
    return AzureError(
        Reason.GUEST,
        f"fleet: expected {instances} instances that answer within {patience_s:.0f} s, got "
        f"{found}{why}; everything stays as it is: run the same again, or deploy.azure.down",
    )
