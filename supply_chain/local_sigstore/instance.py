"""The instance as one value: its keys and logs in a state folder, its services on one port."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from supply_chain.local_sigstore import ca, trust_root
from supply_chain.local_sigstore.ct import TransparencyLog
from supply_chain.local_sigstore.keys import (
    LocalSigstoreError,
    found_or_made,
    found_or_made_ed25519,
    found_or_made_p256,
    found_or_made_token,
    locked,
    private_folder,
)
from supply_chain.local_sigstore.log import AppendOnlyLog
from supply_chain.local_sigstore.oidc import IdentityProvider
from supply_chain.local_sigstore.rekor import Rekor
from supply_chain.local_sigstore.rekor_v2 import RekorV2
from supply_chain.local_sigstore.server import ADDRESS, HttpServer
from supply_chain.local_sigstore.tsa import TimeStamps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sigstore.models import ClientTrustConfig
    from sigstore.oidc import IdentityToken

    from supply_chain.local_sigstore.exchange import Routes
    from supply_chain.local_sigstore.github import WorkflowRun

FOLDER = "sigstore"
"""The instance's own folder inside the build's state folder."""
SECRET = "client-secret"  # noqa: S105 - the name of the file


@dataclass(frozen=True, slots=True, kw_only=True)
class Identities:
    """The keys and certificates of an instance, as they stand in its folder."""

    fulcio: ca.Authority
    tsa: ca.Authority
    rekor_key: ec.EllipticCurvePrivateKey
    rekor_v2_key: ed25519.Ed25519PrivateKey
    ct_key: ec.EllipticCurvePrivateKey
    oidc_key: ec.EllipticCurvePrivateKey
    client_secret: str

    @property
    def trusted_root_json(self) -> str:
        """The trusted root; the same folder gives the same bytes each time."""
        root = trust_root.trusted_root(
            fulcio=self.fulcio,
            tsa=self.tsa,
            rekor_key=self.rekor_key,
            rekor_v2_key=self.rekor_v2_key,
            ct_key=self.ct_key,
        )
        return json.dumps(root, indent=1, sort_keys=True) + "\n"


class LocalSigstore:
    """A running instance."""

    def __init__(
        self,
        identities: Identities,
        provider: IdentityProvider,
        url: str,
        log_version: trust_root.LogVersion,
    ) -> None:
        """Speak for the instance that answers at the URL."""
        self._log_version = log_version
        self._identities = identities
        self._provider = provider
        self.url = url
        """Where it answers, until the block ends."""

    @property
    def trusted_root_json(self) -> str:
        """The trusted root that verifies what this instance signs, now and after it has ended."""
        return self._identities.trusted_root_json

    @property
    def trust_config_json(self) -> str:
        """Trusted root and addresses, as `sigstore --trust-config` takes them."""
        return json.dumps(
            {
                "mediaType": trust_root.TRUST_CONFIG,
                "trustedRoot": json.loads(self.trusted_root_json),
                "signingConfig": trust_root.signing_config(self.url, self._log_version),
            },
            indent=1,
        )

    @property
    def trust_config(self) -> ClientTrustConfig:
        """The same for the sigstore library."""
        from sigstore.models import ClientTrustConfig  # noqa: PLC0415 - takes most of a second

        return ClientTrustConfig.from_json(self.trust_config_json)

    def identity_token(self, identity: str) -> IdentityToken:
        """A token for a URI or an e-mail address, good for ten minutes.

        Only the process that started the instance gets one without the client secret.

        Raises:
            RefusedError: The identity is neither.
        """
        from sigstore.oidc import IdentityToken  # noqa: PLC0415 - takes most of a second

        return IdentityToken(self._provider.token(identity))

    def workflow_token(self, run: WorkflowRun) -> IdentityToken:
        """A token as a job on GitHub gets it, for rehearsals with this instance's root alone."""
        from sigstore.oidc import IdentityToken  # noqa: PLC0415 - takes most of a second

        return IdentityToken(self._provider.workflow_token(run))


def secret_path(state: Path) -> Path:
    """Where the client secret of a state folder's instance is."""
    return state / FOLDER / SECRET


def utc_now() -> datetime:
    """The machine's time."""
    return datetime.now(UTC)


@contextlib.contextmanager
def running(
    state: Path,
    *,
    clock: Callable[[], datetime] = utc_now,
    address: str = ADDRESS,
    port: int = 0,
    unsafe_beyond_this_machine: bool = False,
    log_version: trust_root.LogVersion = 1,
    passphrase: bytes | None = None,
) -> Iterator[LocalSigstore]:
    """The instance of a state folder, made on first use, answering until the block ends.

    Several processes may run it from the same folder at once, each on its own port: keys and logs
    are shared and locked.

    Args:
        state: The build's state folder.
        clock: The time of certificates, entries and stamps. Clients compare with their own.
        address: Where it listens.
        port: The port; 0 takes a free one.
        unsafe_beyond_this_machine: Listen although others can reach the address.
        log_version: Which of its two logs clients are told to use. Old clients know version 1
            alone; only that one promises inclusion, which policies demand by default.
        passphrase: Opens the private keys, and encrypts those that are not.

    Raises:
        LocalSigstoreError: The folder was tampered with, or others can read its secrets.
        PassphraseError: The passphrase is wrong or missing.
    """
    folder = private_folder(state / FOLDER)
    identities = load_identities(state, passphrase)
    provider = IdentityProvider(identities.oidc_key, identities.client_secret, clock)
    transparency = TransparencyLog(AppendOnlyLog(folder / "ct"), identities.ct_key, clock)
    fulcio = ca.SigningCertificates(identities.fulcio, transparency, provider, clock)
    rekor = Rekor(
        AppendOnlyLog(folder / "rekor"), identities.rekor_key, trust_root.REKOR_URL, clock
    )
    rekor_v2 = RekorV2(
        AppendOnlyLog(folder / "rekor2"), identities.rekor_v2_key, trust_root.REKOR_V2_URL, clock
    )
    routes = {
        **_routes(provider, fulcio, TimeStamps(identities.tsa, clock)),
        **rekor.routes,
        **rekor_v2.routes,
    }
    with HttpServer(
        routes,
        address=address,
        port=port,
        unsafe_beyond_this_machine=unsafe_beyond_this_machine,
    ) as server:
        yield LocalSigstore(identities, provider, server.url, log_version)


def load_identities(state: Path, passphrase: bytes | None = None) -> Identities:
    """The keys and certificates of the instance in a state folder, made on first use.

    With a passphrase all its private keys are encrypted, also those that were not before.

    Raises:
        LocalSigstoreError: A key is readable by others, or does not fit its certificate.
        PassphraseError: The passphrase is wrong or missing.
    """
    folder = private_folder(state / FOLDER)
    keys = private_folder(folder / "keys")
    with locked(folder / "lock"):
        return Identities(
            fulcio=_authority(keys / "fulcio", passphrase, _fulcio_certificate),
            tsa=_authority(keys / "tsa", passphrase, ca.timestamping_certificate),
            rekor_key=found_or_made_p256(keys / "rekor.key.pem", passphrase),
            rekor_v2_key=found_or_made_ed25519(keys / "rekor2.key.pem", passphrase),
            ct_key=found_or_made_p256(keys / "ct.key.pem", passphrase),
            oidc_key=found_or_made_p256(keys / "oidc.key.pem", passphrase),
            client_secret=found_or_made_token(secret_path(state)),
        )


def _fulcio_certificate(
    key: ec.EllipticCurvePublicKey, name: str, root: ca.Authority
) -> x509.Certificate:
    return ca.intermediate_certificate(key, f"{name} intermediate", root)


def _authority(
    stem: Path,
    passphrase: bytes | None,
    certify: Callable[[ec.EllipticCurvePublicKey, str, ca.Authority], x509.Certificate],
) -> ca.Authority:
    """The authority whose key and chain are in two files beside each other.

    The root's key signs one certificate and is then forgotten: nobody can make a second one.
    """
    name = stem.name
    key = found_or_made_p256(stem.with_suffix(".key.pem"), passphrase)

    def make() -> bytes:
        root_key = ec.generate_private_key(ec.SECP256R1())
        root_certificate = ca.root_certificate(root_key, f"{name} root")
        root = ca.Authority(key=root_key, chain=(root_certificate,))
        chain = (certify(key.public_key(), name, root), root_certificate)
        return b"".join(item.public_bytes(serialization.Encoding.PEM) for item in chain)

    path = stem.with_suffix(".chain.pem")
    try:
        chain = tuple(x509.load_pem_x509_certificates(found_or_made(path, make)))
    except ValueError as exc:
        raise LocalSigstoreError(f"{path}: expected certificates in PEM, got {exc}") from exc
    if chain[0].public_key() != key.public_key():
        raise LocalSigstoreError(f"{path} certifies another key than {name}'s key file holds")
    return ca.Authority(key=key, chain=chain)


def _routes(provider: IdentityProvider, fulcio: ca.SigningCertificates, tsa: TimeStamps) -> Routes:
    return {
        ("GET", "/.well-known/openid-configuration"): provider.discovery,
        ("GET", "/oidc/keys"): provider.keys,
        ("GET", "/oidc/authorize"): provider.authorize,
        ("POST", "/oidc/authorize"): provider.grant,
        ("POST", "/oidc/token"): provider.exchange,
        ("POST", "/api/v2/signingCert"): fulcio.issue,
        ("GET", "/api/v2/trustBundle"): fulcio.trust_bundle,
        ("POST", trust_root.TSA_PATH): tsa.stamp,
    }
