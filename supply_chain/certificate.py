"""What a Sigstore certificate says of whoever holds it: identity, issuer and, in CI, the source.

The certificate authority has checked these against the identity token, so they are taken from
here and not from the environment of the job, which the job itself can change.

Source: Fulcio, "OID information".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asn1crypto import core
from cryptography import x509

if TYPE_CHECKING:
    from collections.abc import Mapping

_ARC = "1.3.6.1.4.1.57264.1"
ISSUER_V1 = x509.ObjectIdentifier(f"{_ARC}.1")
"""The issuer as bare bytes; deprecated, and still what some clients read."""
ISSUER = x509.ObjectIdentifier(f"{_ARC}.8")
RUNNER = x509.ObjectIdentifier(f"{_ARC}.11")
"""On whose machine the job ran: `github-hosted` or `self-hosted`."""
RUNNER = x509.ObjectIdentifier(f"{_ARC}.11")
"""Whose machine the job ran on."""
SOURCE_REPOSITORY = x509.ObjectIdentifier(f"{_ARC}.12")
SOURCE_COMMIT = x509.ObjectIdentifier(f"{_ARC}.13")
SOURCE_REF = x509.ObjectIdentifier(f"{_ARC}.14")
BUILD_CONFIG = x509.ObjectIdentifier(f"{_ARC}.18")
"""The workflow that was started: of the source repository, at its ref."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a CI job was started for."""

    repository: str
    """The repository's URL."""
    workflow: str
    """The path in it of the workflow that was started."""
    ref: str
    commit: str
    runner: str
    """On whose machine it ran: `github-hosted` or `self-hosted`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Whom a certificate is for."""

    identity: str
    """The subject alternative name: a URI or an e-mail address."""
    issuer: str
    """Who vouched for the identity."""
    source: Source | None
    """None where the identity is no CI job."""


def holder_of(certificate: x509.Certificate) -> Holder:
    """Return whom a certificate is for.

    Raises:
        ValueError: It is not a Sigstore certificate.
    """
    says = _texts(certificate)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        (name,) = names
        issuer = says[ISSUER]
    except (x509.ExtensionNotFound, ValueError, KeyError) as exc:
        raise ValueError("expected a certificate with one identity and its issuer") from exc
    return Holder(identity=str(name.value), issuer=issuer, source=_source(says))


def _source(says: Mapping[x509.ObjectIdentifier, str]) -> Source | None:
    named = (SOURCE_REPOSITORY, SOURCE_REF, SOURCE_COMMIT, BUILD_CONFIG, RUNNER)
    if not says.keys() >= set(named):
        return None
    repository, ref, commit, config, runner = (says[oid] for oid in named)
    workflow = config.removeprefix(f"{repository}/").removesuffix(f"@{ref}")
    return Source(repository=repository, workflow=workflow, ref=ref, commit=commit, runner=runner)


def _texts(certificate: x509.Certificate) -> dict[x509.ObjectIdentifier, str]:
    """The extensions .8 to .22, which are DER UTF8Strings; the older ones are bare bytes."""
    found = {}
    for extension in certificate.extensions:
        arc, _, number = extension.oid.dotted_string.rpartition(".")
        value = extension.value
        if arc == _ARC and int(number) >= 8 and isinstance(value, x509.UnrecognizedExtension):
            found[extension.oid] = str(core.UTF8String.load(value.value, strict=True).native)
    return found
