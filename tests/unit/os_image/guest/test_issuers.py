"""The issuers that the image brings, and the row that the guest makes of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from blindllama._ak import verify_attestation_key
from blindllama._platform.azure import AZURE_TRUSTED_LAUNCH, ROOT_2023
from blindllama._platform.qemu import QEMU_SWTPM
from os_image.guest import issuers as guest_issuers
from os_image.guest.certificate import names
from os_image.guest.errors import CertificateError
from os_image.guest.issuers import ISSUERS, issuers_of, read_issuers
from os_image.issuers import FOLDER
from tests.simulators.ak_authority import INTERMEDIATE, NOW, Issuer, new_root

KEY = ec.generate_private_key(ec.SECP256R1()).public_key()
IMAGE = Path(guest_issuers.__file__).parent / "files" / ISSUERS.relative_to("/")


def tower(intermediates: int) -> tuple[bytes, list[Issuer]]:
    """A leaf below that many intermediates, and its issuers, the root last."""
    issuers = [new_root()]
    for depth in range(intermediates, 0, -1):
        profile = replace(INTERMEDIATE, common_name=f"intermediate {depth}", path_length=depth - 1)
        issuers.insert(0, issuers[0].issue(profile))
    return issuers[0].certify(KEY), issuers


@pytest.mark.parametrize("intermediates", [0, 1, 2, 3])
def test_a_row_up_to_the_root_that_the_client_accepts(intermediates: int) -> None:
    leaf, issuers = tower(intermediates)
    others = [new_root(replace(INTERMEDIATE, common_name="not of this row")).der]
    row = issuers_of(leaf, [*others, *(issuer.der for issuer in reversed(issuers))])
    assert row == tuple(issuer.der for issuer in issuers)
    key = verify_attestation_key(
        leaf, row, platform=QEMU_SWTPM, roots=frozenset({issuers[-1].fingerprint}), now=NOW
    )
    assert key.root_fingerprint == issuers[-1].fingerprint


def test_a_row_ends_where_nobody_is_known() -> None:
    leaf, issuers = tower(2)
    assert issuers_of(leaf, []) == ()
    assert issuers_of(leaf, [issuers[0].der, issuers[2].der]) == (issuers[0].der,)


def test_a_circle_ends_too() -> None:
    first, second = new_root(), new_root(replace(INTERMEDIATE, common_name="second"))
    circle = [
        first.issue(replace(INTERMEDIATE, common_name="second")).der,
        second.issue(replace(INTERMEDIATE, common_name="root")).der,
    ]
    assert len(issuers_of(first.certify(KEY), circle)) == 4


def test_names_are_those_that_a_library_reads() -> None:
    leaf, issuers = tower(1)
    for der in (leaf, *(issuer.der for issuer in issuers)):
        certificate = x509.load_der_x509_certificate(der)
        found = names(der)
        assert found.issuer == certificate.issuer.public_bytes()
        assert found.subject == certificate.subject.public_bytes()


@given(st.binary(max_size=200))
def test_no_bytes_raise_another_error(data: bytes) -> None:
    for given_bytes in (data, b"\x30\x06\x30\x04" + data[:4]):
        with pytest.raises(CertificateError):
            names(given_bytes)


def test_the_image_brings_them_where_the_guest_looks(checkout: Path) -> None:
    assert checkout / FOLDER == IMAGE
    brought = [x509.load_der_x509_certificate(der) for der in read_issuers(IMAGE)]
    assert "Global Virtual TPM CA - 03" in {
        name.rfc4514_string()[3:] for name in _subjects(brought)
    }
    roots = [one for one in brought if one.issuer == one.subject]
    assert [_fingerprint(root) for root in roots] == [ROOT_2023]
    for one in brought:
        one.verify_directly_issued_by(next(it for it in brought if it.subject == one.issuer))


def _subjects(certificates: list[x509.Certificate]) -> list[x509.Name]:
    return [certificate.subject for certificate in certificates]


def _fingerprint(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415 - only here

    return certificate.fingerprint(SHA256())


def test_the_leaf_of_a_real_machine_gets_its_issuers(checkout: Path) -> None:
    """Its TPM had none; with those of the image, the client accepts it against the real root."""
    path = checkout.parent / "shared/data/azure/trusted-launch-2026"
    if not path.is_dir():
        pytest.skip("the real documents are not beside the checkout")
    leaf = (path / "tl-2026-07-27-akcert_0x01C101D0.der").read_bytes()
    key = verify_attestation_key(
        leaf,
        issuers_of(leaf, read_issuers(IMAGE)),
        platform=AZURE_TRUSTED_LAUNCH,
        roots=frozenset({ROOT_2023}),
        now=datetime(2026, 11, 28, tzinfo=UTC),
    )
    assert key.subject.endswith(".TrustedVM.Azure.windows.net")


def test_without_a_folder_there_are_none(tmp_path: Path) -> None:
    assert read_issuers(tmp_path / "missing") == ()


def test_files_that_hold_no_certificate(tmp_path: Path) -> None:
    good = new_root().certificate.public_bytes(Encoding.PEM).decode()
    lines = good.splitlines()
    for text in (
        "",
        "-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n",
        good.replace("END", "FIN"),
        "\n".join([*lines[:-1], "MAMCAQE=", lines[-1]]),
        "\N{SNOWMAN}",
    ):
        (tmp_path / "one.pem").write_text(text, "utf-8")
        with pytest.raises(CertificateError) as caught:
            read_issuers(tmp_path)
        assert caught.value.code == "guest.certificate"
    (tmp_path / "one.pem").write_text("Where it is from.\n" + good)
    assert len(read_issuers(tmp_path)) == 1
