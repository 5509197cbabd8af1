"""Signatures with Sigstore: a fresh key and a certificate for each, logged and time-stamped."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from sigstore.dsse import Statement as SigstoreStatement
from sigstore.models import Bundle

from supply_chain.attest.trust import SigningError, authority, refusals_translated

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sigstore.sign import Signer as SigstoreSigner

    from supply_chain.attest.statement import Statement
    from supply_chain.attest.trust import Authority, PublicSigstore


class Signer:
    """Signs as one identity with one Sigstore instance."""

    def __init__(self, signing_authority: Authority) -> None:
        """Sign with this authority for as long as it lasts."""
        self._authority = signing_authority

    @property
    def authority(self) -> Authority:
        """Who signs, and what verifies it."""
        return self._authority

    def sign_statement(self, statement: Statement) -> bytes:
        """The bundle (JSON) of a DSSE envelope around the statement.

        Raises:
            SigningError: The instance refuses, is out of reach, or did not stamp the time.
        """
        with refusals_translated(), self._session() as session:
            return _complete(session.sign_dsse(SigstoreStatement(statement.to_bytes())))

    def sign_bytes(self, data: bytes) -> bytes:
        """The bundle (JSON) of a message signature over the data.

        Raises:
            SigningError: As `sign_statement`.
        """
        with refusals_translated(), self._session() as session:
            return _complete(session.sign_artifact(data))

    @contextlib.contextmanager
    def _session(self) -> Iterator[SigstoreSigner]:
        # Certificates live for minutes and tokens too: new ones each time cost milliseconds.
        with self._authority.context.signer(self._authority.new_token()) as session:
            yield session


@contextlib.contextmanager
def signer(
    state: Path,
    *,
    identity: str | None = None,
    public: PublicSigstore | None = None,
    passphrase: bytes | None = None,
) -> Iterator[Signer]:
    """A signer for the length of the block; the local instance is started when it is needed.

    Args:
        state: The build's state folder.
        identity: Who signs with the local instance; its builder when not given.
        public: Sign with an instance that is not on this machine.
        passphrase: Of the local instance's keys.

    Raises:
        SigningError: There is no identity to sign as.
        PassphraseError: The passphrase is wrong or missing.
    """
    chosen = {} if identity is None else {"identity": identity}
    with authority(state, public=public, passphrase=passphrase, **chosen) as found:
        yield Signer(found)


def bundle_document(bundle: bytes) -> dict[str, Any]:
    """A bundle as the JSON object that other documents embed."""
    document: dict[str, Any] = json.loads(bundle)
    return document


def statement_in(bundle: bytes) -> bytes:
    """The statement inside a bundle that this build has made: the signed bytes themselves."""
    envelope = Bundle.from_json(bundle)._dsse_envelope  # noqa: SLF001 - no public way to it
    if envelope is None:
        raise SigningError("bundle: expected a DSSE envelope, got a message signature")
    return bytes(envelope._inner.payload)  # noqa: SLF001 - likewise


def _complete(bundle: Bundle) -> bytes:
    # The library only warns when the time stamp authority fails; a bundle without a stamp would
    # be refused by every client, so it must not leave the build.
    if bundle.verification_material.timestamp_verification_data is None:
        raise SigningError("the time stamp authority gave no stamp; a bundle without is refused")
    return bundle.to_json().encode()
