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
from typing import TYPE_CHECKING

from sigstore.errors import Error as SigstoreError
from sigstore.models import ClientTrustConfig
from sigstore.oidc import ExpiredIdentity, IdentityToken, detect_credential
from sigstore.sign import SigningContext

from supply_chain.errors import BuildError
from supply_chain.local_sigstore import running
from supply_chain.local_sigstore.exchange import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, MutableMapping
    from pathlib import Path
    from typing import ClassVar

LOCAL_IDENTITY = "https://blindllama.dev/builders/local/v1"
"""Who a local build signs as: its builder."""
LOOPBACK = "127.0.0.1,localhost"


class SigningError(BuildError):
    """Nothing can be signed: no identity, or the Sigstore instance refuses or is out of reach."""

    code: ClassVar[str] = "build.signing"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicSigstore:
    """The wish to sign with a Sigstore instance that is not on this machine."""

    trust_config: Path | None = None
    """A `ClientTrustConfig` file; None for the public good instance."""


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
    identity: str | None
    """The certificates' subject alternative name; None where only a certificate tells it, as with
    CI jobs, whose workflow is not a claim that clients look at."""


@contextlib.contextmanager
def authority(
    state: Path, *, identity: str = LOCAL_IDENTITY, public: PublicSigstore | None = None
) -> Iterator[Authority]:
    """The Sigstore to sign with, for the length of the block.

    Args:
        state: The build's state folder, where the local instance lives.
        identity: Who signs, if the local instance is used: a URI or an e-mail address.
        public: Use another instance, with the identity of the environment.

    Raises:
        SigningError: The identity is none, or the environment offers no token.
    """
    if public is not None:
        yield _public(public)
        return
    with running(state) as instance, _direct(os.environ):
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
    return Authority(
        context=context,
        new_token=_ambient_token,
        # The library offers no public way from its trusted root back to JSON.
        trusted_root_json=config.trusted_root._inner.to_json(),  # noqa: SLF001
        issuer=token.federated_issuer,
        identity=None,
    )


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
