"""Who owns a layout: a key of this machine, a key behind a URI, a Sigstore identity."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from securesystemslib.signer import (  # type: ignore[attr-defined]
    SIGNER_FOR_URI_SCHEME,
    Key,
    Signature,
)
from securesystemslib.signer import Signer as KeySigner  # type: ignore[attr-defined]

from blindllama.policy import GITHUB_ISSUER
from supply_chain.attest.config import (
    BuilderOwner,
    FileOwner,
    IdentityOwner,
    OwnerChoice,
    SignerOwner,
)
from supply_chain.attest.functionary import Functionary
from supply_chain.attest.owner import (
    init_owner_key,
    is_encrypted,
    open_owners,
    owner_entries,
    owner_key,
    uri_owner,
)
from supply_chain.attest.signing import Signer, signer
from supply_chain.attest.trust import PublicSigstore, SigningError
from supply_chain.local_sigstore.keys import LocalSigstoreError
from tests.simulators.github_runner import RUN

TOMORROW = datetime.now(UTC) + timedelta(days=1)
FILE = FileOwner(kind="file")
SOMEBODY = Functionary(identity="x", issuer="y")


def person(signing: Signer) -> Functionary:
    who = signing.authority
    return Functionary(identity=who.identity, issuer=who.issuer, github=who.github)


PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def never() -> bytes:
    raise AssertionError("nobody should be asked")


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    first = owner_key(tmp_path)
    path = tmp_path / "owner" / "owner.key.pem"
    assert owner_key(tmp_path, passphrase=never).keyid == first.keyid
    assert is_encrypted(tmp_path) is False
    assert path.stat().st_mode & 0o777 == 0o600
    assert first.entry["scheme"] == "ed25519"
    assert len(bytes.fromhex(first.entry["public"])) == 32
    path.chmod(0o644)
    with pytest.raises(LocalSigstoreError, match="expected mode 0600"):
        owner_key(tmp_path)


def test_a_key_is_encrypted_from_the_start(tmp_path: Path) -> None:
    assert is_encrypted(tmp_path) is None
    made, said = init_owner_key(tmp_path, new=lambda: b"open", known=never)
    assert said == "made and encrypted"
    assert is_encrypted(tmp_path) is True
    assert owner_key(tmp_path, passphrase=lambda: b"open").keyid == made.keyid


def test_an_open_key_is_encrypted_in_its_place(tmp_path: Path) -> None:
    before = owner_key(tmp_path)
    made, said = init_owner_key(tmp_path, new=lambda: b"open", known=never)
    assert (made.keyid, said) == (before.keyid, "encrypted in its place")
    again, said = init_owner_key(tmp_path, new=never, known=lambda: b"open")
    assert (again.keyid, said) == (before.keyid, "was encrypted already")
    pem = (tmp_path / "owner" / "owner.key.pem").read_bytes()
    assert b"ENCRYPTED" in pem


def test_nobody_is_made_to_encrypt(tmp_path: Path) -> None:
    _, said = init_owner_key(tmp_path, new=lambda: None, known=never)
    assert said == "not encrypted: no passphrase was given"
    assert is_encrypted(tmp_path) is False


def test_only_the_passphrase_opens_the_key(tmp_path: Path) -> None:
    init_owner_key(tmp_path, new=lambda: b"open", known=never)
    with pytest.raises(SigningError, match="the passphrase does not open") as raised:
        owner_key(tmp_path, passphrase=lambda: b"shut")
    assert raised.value.code == "build.signing"
    with pytest.raises(SigningError, match="is encrypted; expected its passphrase, got none"):
        owner_key(tmp_path)


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    owner_key(tmp_path)
    path = tmp_path / "owner" / "owner.key.pem"
    path.write_bytes(private_pem(ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(SigningError, match="expected an ed25519 key, got ECPrivateKey"):
        owner_key(tmp_path)


def private_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def public_pem(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


KINDS: dict[str, Callable[[], PrivateKey]] = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ecdsa-sha2-nistp256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "rsassa-pss-sha256": lambda: rsa.generate_private_key(65537, 2048),
}


@pytest.mark.parametrize("scheme", KINDS)
def test_a_signer_uri_is_an_owner(tmp_path: Path, scheme: str) -> None:
    key = KINDS[scheme]()
    path = tmp_path / "elsewhere.pem"
    path.write_bytes(private_pem(key))
    owner = uri_owner(f"file2:{path}", public_pem(key))
    assert owner.entry["scheme"] == scheme
    assert owner.sign(b"data").keyid == owner.keyid


def test_a_uri_with_another_key_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "elsewhere.pem"
    path.write_bytes(private_pem(KINDS["ed25519"]()))
    with pytest.raises(SigningError, match="owner file2: cannot sign with it"):
        uri_owner(f"file2:{path}", public_pem(KINDS["ed25519"]()))


def weak_rsa() -> PrivateKey:
    return rsa.generate_private_key(65537, 1024)  # noqa: S505 - it is the one to be refused


@pytest.mark.parametrize(
    "key",
    [ec.generate_private_key(ec.SECP384R1()), weak_rsa()],
    ids=["P-384", "RSA 1024"],
)
def test_a_public_key_that_clients_do_not_take(key: PrivateKey) -> None:
    with pytest.raises(SigningError, match="expected ed25519, ECDSA P-256 or RSA of at least 2048"):
        uri_owner("file2:/nowhere", public_pem(key))


def test_a_uri_that_nothing_here_signs_with() -> None:
    public = public_pem(KINDS["ed25519"]())
    for uri in ("carrier-pigeon:home", "file2:/nowhere/key.pem", "gcpkms:projects/x"):
        with pytest.raises(SigningError, match="cannot sign with it") as raised:
            uri_owner(uri, public)
        assert raised.value.code == "build.signing"


class Module(KeySigner):
    """A signer that wants a PIN, registered as any other of securesystemslib's."""

    def __init__(self, public_key: Key, pin: str) -> None:
        self._public_key, self.pin = public_key, pin

    @property
    def public_key(self) -> Key:
        return self._public_key

    @classmethod
    def from_priv_key_uri(
        cls, priv_key_uri: str, public_key: Key, secrets_handler: Callable[[str], str] | None = None
    ) -> Module:
        assert priv_key_uri == "module:1"
        assert secrets_handler is not None
        return cls(public_key, secrets_handler("pin"))

    def sign(self, payload: bytes) -> Signature:
        raise OSError(f"the module refuses {len(payload)} bytes with PIN {self.pin}")


def test_a_module_is_given_its_pin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIGNER_FOR_URI_SCHEME, "module", Module)
    owner = uri_owner("module:1", public_pem(KINDS["ed25519"]()), secret=lambda: b"1234")
    with pytest.raises(SigningError, match="did not sign: the module refuses 4 bytes .* 1234"):
        owner.sign(b"data")


def test_what_is_no_public_key() -> None:
    with pytest.raises(SigningError, match="expected PEM"):
        uri_owner("file2:/nowhere", b"-----BEGIN NONSENSE-----")


@pytest.fixture
def choices(tmp_path: Path) -> tuple[OwnerChoice, ...]:
    key = KINDS["ecdsa-sha2-nistp256"]()
    (tmp_path / "key.pem").write_bytes(private_pem(key))
    (tmp_path / "public.pem").write_bytes(public_pem(key))
    return (
        FILE,
        SignerOwner(kind="signer", uri=f"file2:{tmp_path / 'key.pem'}", public="public.pem"),
        IdentityOwner(kind="sigstore", identity="https://blindllama.dev/owners/board"),
    )


def signs_in(
    state: Path, passphrase: bytes | None = None
) -> Callable[[str], AbstractContextManager[Signer]]:
    """What signs as anybody, with the instance in a state folder."""
    return lambda identity: signer(state, identity=identity, passphrase=passphrase)


def test_an_owner_of_an_instance_with_a_passphrase(tmp_path: Path) -> None:
    board = IdentityOwner(kind="sigstore", identity="https://blindllama.dev/owners/board")
    with (
        signer(tmp_path, passphrase=b"open") as builder,
        open_owners(
            [board],
            root=tmp_path,
            state=tmp_path,
            builder=builder,
            signer=signs_in(tmp_path, b"open"),
            passphrase=never,
        ) as owners,
    ):
        assert owners[0].sign(b"data").unrecognized_fields.keys() == {"bundle"}


def test_owners_of_all_kinds(
    tmp_path: Path, choices: tuple[OwnerChoice, ...], signing: Signer, attest_state: Path
) -> None:
    issuer = signing.authority.issuer
    with open_owners(
        choices,
        root=tmp_path,
        state=attest_state,
        builder=signing,
        signer=signs_in(attest_state),
        passphrase=never,
    ) as owners:
        entries = [owner.entry for owner in owners]
        assert len({owner.sign(b"data").keyid for owner in owners}) == 3
    assert [entry.get("scheme") for entry in entries] == ["ed25519", "ecdsa-sha2-nistp256", None]
    assert entries[2] == {"identity": "https://blindllama.dev/owners/board", "issuer": issuer}
    assert (
        owner_entries(choices, root=tmp_path, state=attest_state, builder=person(signing))
        == entries
    )


def test_whose_a_layout_is_needs_no_passphrase(tmp_path: Path) -> None:
    assert owner_entries([FILE], root=tmp_path, state=tmp_path, builder=SOMEBODY) is None
    made, _ = init_owner_key(tmp_path, new=lambda: b"open", known=never)
    assert owner_entries([FILE], root=tmp_path, state=tmp_path, builder=SOMEBODY) == [made.entry]


def test_the_builder_may_be_the_owner(signing: Signer, attest_state: Path, tmp_path: Path) -> None:
    identity = signing.authority.identity
    assert identity is not None
    own = IdentityOwner(kind="sigstore", identity=identity)
    with open_owners(
        [own],
        root=tmp_path,
        state=attest_state,
        builder=signing,
        signer=signs_in(tmp_path),
        passphrase=never,
    ) as owners:
        assert owners[0].entry == {"identity": identity, "issuer": signing.authority.issuer}


def test_a_workflow_that_signs_may_own_the_layout_by_whatever_name(
    github: Path, attest_state: Path, tmp_path: Path
) -> None:
    own = BuilderOwner(kind="builder")
    with (
        signer(tmp_path / "none", public=PublicSigstore(trust_config=github)) as builder,
        open_owners(
            [own],
            root=tmp_path,
            state=attest_state,
            builder=builder,
            signer=signs_in(tmp_path),
            passphrase=never,
        ) as owners,
    ):
        (owner,) = owners
        assert owner.entry["issuer"] == GITHUB_ISSUER
        assert owner.entry["github"]["ref"] == RUN.ref
        # As the policy of the release will have it: the certificate is of this workflow and source.
        assert [owner.entry] == owner_entries(
            [own], root=tmp_path, state=tmp_path, builder=person(builder)
        )
        assert "bundle" in owner.sign(b"data").to_dict()


def test_an_owner_whom_another_sigstore_knows(attest_state: Path, tmp_path: Path) -> None:
    stranger = IdentityOwner(kind="sigstore", identity="https://blindllama.dev/owners/board")
    with (
        signer(tmp_path / "elsewhere") as builder,
        pytest.raises(SigningError, match="cannot sign here"),
        open_owners(
            [stranger],
            root=tmp_path,
            state=attest_state,
            builder=builder,
            signer=signs_in(attest_state),
            passphrase=never,
        ),
    ):
        pass


def test_a_public_key_that_is_not_there(signing: Signer, tmp_path: Path) -> None:
    lost = SignerOwner(kind="signer", uri="file2:/nowhere", public="lost.pem")
    with (
        pytest.raises(SigningError, match="lost.pem: No such file"),
        open_owners(
            [lost],
            root=tmp_path,
            state=tmp_path,
            builder=signing,
            signer=signs_in(tmp_path),
            passphrase=never,
        ),
    ):
        pass
