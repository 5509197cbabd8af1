"""The TPM, as the attestation service sees it: one quote at a time, with all that explains it.

The attestation key and its certificate are where Azure's virtual TPM has them.

Source: TCG TPM 2.0 Library, Part 3, TPM2_Quote, TPM2_PCR_Read, TPM2_NV_Read; OpenVMM,
vm/devices/tpm (handles and indices).
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from os_image.guest import tpm_command
from os_image.guest.certificate import cut_certificate, split_certificates
from os_image.guest.errors import TpmError
from os_image.guest.issuers import ISSUERS, issuers_of, read_issuers
from os_image.guest.transport import named_transport

AK_HANDLE = 0x81000003
AK_CERTIFICATE_INDEX = 0x01C101D0
INTERMEDIATES_INDEX = 0x01C101D1
"""Ours: the issuers of the key's certificate, concatenated DER, the root last. Azure has none there,
and the image's own take their place."""

PCR_COUNT = 16
"""The quote covers PCR 0 to 15; the others are resettable or not ours."""

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
        self._transport = named_transport(tcti)
        try:
            tpm_command.read_public(self._transport, AK_HANDLE)
        except (TpmError, OSError) as error:
            raise TpmError(f"TPM at {tcti}: {error}") from error

    def close(self) -> None:
        """Lets go of the TPM: nothing to do, since each command opens and closes it."""

    def quote(self, qualifying_data: bytes) -> Quote:
        """A fresh quote over PCR 0 to 15, with `qualifying_data` (32 bytes) inside.

        The certificate is read anew each time, because Azure renews it.

        Raises:
            TpmError: The TPM refused, or PCRs changed faster than they could be read.
            CertificateError: The certificate's index does not hold one.
        """
        try:
            return self._quote(qualifying_data)
        except OSError as error:
            raise TpmError(f"quote: {error}") from error

    def _quote(self, qualifying_data: bytes) -> Quote:
        certificate = cut_certificate(self._read_index(AK_CERTIFICATE_INDEX))
        intermediates = self._intermediates(certificate)
        for _ in range(_ATTEMPTS):
            attest, signature = tpm_command.quote(
                self._transport, AK_HANDLE, qualifying_data, range(PCR_COUNT)
            )
            claimed = tpm_command.parse_attest(attest)
            pcrs = self._read_pcrs()
            # An extend between the two commands gives values that the quote does not speak of.
            if hashlib.sha256(b"".join(pcrs)).digest() == claimed.pcr_digest:
                return Quote(
                    attest=attest,
                    signature=signature,
                    pcrs=pcrs,
                    certificate=certificate,
                    intermediates=intermediates,
                    reset_count=claimed.reset_count,
                    restart_count=claimed.restart_count,
                )
        raise TpmError(f"quote: the PCRs changed during each of {_ATTEMPTS} attempts")

    def _read_pcrs(self) -> tuple[bytes, ...]:
        values: list[bytes] = []
        for first in range(0, PCR_COUNT, _READ_AT_ONCE):
            indices = range(first, first + _READ_AT_ONCE)
            values.extend(tpm_command.read_pcrs(self._transport, indices))
        return tuple(values)

    def _intermediates(self, certificate: bytes) -> tuple[bytes, ...]:
        if not tpm_command.has_handle(self._transport, INTERMEDIATES_INDEX):
            return issuers_of(certificate, read_issuers(self._issuers))
        return split_certificates(self._read_index(INTERMEDIATES_INDEX))

    def _read_index(self, index: int) -> bytes:
        public = tpm_command.read_nv_public(self._transport, index)
        if public.size_bytes > _NV_LIMIT:
            raise TpmError(
                f"NV index {index:#x}: expected at most 16 KiB, got {public.size_bytes} bytes"
            )
        # The index's own (empty) authorisation where it has one, else its owner's.
        own = bool(public.attributes & tpm_command.NV_AUTHREAD)
        chunks = [
            tpm_command.read_nv(
                self._transport,
                index,
                authority=index if own else tpm_command.OWNER,
                offset=at,
                size=min(_NV_CHUNK, public.size_bytes - at),
            )
            for at in range(0, public.size_bytes, _NV_CHUNK)
        ]
        return b"".join(chunks)
