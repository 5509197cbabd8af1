"""Who asks Azure, and which Azure: the login, through azure-cli-core.

The one module that knows azure-cli-core, whose interfaces are half private: its version is pinned.
An `az login` of this machine is used as it stands; a service principal's token is kept in memory
and nowhere else; any other object with a `get_token` may take their place.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import requests
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from deploy.azure.config import AzLogin, ServicePrincipal
from deploy.azure.errors import AzureError, Reason, printable_line
from deploy.azure.library import library

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deploy.azure.config import CloudChoice, DeployConfig, OtherCredential

SECRET_VARIABLE = "BLINDLLAMA_AZURE_CLIENT_SECRET"  # noqa: S105 - the name of a variable
"""A service principal's secret; never an argument, which every user could read."""
_LOGIN_S = 30
"""How long one answer about a login may take, in seconds."""


class TokenCredential(Protocol):
    """What Azure's libraries call a credential."""

    def get_token(self, *scopes: str, **options: Any) -> Any:  # noqa: ANN401 - azure-core's own
        """A token for these scopes, with the time of its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureSession:
    """A login to one subscription of one cloud."""

    credential: TokenCredential
    subscription: str
    resource_manager: str
    """The address of the Resource Manager."""
    scope: str
    """What a token is asked for."""
    authority: Path | None
    """The PEM file by which the cloud's servers are known; None for the system's."""


def open_session(
    config: DeployConfig,
    *,
    folder: Path,
    secret: str | None,
    credential: TokenCredential | None = None,
) -> AzureSession:
    """A login that has been given a token.

    Args:
        config: What `deploy.toml` says.
        folder: The folder that its paths are relative to.
        secret: The secret of a service principal, if there is one.
        credential: Asked for tokens in the place of the configured login.

    Raises:
        AzureError: Nobody is logged in, the login is refused, or it has no such subscription.
    """
    cli = library("azure.cli.core").get_default_cli()
    cloud = cli.cloud = _cloud(cli, config.cloud)
    authority = config.cloud.certificate_authority
    path = None if authority is None else folder / authority
    with _translated():
        session = AzureSession(
            credential=credential or _credential(cli, config, folder, secret, path),
            subscription=config.subscription,
            resource_manager=cloud.endpoints.resource_manager.rstrip("/"),
            scope=library("azure.cli.core.auth.util").resource_to_scopes(
                cloud.endpoints.active_directory_resource_id
            )[0],
            authority=path,
        )
        # Now, and not after minutes of work.
        session.credential.get_token(session.scope)
    return session


def _cloud(cli: Any, choice: CloudChoice) -> Any:  # noqa: ANN401 - the library is optional
    clouds = library("azure.cli.core.cloud")
    if choice.resource_manager is not None:
        endpoints = clouds.CloudEndpoints(
            management=choice.resource_manager,
            resource_manager=choice.resource_manager,
            active_directory=choice.active_directory,
            active_directory_resource_id=choice.audience or choice.resource_manager,
        )
        return clouds.Cloud(choice.name, endpoints=endpoints, profile="latest")
    try:
        return clouds.get_cloud(cli, choice.name)
    except clouds.CloudNotRegisteredException as exc:
        known = ", ".join(cloud.name for cloud in clouds.get_clouds(cli))
        raise AzureError(
            Reason.CONFIG,
            f"cloud.name: expected one of {known}, got {choice.name!r}; give its addresses, or "
            "register it: az cloud register",
        ) from exc


def _credential(
    cli: Any,  # noqa: ANN401 - the library is optional
    config: DeployConfig,
    folder: Path,
    secret: str | None,
    authority: Path | None,
) -> TokenCredential:
    match config.login:
        case AzLogin():
            return _az_login(cli, config.subscription)
        case ServicePrincipal() as principal:
            found = _principal_credential(principal, folder, secret)
            return _service_principal(cli, principal, found, authority)
        case other:
            return _other_credential(other)


def _az_login(cli: Any, subscription: str) -> TokenCredential:  # noqa: ANN401 - the library is optional
    profile = library("azure.cli.core._profile").Profile(cli_ctx=cli)
    known = [str(account["id"]) for account in profile.load_cached_subscriptions()]
    if not known:
        raise AzureError(
            Reason.NOT_LOGGED_IN,
            f"Azure: expected a login to {cli.cloud.name}, got none; run: az login",
        )
    if subscription not in known:
        raise AzureError(
            Reason.SUBSCRIPTION,
            f"subscription: expected one of this login ({', '.join(known)}), got {subscription}; "
            "correct it, or log in as somebody who has it: az login",
        )
    credential, _, _ = profile.get_login_credentials(subscription_id=subscription)
    return credential  # type: ignore[no-any-return] # the library is optional, and so are its types


def _principal_credential(
    principal: ServicePrincipal, folder: Path, secret: str | None
) -> dict[str, str]:
    build = library("azure.cli.core.auth.identity").ServicePrincipalAuth.build_credential
    if principal.certificate is not None:
        path = folder / principal.certificate
        _check_certificate(path)
        return build(certificate=str(path))  # type: ignore[no-any-return] # likewise
    if not secret:
        raise AzureError(
            Reason.NOT_LOGGED_IN,
            f"service principal {principal.client_id}: expected its secret in {SECRET_VARIABLE}, "
            "got none; set it, or name its certificate in login.certificate",
        )
    return build(client_secret=secret)  # type: ignore[no-any-return] # likewise


def _check_certificate(path: Path) -> None:
    """Refuse what msal would end with an error of its own libraries, long after.

    Raises:
        AzureError: The file does not hold an RSA key and its certificate.
    """
    what = f"login.certificate: {path}: expected a key and its certificate in PEM"
    try:
        data = path.read_bytes()
        key = load_pem_private_key(data, None)
        certificate = x509.load_pem_x509_certificate(data)
    except OSError as exc:
        raise AzureError(Reason.CONFIG, f"{what}: {exc.strerror}") from exc
    except (ValueError, TypeError) as exc:
        raise AzureError(Reason.CONFIG, f"{what}: {printable_line(exc)}") from exc
    if not isinstance(key, rsa.RSAPrivateKey):
        raise AzureError(Reason.CONFIG, f"{what}, got one that is not an RSA key")
    if certificate.public_key() != key.public_key():
        raise AzureError(Reason.CONFIG, f"{what}, got the certificate of another key")


def _service_principal(
    cli: Any,  # noqa: ANN401 - the library is optional
    principal: ServicePrincipal,
    credential: dict[str, str],
    authority: Path | None,
) -> TokenCredential:
    """Below `Profile.login`, which would write the secret into a file and ask for subscriptions."""
    identity = library("azure.cli.core.auth.identity")
    auth = identity.ServicePrincipalAuth.build_from_credential(
        principal.tenant, principal.client_id, credential
    )
    endpoint = cli.cloud.endpoints.active_directory.rstrip("/")
    known = library("azure.cli.core.cloud").KNOWN_CLOUDS
    options = {} if authority is None else {"http_client": _known_by(authority, endpoint)}
    inner = identity.ServicePrincipalCredential(
        principal.client_id,
        auth.get_msal_client_credential(),
        authority=f"{endpoint}/{principal.tenant}",
        # What Microsoft does not know it cannot vouch for: a cloud of somebody else.
        instance_discovery=any(cloud.name == cli.cloud.name for cloud in known),
        **options,
    )
    adaptor = library("azure.cli.core.auth.credential_adaptor").CredentialAdaptor
    return adaptor(inner)  # type: ignore[no-any-return] # likewise


def _known_by(authority: Path, address: str) -> requests.Session:
    """What msal asks through, where the cloud's servers are known by a file.

    Its own `verify` would give way to REQUESTS_CA_BUNDLE.
    """
    client = requests.Session()
    client.verify = str(authority)
    client.trust_env = False
    client.proxies = dict(requests.utils.get_environ_proxies(address))
    client.request = partial(client.request, timeout=_LOGIN_S)  # type: ignore[method-assign] # as msal does
    return client


def _other_credential(choice: OtherCredential) -> TokenCredential:
    module, _, name = choice.factory.partition(":")
    try:
        factory = getattr(library(module), name)
    except (AzureError, AttributeError) as exc:
        raise AzureError(
            Reason.CONFIG,
            f"login.factory: expected MODULE:CLASS of an installed library, got {choice.factory}",
        ) from exc
    try:
        credential = factory(**choice.arguments)
    except TypeError as exc:
        raise AzureError(
            Reason.CONFIG,
            f"login.arguments: expected those of {choice.factory}, got others "
            f"({printable_line(exc)})",
        ) from exc
    if not callable(getattr(credential, "get_token", None)):
        raise AzureError(
            Reason.CONFIG, f"login.factory: expected a class with get_token, got {choice.factory}"
        )
    return credential  # type: ignore[no-any-return] # likewise


@contextmanager
def _translated() -> Iterator[None]:
    """What azure-cli-core, msal and azure-identity raise becomes an error of ours."""
    refused = library("knack.util").CLIError
    core = library("azure.core.exceptions")
    try:
        yield
    except (refused, core.ClientAuthenticationError, ValueError) as exc:
        raise login_refused(exc) from exc
    except (requests.RequestException, core.ServiceRequestError) as exc:
        raise AzureError(
            Reason.UNAVAILABLE,
            f"login: expected an answer, got none ({printable_line(exc)}); check the network and "
            "the cloud's addresses, then run the same again",
        ) from exc


def login_refused(exc: BaseException) -> AzureError:
    """The error for a login that does not hold, or holds no more."""
    return AzureError(
        Reason.NOT_LOGGED_IN,
        f"login: expected a token for Azure, got a refusal ({printable_line(exc)}); run: az login, "
        "or correct the login of the configuration",
    )
