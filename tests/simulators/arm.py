"""Azure's Resource Manager, as far as a deployment asks it: strict, with long operations and faults.

One reading of Azure, not Azure: what it refuses is refused there too, as far as Azure's own
types and documents say; what it takes may still be refused there. Bodies are checked by
closed schemas (`arm_schema`), then by the rules that no schema holds. Each change is an operation
that is asked for until it is over. Disks that await an upload are page blobs in Azurite.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.simulators import arm_fleet_rules, arm_rules
from tests.simulators.arm_rules import ArmError, Resource, Store
from tests.simulators.arm_schema import faults

SUBSCRIPTION = "00000000-0000-4000-8000-000000000001"
TOKEN = "token-of-the-tests"
READER = "token-of-a-reader"
"""May look, may not change anything."""
PUBLIC_ADDRESS, PRIVATE_ADDRESS = "192.0.2.10", "10.64.0.4"
"""What every machine gets."""
PENDING_POLLS = 2
"""How often an operation is asked for before it is over."""

KINDS: Mapping[str, tuple[str, str]] = {
    "microsoft.compute/disks": ("compute", "Disk"),
    "microsoft.compute/galleries": ("compute", "Gallery"),
    "microsoft.compute/galleries/images": ("compute", "GalleryImage"),
    "microsoft.compute/galleries/images/versions": ("compute", "GalleryImageVersion"),
    "microsoft.compute/virtualmachines": ("compute", "VirtualMachine"),
    "microsoft.compute/virtualmachinescalesets": ("compute", "VirtualMachineScaleSet"),
    "microsoft.network/loadbalancers": ("network", "LoadBalancer"),
    "microsoft.network/networkinterfaces": ("network", "NetworkInterface"),
    "microsoft.network/networksecuritygroups": ("network", "NetworkSecurityGroup"),
    "microsoft.network/publicipaddresses": ("network", "PublicIPAddress"),
    "microsoft.network/virtualnetworks": ("network", "VirtualNetwork"),
}
"""Every kind of resource that can be made here, and the type of its body."""
API_VERSIONS = {
    "resourcegroups": "2025-04-01",
    "microsoft.compute/disks": "2026-03-02",
    "microsoft.compute/galleries": "2026-03-03",
    "microsoft.compute": "2026-04-01",
    "microsoft.network": "2026-03-01",
}
"""The versions that these types are of, by what a kind begins with: the longest that fits counts."""


class Storage(Protocol):
    """Where the blobs of disks are."""

    def make(self, name: str, size: int) -> None:
        """An empty page blob."""

    def grant(self, name: str) -> str:
        """Its address with a signature for writing."""

    def tail(self, name: str) -> bytes:
        """Its last 512 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request."""

    verb: str
    path: str
    query: Mapping[str, str]
    token: str
    body: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer; its body is JSON, or nothing when None."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Fault:
    """What goes wrong once, at the first request that fits."""

    verb: str
    ends: str
    """How the path ends."""
    answer: Answer | None = None
    """Given in the place of the real one; None lets the operation begin and fail in the end."""
    after: bool = False
    """Whether the request takes effect all the same, as when the connection's far side dies."""

    def fits(self, asked: Asked) -> bool:
        """Whether this request is the one."""
        return asked.verb == self.verb and asked.path.lower().endswith(self.ends.lower())


@dataclass(slots=True, kw_only=True)
class _Operation:
    polls: int
    finish: Callable[[], Any]
    """Makes it so; what it returns is the result."""
    error: ArmError | None = None
    result: Any = None
    over: bool = False


class Arm:
    """The resources of one subscription; one request at a time."""

    def __init__(self, address: str, storage: Storage) -> None:
        """Nothing is there yet.

        Args:
            address: Where it is reached, for the addresses of operations.
            storage: Where the blobs of disks are.
        """
        self.store = Store()
        self.faults: list[Fault] = []
        self.asked: list[Asked] = []
        self.asking: Callable[[Asked], None] = lambda _: None
        """Called before each request is answered; a test may end there whoever asks."""
        self.broken_tails = False
        """Whether disks are found to be no disks when their access ends."""
        self._address = address
        self._storage = storage
        self._operations: dict[str, _Operation] = {}
        self._latest: dict[str, str] = {}
        """The last operation that was begun with each resource."""
        self._numbers = itertools.count(1)

    def answer(self, asked: Asked) -> Answer:
        """What Azure says."""
        self.asked.append(asked)
        self.asking(asked)
        fault = next((fault for fault in self.faults if fault.fits(asked)), None)
        if fault is not None:
            self.faults.remove(fault)
            if fault.answer is not None and not fault.after:
                return fault.answer
        try:
            answer = self._answer(asked, fails=fault is not None and fault.answer is None)
        except ArmError as exc:
            return Answer(status=exc.status, body=exc.body())
        return answer if fault is None or fault.answer is None else fault.answer

    def _answer(self, asked: Asked, *, fails: bool) -> Answer:
        self._admit(asked)
        parts = asked.path.strip("/").split("/")
        if parts[2:3] == ["operations"]:
            return self._poll(parts[3], located="located" in asked.query)
        if parts[4:] == ["resources"] and asked.verb == "GET":
            return self._listed("/" + "/".join(parts[:4]))
        path = arm_rules.parse_path(parts, KINDS)
        fitting = max((it for it in API_VERSIONS if path.kind.startswith(it)), key=len)
        if asked.query["api-version"] != API_VERSIONS[fitting]:
            raise ArmError(400, "NoRegisteredProviderFound", f"{path.kind}: another api-version")
        if path.action:
            return self._act(asked, path.identifier, path.action)
        if asked.verb == "GET":
            self._go_on(path.identifier)
            return Answer(status=200, body=self.store.get(path.identifier).shown())
        if asked.verb == "PUT":
            return self._put(asked, path, fails=fails)
        if asked.verb == "DELETE":
            return self._delete(path.identifier, fails=fails)
        raise ArmError(405, "MethodNotAllowed", asked.verb)

    def _admit(self, asked: Asked) -> None:
        if asked.token not in {TOKEN, READER}:
            raise ArmError(401, "InvalidAuthenticationToken", "the access token is invalid")
        if not asked.path.lower().startswith(f"/subscriptions/{SUBSCRIPTION}/"):
            raise ArmError(404, "SubscriptionNotFound", asked.path)
        if asked.token == READER and asked.verb != "GET":
            raise ArmError(403, "AuthorizationFailed", f"no authorization for {asked.path}")
        if not asked.query.get("api-version"):
            raise ArmError(400, "MissingApiVersionParameter", "api-version is required")

    def _listed(self, group: str) -> Answer:
        self.store.get(group)
        inside = [
            {"id": it.identifier, "name": it.identifier.rpartition("/")[2], "type": it.kind}
            for it in self.store
            if it.identifier.lower().startswith(f"{group.lower()}/")
        ]
        return Answer(status=200, body={"value": inside})

    def _put(self, asked: Asked, path: arm_rules.Path, *, fails: bool) -> Answer:
        self.store.require_parent(path)
        kind = KINDS.get(path.kind)
        wrong = faults(*kind, asked.body) if kind else arm_rules.group_faults(asked.body)
        if wrong:
            raise ArmError(400, "InvalidRequestContent", "; ".join(wrong))
        known = self.store.find(path.identifier)
        arm_rules.check(path, asked.body, known, self.store)
        arm_fleet_rules.check_fleet(path, asked.body, known, self.store)
        resource = known or Resource(identifier=path.identifier, kind=path.kind)
        resource.body = copy.deepcopy(asked.body)
        if known is None:
            self.store.add(resource)
            self._came_to_be(resource)
        if not kind:
            resource.state = "Succeeded"
            return Answer(status=200 if known else 201, body=resource.shown())
        resource.state = "Updating" if known else "Creating"
        headers = self._begin(lambda: self._made(resource), resource if fails else None)
        self._latest[path.identifier.lower()] = str(len(self._operations))
        status = 202 if path.kind.endswith("/disks") else 200 if known else 201
        return Answer(status=status, body=resource.shown(), headers=headers)

    def _came_to_be(self, resource: Resource) -> None:
        if resource.kind == "microsoft.compute/disks":
            size = resource.body["properties"]["creationData"]["uploadSizeBytes"]
            self._storage.make(resource.blob, size)
            resource.computed["diskState"] = "ReadyToUpload"
        if resource.kind == "microsoft.network/publicipaddresses":
            resource.computed["ipAddress"] = PUBLIC_ADDRESS

    def _made(self, resource: Resource) -> Any:  # noqa: ANN401 - JSON
        resource.state = "Succeeded"
        if resource.kind == "microsoft.network/networkinterfaces":
            for settings in resource.body["properties"]["ipConfigurations"]:
                settings["properties"]["privateIPAddress"] = PRIVATE_ADDRESS
        if resource.kind == "microsoft.network/loadbalancers":
            for front in resource.body["properties"]["frontendIPConfigurations"]:
                if "subnet" in front["properties"]:
                    front["properties"]["privateIPAddress"] = PRIVATE_ADDRESS
        if resource.kind == "microsoft.compute/virtualmachines":
            for disk in arm_rules.disks_of(resource.body):
                self.store.get(disk).computed.update(
                    diskState="Attached", managedBy=resource.identifier
                )
        return resource.shown()

    def _delete(self, identifier: str, *, fails: bool) -> Answer:
        resource = self.store.find(identifier)
        if resource is None:
            return Answer(status=204)
        if user := self.store.user_of(identifier):
            raise ArmError(409, "InUse", f"{identifier} is used by {user}")
        resource.state = "Deleting"
        headers = self._begin(
            lambda: self.store.remove(identifier), resource if fails else None, located=True
        )
        self._latest[identifier.lower()] = str(len(self._operations))
        return Answer(status=202, headers=headers)

    def _act(self, asked: Asked, identifier: str, action: str) -> Answer:
        resource = self.store.get(identifier)
        state = resource.computed.get("diskState")
        if asked.verb != "POST" or resource.kind != "microsoft.compute/disks":
            raise ArmError(404, "NotFound", action)
        if action == "begingetaccess":
            if wrong := faults("compute", "GrantAccessData", asked.body):
                raise ArmError(400, "InvalidRequestContent", "; ".join(wrong))
            if asked.body["access"] != "Write" or state not in {"ReadyToUpload", "ActiveUpload"}:
                raise ArmError(409, "OperationNotAllowed", f"no writing in state {state}")
            headers = self._begin(lambda: self._granted(resource), located=True)
        elif action == "endgetaccess":
            headers = self._begin(lambda: self._ended(resource), located=True)
        else:
            raise ArmError(404, "NotFound", action)
        return Answer(status=202, headers=headers)

    def _granted(self, disk: Resource) -> Any:  # noqa: ANN401 - JSON
        disk.computed["diskState"] = "ActiveUpload"
        return {"accessSAS": self._storage.grant(disk.blob)}

    def _ended(self, disk: Resource) -> None:
        whole = self._storage.tail(disk.blob).startswith(b"conectix") and not self.broken_tails
        disk.computed["diskState"] = "Unattached" if whole else "ReadyToUpload"

    def _begin(
        self, finish: Callable[[], Any], failing: Resource | None = None, *, located: bool = False
    ) -> dict[str, str]:
        """An operation that is over after some questions; a failing one leaves its resource."""

        def fail() -> Any:  # noqa: ANN401 - as finish
            if failing is not None:
                failing.state = "Failed"

        error = ArmError(500, "AllocationFailed", "there is no capacity") if failing else None
        number = str(next(self._numbers))
        self._operations[number] = _Operation(
            polls=PENDING_POLLS, finish=fail if failing else finish, error=error
        )
        address = f"{self._address}/subscriptions/{SUBSCRIPTION}/operations/{number}?api-version=1"
        result = {"Location": f"{address}&located=1"} if located else {}
        return {"Azure-AsyncOperation": address, **result, "Retry-After": "0"}

    def _go_on(self, identifier: str) -> None:
        """An operation ends though whoever began it does not ask for it any more."""
        if number := self._latest.get(identifier.lower()):
            self._poll(number, located=False)

    def _poll(self, number: str, *, located: bool) -> Answer:
        operation = self._operations[number]
        if operation.polls:
            operation.polls -= 1
            pending = {"status": "InProgress"}
            return Answer(
                status=202 if located else 200, body=pending, headers={"Retry-After": "0"}
            )
        if not operation.over:
            operation.result, operation.over = operation.finish(), True
        if operation.error is not None:
            failed = {"status": "Failed", **operation.error.body()}
            return Answer(status=operation.error.status if located else 200, body=failed)
        if located:
            done = operation.result is not None
            return Answer(status=200 if done else 204, body=operation.result)
        return Answer(status=200, body={"status": "Succeeded"})
