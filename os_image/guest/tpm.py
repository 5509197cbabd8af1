"""The TPM, as the attestation service sees it: one quote at a time, with all that explains it.

The attestation key and its certificate are where Azure's virtual TPM has them.

Source: TCG TPM 2.0 Library, Part 3, TPM2_Quote, TPM2_PCR_Read, TPM2_NV_Read; OpenVMM,
vm/devices/tpm (handles and indices).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tpm2_pytss import (
    ESAPI,
    ESYS_TR,
    TPM2_ALG,
    TPM2_CAP,
    TPM2B_DATA,
    TPMA_NV,
    TPML_PCR_SELECTION,
    TPMS_ATTEST,
    TPMT_SIG_SCHEME,
    TSS2_Exception,
)

from os_image.guest.certificate import cut_certificate, split_certificates
from os_image.guest.errors import TpmError
from os_image.guest.issuers import ISSUERS, issuers_of, read_issuers

AK_HANDLE = 0x81000003
AK_CERTIFICATE_INDEX = 0x01C101D0
INTERMEDIATES_INDEX = 0x01C101D1
"""Ours: the issuers of the key's certificate, concatenated DER, the root last. Azure has none there,
and the image's own take their place."""

PCR_COUNT = 16
"""The quote covers PCR 0 to 15; the others are resettable or not ours."""

_SELECTION = "sha256:" + ",".join(str(index) for index in range(PCR_COUNT))
_READ_AT_ONCE = 8
"""Digests that one TPM2_PCR_Read returns at most."""
_NV_CHUNK = 512
_NV_LIMIT = 16 * 1024
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What the TPM signed, the values that it signed the digest of, and the key's papers."""

    attest: bytes
    """TPMS_ATTEST, the exact bytes that were signed."""
    signature: bytes
    """TPMT_SIGNATURE."""
    pcrs: tuple[bytes, ...]
    """Sixteen digests of 32 bytes, PCR 0 first; their hash is the digest inside `attest`."""
    certificate: bytes
    """DER certificate of the attestation key."""
    intermediates: tuple[bytes, ...]
    """DER certificates of its issuers, as far as the TPM stores or the image knows them."""
    reset_count: int
    restart_count: int


class Tpm:
    """A TPM behind `tcti`, for example `device:/dev/tpmrm0`; to be used by one thread only."""

    def __init__(self, tcti: str, *, issuers: Path = ISSUERS) -> None:
        self._issuers = issuers
        try:
            self._context = ESAPI(tcti)
            self._key = self._context.tr_from_tpmpublic(AK_HANDLE)
        except TSS2_Exception as error:
            raise TpmError(f"TPM at {tcti}: {error}") from error

    def close(self) -> None:
        """Lets go of the TPM."""
        self._context.close()

    def quote(self, qualifying_data: bytes) -> Quote:
        """A fresh quote over PCR 0 to 15, with `qualifying_data` (32 bytes) inside.

        The certificate is read anew each time, because Azure renews it.

        Raises:
            TpmError: The TPM refused, or PCRs changed faster than they could be read.
            CertificateError: The certificate's index does not hold one.
        """
        try:
            return self._quote(qualifying_data)
        except TSS2_Exception as error:
            raise TpmError(f"quote: {error}") from error

    def _quote(self, qualifying_data: bytes) -> Quote:
        certificate = cut_certificate(self._read_index(AK_CERTIFICATE_INDEX))
        intermediates = self._intermediates(certificate)
        for _ in range(_ATTEMPTS):
            attest, signature = self._context.quote(
                self._key,
                TPML_PCR_SELECTION.parse(_SELECTION),
                TPM2B_DATA(qualifying_data),
                TPMT_SIG_SCHEME(scheme=TPM2_ALG.NULL),
            )
            signed = bytes(attest)
            claimed, _ = TPMS_ATTEST.unmarshal(signed)
            pcrs = self._read_pcrs()
            # An extend between the two commands gives values that the quote does not speak of.
            if hashlib.sha256(b"".join(pcrs)).digest() == bytes(claimed.attested.quote.pcrDigest):
                return Quote(
                    attest=signed,
                    signature=signature.marshal(),
                    pcrs=pcrs,
                    certificate=certificate,
                    intermediates=intermediates,
                    reset_count=int(claimed.clockInfo.resetCount),
                    restart_count=int(claimed.clockInfo.restartCount),
                )
        raise TpmError(f"quote: the PCRs changed during each of {_ATTEMPTS} attempts")

    def _read_pcrs(self) -> tuple[bytes, ...]:
        values: list[bytes] = []
        for first in range(0, PCR_COUNT, _READ_AT_ONCE):
            indices = range(first, first + _READ_AT_ONCE)
            values.extend(self._read_some_pcrs(indices))
        return tuple(values)

    def _read_some_pcrs(self, indices: Sequence[int]) -> list[bytes]:
        selection = "sha256:" + ",".join(str(index) for index in indices)
        _, _, digests = self._context.pcr_read(TPML_PCR_SELECTION.parse(selection))
        values = [bytes(digest) for digest in digests]
        if len(values) != len(indices):
            raise TpmError(f"PCR read: expected {len(indices)} digests, got {len(values)}")
        return values

    def _intermediates(self, certificate: bytes) -> tuple[bytes, ...]:
        if not self._has_index(INTERMEDIATES_INDEX):
            return issuers_of(certificate, read_issuers(self._issuers))
        return split_certificates(self._read_index(INTERMEDIATES_INDEX))

    def _has_index(self, index: int) -> bool:
        _, capability = self._context.get_capability(TPM2_CAP.HANDLES, index, 1)
        return index in [int(handle) for handle in capability.data.handles]

    def _read_index(self, index: int) -> bytes:
        handle = self._context.tr_from_tpmpublic(index)
        try:
            public, _ = self._context.nv_read_public(handle)
            size = int(public.nvPublic.dataSize)
            if size > _NV_LIMIT:
                raise TpmError(f"NV index {index:#x}: expected at most 16 KiB, got {size} bytes")
            # The index's own (empty) authorisation where it has one, else its owner's.
            own = bool(int(public.nvPublic.attributes) & int(TPMA_NV.AUTHREAD))
            authority = handle if own else ESYS_TR.OWNER
            chunks = [
                bytes(self._context.nv_read(handle, min(_NV_CHUNK, size - at), at, authority))
                for at in range(0, size, _NV_CHUNK)
            ]
        finally:
            self._context.tr_close(handle)
        return b"".join(chunks)
