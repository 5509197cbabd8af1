"""`deploy.toml`: where in Azure a release goes, as whom, and who may reach it.

A file holds no secret: the one of a service principal comes from the environment.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from deploy.azure.errors import AzureError, Reason
from deploy.azure.wanted import Place
from engine.target import Gpu
from supply_chain.errors import faults

if TYPE_CHECKING:
    from pathlib import Path

CONFIG_NAME = "deploy.toml"

_UUID = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
_SUBNET = re.compile(
    r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.Network"
    r"/virtualNetworks/[^/]+/subnets/[^/]+",
    re.IGNORECASE,
)

_Uuid = Annotated[str, Field(pattern=_UUID)]
_Text = Annotated[str, Field(min_length=1, max_length=2048)]


def _https(address: str) -> str:
    # A token for Azure would be read on the way.
    if not address.startswith("https://"):
        raise ValueError("expected https://…")
    return address.rstrip("/")


_Address = Annotated[_Text, AfterValidator(_https)]


def _network(text: str) -> str:
    try:
        ipaddress.IPv4Network(text)
    except ValueError as exc:
        raise ValueError(f"expected an IPv4 network such as 203.0.113.0/24, got {text}") from exc
    return text


def _networks(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(_network, texts))


def _subnet(identifier: str) -> str:
    if not _SUBNET.fullmatch(identifier):
        raise ValueError("expected /subscriptions/…/virtualNetworks/…/subnets/…")
    return identifier


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class AzLogin(_Part):
    """Whoever ran `az login` on this machine, with that session's own subscriptions."""

    kind: Literal["az"]


class ServicePrincipal(_Part):
    """An application of Entra ID, for machines without people."""

    kind: Literal["service-principal"]
    tenant: _Text
    client_id: _Uuid
    certificate: _Text | None = None
    """A PEM file with key and certificate, from the configuration's folder on; without one, the
    secret in `BLINDLLAMA_AZURE_CLIENT_SECRET` is used."""


class OtherCredential(_Part):
    """A class with a `get_token`, of azure-identity or of any other installed library."""

    kind: Literal["credential"]
    factory: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
    """MODULE:CLASS, for example `azure.identity:ManagedIdentityCredential`."""
    arguments: dict[str, str | bool] = Field(default_factory=dict)
    """What the class is made with."""


Login = Annotated[AzLogin | ServicePrincipal | OtherCredential, Field(discriminator="kind")]


class CloudChoice(_Part):
    """Which Azure: one that azure-cli-core knows by name, or one that is described here."""

    name: _Text = "AzureCloud"
    """AzureCloud, AzureUSGovernment, AzureChinaCloud, AzureBleuCloud, or as `az cloud register`
    has named it."""
    resource_manager: _Address | None = None
    active_directory: _Address | None = None
    audience: _Address | None = None
    """For whom tokens are; the Resource Manager's address when left out."""
    certificate_authority: _Text | None = None
    """A PEM file by which this cloud's servers are known, from the configuration's folder on."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.resource_manager is None) != (self.active_directory is None):
            raise ValueError("resource_manager and active_directory: expected both, or neither")
        if self.audience is not None and self.resource_manager is None:
            raise ValueError("audience: expected beside resource_manager alone")
        return self


class GpuChoice(_Part):
    """The GPU of the size, for a release whose engine needs one."""

    architecture: Annotated[str, Field(pattern=r"^\d{1,2}\.\d$")]
    """Its compute capability, for example `8.0`."""
    tensorrt_llm: Annotated[str, Field(pattern=r"^\d{1,3}\.\d{1,3}\.\d{1,3}$")]
    """The version of TensorRT-LLM in the image that serves."""

    @property
    def value(self) -> Gpu:
        """What an engine is compared with."""
        return Gpu(architecture=self.architecture, tensorrt_llm=self.tensorrt_llm)


class MachineChoice(_Part):
    """The machine, and the kind of its disks."""

    size: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,64}$")]
    """A size of generation 2 that has Trusted Launch; docs/azure.md names some."""
    disk_sku: Literal["StandardSSD_LRS", "Premium_LRS", "Standard_LRS"] = "StandardSSD_LRS"
    gpu: GpuChoice | None = None
    """None for a size without a GPU."""


class NetworkChoice(_Part):
    """From where the machine is reached, at port 443 and at no other."""

    public: bool = True
    """Whether it has an address in the Internet; without one, only its virtual network reaches it."""
    clients: Annotated[
        tuple[str, ...], Field(min_length=1, max_length=64), AfterValidator(_networks)
    ] = ("0.0.0.0/0",)
    """Networks whose requests are let in."""
    range: Annotated[str, AfterValidator(_network)] = "10.64.0.0/24"
    """The address range of the virtual network that is made."""
    subnet: Annotated[str, AfterValidator(_subnet)] | None = None
    """The identifier of a subnet that exists, in place of a network of its own; it is not changed."""


class SecureBootChoice(_Part):
    """Secure Boot with keys of one's own: certificates in PEM or DER, and the disk that is signed.

    All paths are from the configuration's folder on.
    """

    image: _Text
    """The operating system's disk, signed: the release's own but for the signature."""
    platform_key: _Text
    key_exchange_keys: Annotated[tuple[_Text, ...], Field(min_length=1, max_length=8)]
    signature_database: Annotated[tuple[_Text, ...], Field(min_length=1, max_length=8)]


class FleetChoice(_Part):
    """Many machines behind one address, in the place of one."""

    instances: Annotated[int, Field(ge=1, le=100)]
    """How many there always are; in an exchange of releases there are more for a while."""


class DeployConfig(_Part):
    """What `deploy.toml` says."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}[a-z0-9]$")]
    """Of this deployment: the names of all that is made begin with it."""
    subscription: _Uuid
    resource_group: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,78}[A-Za-z0-9_-])?$")
    ]
    location: Annotated[str, Field(pattern=r"^[a-z0-9]{2,40}$")]
    """The region's short name, for example `westeurope`."""
    policy: _Text
    """The client's policy for Azure, from the configuration's folder on; see `deploy.azure.policy`."""
    login: Login = AzLogin(kind="az")
    cloud: CloudChoice = CloudChoice()
    machine: MachineChoice
    network: NetworkChoice = NetworkChoice()
    fleet: FleetChoice | None = None
    secure_boot: SecureBootChoice | None = None
    """Keys that the image is signed with; without them Secure Boot is off."""
    wait_s: Annotated[int, Field(ge=1, le=3600)] = 600
    """How long a machine may take until it answers, in seconds."""

    @property
    def place(self) -> Place:
        """Where everything goes."""
        return Place(subscription=self.subscription, group=self.resource_group)


def read_config(path: Path) -> DeployConfig:
    """What the file says.

    Raises:
        AzureError: It cannot be read, or says something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise _malformed(f"{path}: expected a deployment's TOML: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise _malformed(f"{path}: expected a deployment's TOML, got no UTF-8") from exc
    return parse_config(text, what=str(path))


def parse_config(text: str, *, what: str = CONFIG_NAME) -> DeployConfig:
    """What the text says.

    Raises:
        AzureError: It is not TOML, or says something else.
    """
    try:
        return DeployConfig.model_validate(_tuples(tomllib.loads(text)))
    except tomllib.TOMLDecodeError as exc:
        raise _malformed(f"{what}: not TOML: {exc}") from exc
    except ValidationError as exc:
        raise _malformed(f"{what}: {faults(exc)}") from exc


def _malformed(text: str) -> AzureError:
    return AzureError(Reason.CONFIG, f"{text}; docs/azure.md has a whole example")


def _tuples(value: Any) -> Any:  # noqa: ANN401 - TOML-shaped data
    """The data with tuples for lists, which the strict types demand."""
    if isinstance(value, dict):
        return {key: _tuples(child) for key, child in value.items()}
    return tuple(_tuples(child) for child in value) if isinstance(value, list) else value
