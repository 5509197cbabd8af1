"""A real software TPM: swtpm in a process of its own, an attestation key, and what it can sign.

It is provisioned as Azure's is: the key is restricted and signs RSASSA with SHA-256. The methods
named `forge_…` make what an attacker with full use of the TPM can make.
"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key
from tpm2_pytss import (
    ESAPI,
    ESYS_TR,
    TPM2_ALG,
    TPM2B_DATA,
    TPM2B_MAX_BUFFER,
    TPM2B_PUBLIC,
    TPML_DIGEST_VALUES,
    TPML_PCR_SELECTION,
    TPMT_HA,
    TPMT_SIG_SCHEME,
    TPMU_HA,
    TSS2_Exception,
)

AK_ATTRIBUTES = 0x50472
"""fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, restricted, sign."""

_START_S = 10.0
_READ_AT_ONCE = 8


class SoftwareTpm:
    """A started TPM with an attestation key; its registers are zero until a test extends them."""

    def __init__(
        self, context: ESAPI, *, scheme: str, key: str, policy: bytes, owner: bool
    ) -> None:
        self._context = context
        template = TPM2B_PUBLIC.parse(
            f"{key}:{scheme}:null", objectAttributes=AK_ATTRIBUTES, authPolicy=policy
        )
        hierarchy = ESYS_TR.OWNER if owner else ESYS_TR.ENDORSEMENT
        self._key, public, *_ = context.create_primary(None, template, hierarchy)
        self._public_der: bytes = public.to_der()

    @property
    def public_key(self) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey:
        key = load_der_public_key(self._public_der)
        assert isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)
        return key

    def extend(self, pcr: int, digest: bytes) -> None:
        """TPM2_PCR_Extend of the SHA-256 bank."""
        _extend(self._context, pcr, digest)

    def pcrs(self, indices: Sequence[int] = range(16)) -> Mapping[int, bytes]:
        """Values of the SHA-256 bank."""
        values: dict[int, bytes] = {}
        for first in range(0, len(indices), _READ_AT_ONCE):
            some = indices[first : first + _READ_AT_ONCE]
            selection = TPML_PCR_SELECTION.parse("sha256:" + ",".join(map(str, some)))
            _, _, digests = self._context.pcr_read(selection)
            values.update(zip(some, (bytes(digest) for digest in digests), strict=True))
        return MappingProxyType(values)

    def quote(
        self,
        qualifying_data: bytes,
        selection: str = "sha256:0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
    ) -> tuple[bytes, bytes]:
        """TPM2_Quote: TPMS_ATTEST and TPMT_SIGNATURE."""
        attest, signature = self._context.quote(
            self._key,
            TPML_PCR_SELECTION.parse(selection),
            TPM2B_DATA(qualifying_data),
            TPMT_SIG_SCHEME(scheme=TPM2_ALG.NULL),
        )
        return bytes(attest), signature.marshal()

    def forge_by_signing(self, attest: bytes) -> tuple[bytes, bytes]:
        """TPM2_Hash and TPM2_Sign of a blob: a restricted key does it unless it says TCG first."""
        digest, ticket = self._context.hash(
            TPM2B_MAX_BUFFER(attest), TPM2_ALG.SHA256, ESYS_TR.OWNER
        )
        signature = self._context.sign(
            self._key, digest, TPMT_SIG_SCHEME(scheme=TPM2_ALG.NULL), ticket
        )
        return attest, signature.marshal()

    def certify(self, qualifying_data: bytes) -> tuple[bytes, bytes]:
        """TPM2_Certify: a genuine statement about a key, which is no quote."""
        attest, signature = self._context.certify(
            self._key,
            self._key,
            TPM2B_DATA(qualifying_data),
            TPMT_SIG_SCHEME(scheme=TPM2_ALG.NULL),
        )
        return bytes(attest), signature.marshal()

    def get_time(self, qualifying_data: bytes) -> tuple[bytes, bytes]:
        """TPM2_GetTime: a genuine statement about the clock, which is no quote."""
        attest, signature = self._context.get_time(
            self._key, TPM2B_DATA(qualifying_data), TPMT_SIG_SCHEME(scheme=TPM2_ALG.NULL)
        )
        return bytes(attest), signature.marshal()


@contextlib.contextmanager
def software_tpm(
    scheme: str = "rsassa-sha256",
    key: str = "rsa2048",
    *,
    policy: bytes = b"",
    owner: bool = False,
) -> Iterator[SoftwareTpm]:
    """Run a manufactured TPM of its own until the block ends.

    Args:
        scheme: How its attestation key signs, as tpm2-tools write it.
        key: The kind of key: `rsa2048`, `rsa3072`, `ecc256`, `ecc384`.
        policy: The policy of the attestation key.
        owner: Make it in the owner's hierarchy, as whoever owns a machine can.
    """
    # Short on purpose: the path of a socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="bl-tpm-") as name:
        home = Path(name)
        with _served(home) as tcti, _connected(tcti) as context:
            yield SoftwareTpm(context, scheme=scheme, key=key, policy=policy, owner=owner)


def _connected(tcti: str) -> ESAPI:
    """A connection; a socket that is there may not listen yet."""
    deadline = time.monotonic() + _START_S
    while True:
        try:
            return ESAPI(tcti)
        except TSS2_Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


@contextlib.contextmanager
def _served(home: Path) -> Iterator[str]:
    server, control = home / "s", home / "s.ctrl"
    argv = [
        *("swtpm", "socket", "--tpm2", "--tpmstate", f"dir={home}"),
        *("--server", f"type=unixio,path={server},mode=0600"),
        *("--ctrl", f"type=unixio,path={control},mode=0600"),
        *("--flags", "not-need-init,startup-clear", "--log", f"file={home / 'log'}"),
    ]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + _START_S
            while not (server.is_socket() and control.is_socket()):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"swtpm did not start: {(home / 'log').read_text()}")
                time.sleep(0.01)
            yield f"swtpm:path={server}"
        finally:
            process.terminate()


def extend_all(tcti: str, digests: Iterable[tuple[int, bytes]]) -> None:
    """Extend registers of a TPM that somebody else started."""
    with _connected(tcti) as context:
        for pcr, digest in digests:
            _extend(context, pcr, digest)


def _extend(context: ESAPI, pcr: int, digest: bytes) -> None:
    value = TPMT_HA(hashAlg=TPM2_ALG.SHA256, digest=TPMU_HA(sha256=digest))
    context.pcr_extend(ESYS_TR(pcr), TPML_DIGEST_VALUES([value]))
