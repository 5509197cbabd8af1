"""A software TPM that looks like a guest's."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from deploy.qemu.vtpm import served
from tests.simulators.tpm_proxy import send

if TYPE_CHECKING:
    from collections.abc import Iterator

INDEX_SIZE = 2000
"""Bytes of the certificate's index: more than the certificate, so that it ends in zeros."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftwareTpm:
    """A running swtpm with an attestation key and its certificate where Azure puts them."""

    tcti: str
    certificate: bytes
    intermediate: bytes

    def send(self, command: bytes) -> bytes:
        """The response to a raw command: swtpm's data socket speaks the TPM's own bytes."""
        return send(Path(self.tcti.removeprefix("swtpm:path=")), command)


@pytest.fixture(scope="session")
def software_tpm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftwareTpm]:
    with served(tmp_path_factory.mktemp("swtpm")) as tcti:
        certificate, intermediate = _certificates()
        provision(tcti, certificate, intermediate)
        yield SoftwareTpm(tcti=tcti, certificate=certificate, intermediate=intermediate)


def _certificates() -> tuple[bytes, bytes]:
    """Any two certificates: the guest hands them on and reads nothing in them."""
    return make_certificate("attestation key"), make_certificate("intermediate")


def make_certificate(name: str) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )


def provision(tcti: str, certificate: bytes, intermediate: bytes) -> None:
    """Gives a new TPM an attestation key, its certificate with zeros behind it, and an issuer."""
    from tpm2_pytss import (  # noqa: PLC0415 - only where there is a TPM library
        ESAPI,
        ESYS_TR,
        TPM2B_PUBLIC,
        TPM2B_SENSITIVE_CREATE,
    )

    from os_image.guest import tpm  # noqa: PLC0415 - likewise

    attributes = "restricted|sign|fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda"
    template = TPM2B_PUBLIC.parse("rsa2048:rsassa-sha256:null", objectAttributes=attributes)
    with ESAPI(tcti) as context:
        key, *_ = context.create_primary(TPM2B_SENSITIVE_CREATE(), template, ESYS_TR.ENDORSEMENT)
        context.evict_control(ESYS_TR.OWNER, key, tpm.AK_HANDLE)
        context.flush_context(key)
        _write_index(context, tpm.AK_CERTIFICATE_INDEX, certificate.ljust(INDEX_SIZE, b"\0"))
        _write_index(context, tpm.INTERMEDIATES_INDEX, intermediate)


def replace_certificate(tcti: str, data: bytes) -> None:
    """Renews the key's certificate as Azure does: another index of another size in its place."""
    from tpm2_pytss import ESAPI, ESYS_TR  # noqa: PLC0415 - only where there is a TPM library

    from os_image.guest.tpm import AK_CERTIFICATE_INDEX  # noqa: PLC0415 - likewise

    with ESAPI(tcti) as context:
        handle = context.tr_from_tpmpublic(AK_CERTIFICATE_INDEX)
        context.nv_undefine_space(handle, ESYS_TR.OWNER)
        _write_index(context, AK_CERTIFICATE_INDEX, data)


def _write_index(context: object, index: int, data: bytes) -> None:
    from tpm2_pytss import (  # noqa: PLC0415 - only where there is a TPM library
        ESAPI,
        ESYS_TR,
        TPM2_ALG,
        TPM2B_NV_PUBLIC,
        TPMA_NV,
        TPMS_NV_PUBLIC,
    )

    assert isinstance(context, ESAPI)
    public = TPMS_NV_PUBLIC(
        nvIndex=index,
        nameAlg=TPM2_ALG.SHA256,
        attributes=TPMA_NV.OWNERWRITE | TPMA_NV.OWNERREAD | TPMA_NV.AUTHREAD,
        dataSize=len(data),
    )
    handle = context.nv_define_space(b"", TPM2B_NV_PUBLIC(nvPublic=public))
    for at in range(0, len(data), 512):
        context.nv_write(handle, data[at : at + 512], at, ESYS_TR.OWNER)
