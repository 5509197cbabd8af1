"""Azure's Resource Manager, as far as a deployment asks it: look, make, delete, open a disk.

The one module that knows the management libraries. Every resource is asked for by its identifier
and sent as JSON, so a new kind of resource needs nothing here. What Azure answers becomes a value
or an error with a reason; requests that may succeed later are made again by the library, which
waits as long as Azure says.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from deploy.azure.arm_error import translated
from deploy.azure.library import library
from deploy.azure.wanted import BODY_TAG, NAME_TAG, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from deploy.azure.session import AzureSession

POLL_S = 2.0
"""Seconds between two questions whether an operation is over; the library's own are 30."""
ACCESS_S = 86400
"""How long a disk is opened for writing; renewed when it ends."""
RETRIES = 6
"""How often a request is made again that may succeed later; the waits add up to about a minute."""
_SETTLED = frozenset({"Succeeded", "Failed", "Canceled", ""})
"""States in which nothing goes on; a resource group's own words are among them, or none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A resource as it stands in Azure."""

    identifier: str
    state: str
    """The provisioning state: `Succeeded`, `Failed`, or that something goes on."""
    tags: Mapping[str, str]
    properties: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, identifier: str, body: Mapping[str, Any]) -> Self:
        """The resource that an answer describes."""
        properties = body.get("properties") or {}
        return cls(
            identifier=identifier,
            state=str(properties.get("provisioningState", "")),
            tags=body.get("tags") or {},
            properties=properties,
        )

    @property
    def busy(self) -> bool:
        """Whether Azure has not finished what it was asked for."""
        return self.state not in _SETTLED

    @property
    def deployment(self) -> str:
        """The deployment that made it; empty when none did."""
        return self.tags.get(NAME_TAG, "")

    @property
    def digest(self) -> str:
        """The digest of the body that was asked for."""
        return self.tags.get(BODY_TAG, "")


class Arm:
    """One subscription's Resource Manager."""

    def __init__(
        self,
        session: AzureSession,
        *,
        poll_s: float = POLL_S,
        backoff_s: float = 1.0,
        retries: int = RETRIES,
    ) -> None:
        """Connect to nothing yet.

        Args:
            session: Who asks, and where.
            poll_s: Seconds between two questions about an operation, where Azure names none.
            backoff_s: Seconds before a request is made again, doubled each time, likewise.
            retries: How often it is.

        Raises:
            AzureError: The libraries are not installed.
        """
        options: dict[str, Any] = {
            "base_url": session.resource_manager,
            "credential_scopes": [session.scope],
            "polling_interval": poll_s,
            "retry_total": retries,
            "retry_backoff_factor": backoff_s,
        }
        if session.authority is not None:
            options["connection_verify"] = str(session.authority)
        credential, subscription = session.credential, session.subscription
        manage = library("azure.mgmt.resource.resources").ResourceManagementClient
        compute = library("azure.mgmt.compute").ComputeManagementClient
        self._resources: Any = manage(credential, subscription, **options)
        self._compute: Any = compute(credential, subscription, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give its connections back."""
        self._resources.close()
        self._compute.close()

    def standing(self, identifier: str) -> Standing | None:
        """The resource as it stands; None when there is none.

        Raises:
            AzureError: Azure does not say.
        """
        core = library("azure.core.exceptions")
        version = kind_of(identifier).api_version
        with translated(identifier):
            try:
                found = self._resources.resources.get_by_id(identifier, api_version=version)
            except core.ResourceNotFoundError as exc:
                # A subscription that does not exist is no resource that can be made.
                if "subscription" in str(getattr(exc.error, "code", "")).lower():
                    raise
                return None
        return Standing.of(identifier, found.as_dict())

    def put(self, identifier: str, body: Mapping[str, Any]) -> Standing:
        """The resource is made, or changed to this body, and Azure is done with it.

        Raises:
            AzureError: Azure refused it or failed, now or later.
        """
        version = kind_of(identifier).api_version
        with translated(identifier):
            made = self._resources.resources.begin_create_or_update_by_id(
                identifier, dict(body), api_version=version
            ).result()
        return Standing.of(identifier, made.as_dict())

    def delete(self, identifier: str) -> None:
        """The resource is gone; one that is gone already stays so.

        Raises:
            AzureError: Azure refused it or failed, now or later.
        """
        core = library("azure.core.exceptions")
        version = kind_of(identifier).api_version
        with translated(identifier):
            try:
                self._resources.resources.begin_delete_by_id(
                    identifier, api_version=version
                ).result()
            except core.ResourceNotFoundError:
                return

    def contents(self, group: str) -> list[str]:
        """The identifiers of all that is in a resource group.

        Args:
            group: The group's identifier.

        Raises:
            AzureError: Azure does not say.
        """
        with translated(group):
            listed = self._resources.resources.list_by_resource_group(group.rpartition("/")[2])
            return [str(found.id) for found in listed]

    @contextmanager
    def _disk(self, identifier: str) -> Iterator[tuple[Any, str, str]]:
        parts = identifier.split("/")
        with translated(identifier):
            yield self._compute.disks, parts[4], parts[-1]

    def grant(self, disk: str) -> str:
        """The address of a disk's blob with a signature for writing, which is a secret.

        Raises:
            AzureError: Azure does not give one.
        """
        access = {"access": "Write", "durationInSeconds": ACCESS_S}
        with self._disk(disk) as (disks, group, name):
            given = disks.begin_grant_access(group, name, access).result()
        return str(given.access_sas)

    def revoke(self, disk: str) -> None:
        """No signature opens the disk any more, and Azure looks at what was uploaded.

        Raises:
            AzureError: Azure refused it or failed.
        """
        with self._disk(disk) as (disks, group, name):
            disks.begin_revoke_access(group, name).result()
