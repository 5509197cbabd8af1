"""Secure Boot keys of one's own, as a version of a gallery image carries them to Azure's firmware.

A disk that is uploaded has no place for them. What they change is register 7, and that firmware
starts nothing which they have not signed; which system was started, registers 4, 9 and 11 say
with them and without.

Source: azure-mgmt-compute 39, `GalleryImageVersionUefiSettings`; UEFI 2.10, section 32.3.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from deploy.azure.errors import AzureError, Reason
from deploy.azure.upload import Image
from supply_chain.digest import sha256_file

if TYPE_CHECKING:
    from pathlib import Path

    from deploy.azure.config import SecureBootChoice


@dataclass(frozen=True, slots=True, kw_only=True)
class SecureBoot:
    """What the machines start, and the certificates for their firmware, DER."""

    system: Image
    """The signed disk, which takes the place of the release's."""

    platform_key: bytes
    key_exchange_keys: tuple[bytes, ...]
    signature_database: tuple[bytes, ...]

    def settings(self) -> dict[str, Any]:
        """The `uefiSettings` of an image version."""
        return {
            # With Microsoft's keys beside them, whatever Microsoft has signed would boot.
            "signatureTemplateNames": ["NoSignatureTemplate"],
            "additionalSignatures": {
                "pk": _key(self.platform_key),
                "kek": [_key(one) for one in self.key_exchange_keys],
                "db": [_key(one) for one in self.signature_database],
            },
        }


def read_secure_boot(choice: SecureBootChoice, folder: Path) -> SecureBoot:
    """The keys that a configuration names, and the disk that they have signed.

    Args:
        choice: What `deploy.toml` says.
        folder: The folder that its paths are relative to.

    Raises:
        AzureError: A file is missing, or not a certificate.
    """
    signed = folder / choice.image
    if not signed.is_file():
        raise AzureError(
            Reason.CONFIG,
            f"secure_boot: {signed}: expected the signed disk of the operating system, got none",
        )
    return SecureBoot(
        system=Image(path=signed, sha256=sha256_file(signed)),
        platform_key=_certificate(folder / choice.platform_key),
        key_exchange_keys=tuple(_certificate(folder / one) for one in choice.key_exchange_keys),
        signature_database=tuple(_certificate(folder / one) for one in choice.signature_database),
    )


def _certificate(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        pem = data.lstrip().startswith(b"-----")
        load = x509.load_pem_x509_certificate if pem else x509.load_der_x509_certificate
        return load(data).public_bytes(Encoding.DER)
    except (OSError, ValueError) as exc:
        raise AzureError(
            Reason.CONFIG,
            f"secure_boot: {path}: expected one certificate in PEM or DER: {exc}",
        ) from exc


def _key(certificate: bytes) -> dict[str, Any]:
    return {"type": "x509", "value": [base64.b64encode(certificate).decode("ascii")]}
