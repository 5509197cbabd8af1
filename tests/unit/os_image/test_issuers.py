"""Issuers that are not among the files: followed by the addresses in certificates."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID
from invoke.context import Context

from blindllama import Policy
from os_image._tasks import issuers
from os_image.issuers import (
    FOLDER,
    IssuerError,
    certificate_in,
    fetch_published,
    missing_issuers,
    read_issuers,
    write_issuers,
)
from tests.simulators.ak_authority import INTERMEDIATE, LEAF, Issuer, Profile, new_root
from tests.simulators.booted_guest import text
from tests.simulators.file_server import FileServer, file_server
from tests.unit.sdk.policy.made import parts

KEY = ec.generate_private_key(ec.SECP256R1()).public_key()


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as running:
        yield running


def published(profile: Profile, *urls: str) -> Profile:
    """The profile of a certificate that says where its issuer is published."""
    access = x509.AuthorityInformationAccess(
        [
            x509.AccessDescription(method, x509.UniformResourceIdentifier(url))
            for method, url in (
                (AuthorityInformationAccessOID.OCSP, "http://127.0.0.1:9/ocsp"),
                *((AuthorityInformationAccessOID.CA_ISSUERS, url) for url in urls),
            )
        ]
    )
    return replace(profile, extra=((access, False),))


@dataclass(frozen=True, kw_only=True)
class Hierarchy:
    """Azure's newer one in form: two intermediates, each published."""

    root: Issuer
    upper: Issuer
    lower: Issuer
    leaf: x509.Certificate


def hierarchy(server: FileServer) -> Hierarchy:
    root = new_root()
    upper = root.issue(replace(INTERMEDIATE, common_name="Azure Cloud CA 2025", path_length=1))
    lower = upper.issue(
        published(
            replace(INTERMEDIATE, common_name="Azure Cloud CA - 11"), f"{server.url}/upper.crt"
        )
    )
    leaf = lower.certify(
        KEY,
        published(
            LEAF, f"{server.url}/gone.crt", f"{server.url}/other.crt", f"{server.url}/lower.crt"
        ),
    )
    server.files = {
        "other.crt": new_root(replace(INTERMEDIATE, common_name="other")).der,
        "lower.crt": lower.der,
        "upper.crt": upper.certificate.public_bytes(Encoding.PEM),
    }
    return Hierarchy(root=root, upper=upper, lower=lower, leaf=x509.load_der_x509_certificate(leaf))


def test_addresses_are_followed_up_to_what_is_known(server: FileServer) -> None:
    made = hierarchy(server)
    found = missing_issuers(made.leaf, [made.root.certificate], fetch_published)
    assert found == (made.lower.certificate, made.upper.certificate)
    assert [path for path, _ in server.requests] == [
        "gone.crt",
        "other.crt",
        "lower.crt",
        "upper.crt",
    ]


def test_what_is_known_is_not_asked_for(server: FileServer) -> None:
    made = hierarchy(server)
    known = [made.root.certificate, made.lower.certificate]
    assert missing_issuers(made.leaf, known, fetch_published) == (made.upper.certificate,)
    known.append(made.upper.certificate)
    server.requests.clear()
    assert missing_issuers(made.leaf, known, fetch_published) == ()
    assert server.requests == []


def test_files_come_and_are_read_again(server: FileServer, tmp_path: Path) -> None:
    made = hierarchy(server)
    write_issuers(tmp_path, [made.root.certificate])
    found = missing_issuers(made.leaf, read_issuers(tmp_path), fetch_published)
    paths = write_issuers(tmp_path, found)
    assert [path.name for path in paths] == ["azure-cloud-ca-11.pem", "azure-cloud-ca-2025.pem"]
    assert set(read_issuers(tmp_path)) == {made.root.certificate, *found}
    assert not list(tmp_path.glob(".*"))


def test_another_root_is_refused(server: FileServer) -> None:
    made = hierarchy(server)
    stranger = new_root(replace(INTERMEDIATE, common_name="stranger", path_length=2))
    leaf = x509.load_der_x509_certificate(
        stranger.certify(KEY, published(LEAF, f"{server.url}/stranger.crt"))
    )
    server.files["stranger.crt"] = stranger.der
    with pytest.raises(IssuerError, match="expected a root that is among the files"):
        missing_issuers(leaf, [made.root.certificate], fetch_published)


def test_a_certificate_without_an_address(server: FileServer) -> None:
    made = hierarchy(server)
    leaf = x509.load_der_x509_certificate(made.upper.certify(KEY))
    with pytest.raises(IssuerError, match=r"it has no address") as caught:
        missing_issuers(leaf, [made.root.certificate], fetch_published)
    assert "CN=Azure Cloud CA 2025" in str(caught.value)


def test_a_tower_without_end(server: FileServer) -> None:
    issuer = root = new_root(replace(INTERMEDIATE, common_name="root", path_length=9))
    for number in range(6):
        profile = replace(INTERMEDIATE, common_name=f"CA {number}", path_length=None)
        server.files[f"{number}.crt"] = issuer.der
        issuer = issuer.issue(published(profile, f"{server.url}/{number}.crt"))
    server.files["last.crt"] = issuer.der
    leaf = issuer.certify(KEY, published(LEAF, f"{server.url}/last.crt"))
    with pytest.raises(IssuerError, match="at most 4 issuers"):
        missing_issuers(x509.load_der_x509_certificate(leaf), [root.certificate], fetch_published)


def test_what_cannot_be_fetched(server: FileServer) -> None:
    server.files["huge"] = bytes((1 << 14) + 1)
    for url, said in (
        (f"{server.url}/gone", "status 404"),
        (f"{server.url}/huge", "at most 16384 bytes"),
        ("http://127.0.0.1:9/", "cannot be reached"),
        ("ldap://127.0.0.1/", "expected http or https"),
        ("file:///etc/passwd", "expected http or https"),
    ):
        with pytest.raises(IssuerError, match=said) as caught:
            fetch_published(url)
        assert caught.value.code == "os_image.issuers"


def test_a_certificate_in_three_forms() -> None:
    root = new_root()
    evidence = json.dumps({"version": 1, "ak": {"certificate": text(root.der)}}).encode()
    for data in (root.der, root.certificate.public_bytes(Encoding.PEM), evidence):
        assert certificate_in(data, "it") == root.certificate


@pytest.mark.parametrize("data", [b"", b"{}", b'{"ak": {"certificate": "*"}}', b"-----BEGIN", b"x"])
def test_what_is_no_certificate(data: bytes) -> None:
    with pytest.raises(IssuerError, match="FILE: expected a certificate in PEM or DER"):
        certificate_in(data, "FILE")


def test_the_task_puts_them_into_a_policy(
    checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(Policy.from_mapping(parts()).to_toml())
    certificate = checkout / FOLDER / "global-virtual-tpm-ca-03.pem"
    issuers.body(Context(), certificate=str(certificate), policy=str(policy))
    known = read_issuers(checkout / FOLDER)
    ders = {one.public_bytes(Encoding.DER) for one in known}
    assert set(Policy.from_file(policy).vtpm.issuers_der()) == ders
    said = capsys.readouterr().out
    assert f"{len(known)} issuers" in said
    assert "2027-04-24  CN=Global Virtual TPM CA - 03" in said


def test_two_of_one_subject_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.pem").write_bytes(new_root().certificate.public_bytes(Encoding.PEM))
    with pytest.raises(IssuerError, match="another subject than a.pem"):
        read_issuers(tmp_path)
