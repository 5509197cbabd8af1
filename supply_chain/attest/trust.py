"""The one place that decides which Sigstore signs: the local instance, or a public one.

Local is the default: nothing leaves the machine. A public instance is only ever asked for by name,
because an entry in a public log cannot be taken back; it needs an OpenID Connect token of the
environment (a CI job's), and takes its services from a trust configuration file, or from the public
good instance when none is given.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import requests
from pydantic import ValidationError
from sigstore._internal.fulcio.client import ExpiredCertificate, FulcioClientError
from sigstore._internal.rekor import RekorClientError
from sigstore.errors import Error as SigstoreError
from sigstore.models import ClientTrustConfig
from sigstore.oidc import ExpiredIdentity, IdentityToken, detect_credential
from sigstore.sign import SigningContext

from blindllama.policy import GithubSource
from supply_chain.certificate import holder_of
from supply_chain.errors import BuildError, faults
from supply_chain.local_sigstore import running
from supply_chain.local_sigstore.exchange import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, MutableMapping
    from typing import ClassVar

    from supply_chain.certificate import Source

LOCAL_IDENTITY = "https://blindllama.dev/builders/local/v1"
"""Who a local build signs as: its builder."""
LOCAL, PUBLIC = "local", "public"
"""The words for an instance of this machine, and for the public good one."""
_CLIENT_ERRORS = (FulcioClientError, RekorClientError, ExpiredCertificate, ExpiredIdentity)
"""What the library's clients raise; none of it is in its own tree of errors."""
_ANSWER_CHARACTERS = 300
LOOPBACK = "127.0.0.1,localhost"


class SigningError(BuildError):
    """Nothing can be signed: no identity, or the Sigstore instance refuses or is out of reach."""

    code: ClassVar[str] = "build.signing"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicSigstore:
    """The wish to sign with a Sigstore instance that is not on this machine."""

    trust_config: Path | None = None
    """A `ClientTrustConfig` file; None for the public good instance."""


def signs_here(word: str) -> bool:
    """Tell whether that word names the instance of this machine, which signs for whoever asks."""
    return word == LOCAL


def sigstore_named(word: str) -> PublicSigstore | None:
    """The instance that a person names: `local`, `public`, or the file of a trust configuration.

    Raises:
        SigningError: There is no such file.
    """
    if signs_here(word):
        return None
    if word == PUBLIC:
        return PublicSigstore()
    path = Path(word)
    if not path.is_file():
        raise SigningError(f"Sigstore: expected {LOCAL}, {PUBLIC} or a trust config, got {word!r}")
    return PublicSigstore(trust_config=path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """A Sigstore instance and an identity that it knows."""

    context: SigningContext
    new_token: Callable[[], IdentityToken]
    """Gets a token that is good now; tokens live for minutes and releases take longer."""
    trusted_root_json: str
    """What verifies the signatures: this goes into the policy."""
    issuer: str
    """The token's issuer, as certificates name it."""
    identity: str
    """The certificates' subject alternative name."""
    source: Source | None = None
    """What the identity was started for, where it is a workflow of a CI service."""
    github: GithubSource | None = None
    """The same as a policy demands it."""
    promises: bool = True
    """Whether the log promises inclusion (SET); those of version 2 do not."""

    @property
    def builder_id(self) -> str:
        """The builder that a release of this identity may name: a hosted workflow, or a machine."""
        return LOCAL_IDENTITY if self.source is None else self.identity


@contextlib.contextmanager
def authority(
    state: Path,
    *,
    identity: str = LOCAL_IDENTITY,
    public: PublicSigstore | None = None,
    passphrase: bytes | None = None,
) -> Iterator[Authority]:
    """The Sigstore to sign with, for the length of the block.

    Args:
        state: The build's state folder, where the local instance lives.
        identity: Who signs, if the local instance is used: a URI or an e-mail address.
        public: Use another instance, with the identity of the environment.
        passphrase: Of the local instance's keys.

    Raises:
        SigningError: The identity is none, or the environment offers no token.
        PassphraseError: The passphrase is wrong or missing.
    """
    if public is not None:
        yield _public(public)
        return
    with running(state, passphrase=passphrase) as instance, _direct(os.environ):
        try:
            token = instance.identity_token(identity)
        except RefusedError as exc:
            raise SigningError(exc.reason) from exc
        yield Authority(
            context=SigningContext.from_trust_config(instance.trust_config),
            new_token=lambda: instance.identity_token(identity),
            trusted_root_json=instance.trusted_root_json,
            issuer=token.federated_issuer,
            identity=token.identity,
        )


def _public(wish: PublicSigstore) -> Authority:
    token = _ambient_token()
    try:
        config = (
            ClientTrustConfig.production()
            if wish.trust_config is None
            else ClientTrustConfig.from_json(wish.trust_config.read_text())
        )
        context = SigningContext.from_trust_config(config)
    except (SigstoreError, OSError, ValueError) as exc:
        raise SigningError(f"Sigstore's trust configuration cannot be used: {exc}") from exc
    # A token does not tell who signs: which claim becomes the identity, the certificate authority
    # decides. So a certificate is asked for, which is not a signature and enters no log of those.
    with refusals_translated(), context.signer(token) as session:
        holder = holder_of(session._signing_cert())  # noqa: SLF001 - there is no public way
    return Authority(
        context=context,
        new_token=_ambient_token,
        # The library offers no public way from its trusted root back to JSON, nor to the version
        # of the log that it is going to use.
        trusted_root_json=config.trusted_root._inner.to_json(),  # noqa: SLF001
        issuer=holder.issuer,
        identity=holder.identity,
        source=holder.source,
        github=None if holder.source is None else _github(holder.source),
        promises=config.signing_config._tlogs[0].major_api_version == 1,  # noqa: SLF001
    )


@contextlib.contextmanager
def refusals_translated() -> Iterator[None]:
    """Turn what the library raises while it signs into an error that says what the service said.

    Raises:
        SigningError: In the place of each of them.
    """
    try:
        yield
    except requests.RequestException as exc:
        raise SigningError(f"Sigstore cannot be reached: {exc}") from exc
    except (SigstoreError, *_CLIENT_ERRORS) as exc:
        cause = exc.__cause__ or exc.__context__
        # The library passes the service's own words on in some cases only.
        answer = getattr(cause, "response", None)
        said = "" if answer is None else answer.text[:_ANSWER_CHARACTERS]
        raise SigningError(f"Sigstore: {said or str(exc) or type(exc).__name__}") from exc


def _github(source: Source) -> GithubSource:
    try:
        return GithubSource.model_validate(
            {
                "repository": source.repository,
                "workflow": source.workflow,
                "ref": source.ref,
                "runner": source.runner,
            }
        )
    except ValidationError as exc:
        # A pull request's build, for one, has a ref that anybody can make.
        raise SigningError(
            f"this workflow's run cannot be released, since no policy accepts it: {faults(exc)}"
        ) from exc


def _ambient_token() -> IdentityToken:
    try:
        raw = detect_credential()
        if raw is not None:
            return IdentityToken(raw)
    except (SigstoreError, ExpiredIdentity) as exc:
        raise SigningError(f"the environment's identity token cannot be used: {exc}") from exc
    raise SigningError(
        "no identity token in this environment: a public Sigstore instance signs for CI jobs "
        "(on GitHub, with the permission id-token: write)"
    )


@contextlib.contextmanager
def _direct(environ: MutableMapping[str, str]) -> Iterator[None]:
    """Keep a proxy of the environment out of requests to loopback."""
    names = ("no_proxy", "NO_PROXY")
    before: Mapping[str, str | None] = {name: environ.get(name) for name in names}
    for name in names:
        environ[name] = ",".join(filter(None, (before[name], LOOPBACK)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                environ.pop(name, None)
            else:
                environ[name] = value
