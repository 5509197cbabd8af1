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

if TYPE_CHECKING:
    from pathlib import Path

    from deploy.azure.config import SecureBootChoice


@dataclass(frozen=True, slots=True, kw_only=True)
class SecureBoot:
    """Certificates for the firmware, DER."""

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
    """The keys that a configuration names.

    Args:
        choice: What `deploy.toml` says.
        folder: The folder that its paths are relative to.

    Raises:
        AzureError: A file is not a certificate.
    """
    return SecureBoot(
        platform_key=_certificate(folder / choice.platform_key),
        key_exchange_keys=tuple(_certificate(folder / one) for one in choice.key_exchange_keys),
        signature_database=tuple(_certificate(folder / one) for one in choice.signature_database),
    )


def _certificate(path: Path) -> bytes:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)
    except (OSError, ValueError) as exc:
        raise AzureError(
            Reason.CONFIG, f"fleet.secure_boot: {path}: expected one PEM certificate: {exc}"
        ) from exc


def _key(certificate: bytes) -> dict[str, Any]:
    return {"type": "x509", "value": [base64.b64encode(certificate).decode("ascii")]}
