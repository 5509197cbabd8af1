"""A software TPM with the identity that Azure's has: a certified attestation key in fixed places.

The certificate authority is made on this machine and says so in its name: it proves nothing about
who runs the TPM. What a client checks is otherwise the same as on Azure.

Places: storage key 0x81000001, attestation key 0x81000003, its certificate in NV 0x01C101D0 as on
Azure. The issuers' certificates are in NV 0x01C101D1, an index of ours: where Azure's clients
follow an address in the certificate, a guest without network reads this one.

Source: OpenVMM, vm/devices/tpm (keys, attributes and indices of Azure's vTPM); TCG TPM 2.0
Library 1.59, Part 2, TPMA_OBJECT and TPMA_NV; TCG EK Credential Profile 2.5, tcg-kp-AIKCertificate.
"""

from __future__ import annotations

import contextlib
import shutil
import struct
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from deploy.qemu.authority import Authority
from deploy.qemu.machine import require_host_tools
from supply_chain.errors import BootError
from supply_chain.process import run, spawn
from supply_chain.workspace import fresh_dir, held, replace_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

SRK_HANDLE = 0x81000001
AK_HANDLE = 0x81000003
AK_CERTIFICATE_INDEX = 0x01C101D0
ISSUERS_INDEX = 0x01C101D1

AK_ATTRIBUTES = 0x50472
"""fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, restricted, sign."""
_AK_ATTRIBUTE_WORDS = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|sign"
_NV_ATTRIBUTES = "ownerwrite|ownerread|authread|no_da"
_PUBLIC_ATTRIBUTES = struct.Struct(">6xI")
"""Where a TPM2B_PUBLIC has its objectAttributes: after size, type and name algorithm."""

_STATE = "tpm"
_CERTIFICATE = "ak.der"
_START_S = 10.0
_UNIX_SOCKETS = Path("/proc/net/unix")
_ACCEPTS = 0x10000


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionedTpm:
    """A software TPM at rest, and the certificates of its attestation key."""

    state: Path
    """Its state directory; copied for each boot, so that boots do not wear it."""
    ak_certificate: bytes
    """The attestation key's certificate, DER."""
    intermediate: bytes
    """Its issuer's certificate, DER."""
    root: bytes
    """The simulation root's certificate, DER: what a policy for this machine pins."""


def provision(state: Path, *, now: datetime) -> ProvisionedTpm:
    """The software TPM of this machine: the one that was made before, or a new one.

    Args:
        state: Where identities are kept, `Workspace.state`.
        now: The time from which new certificates are valid.

    Raises:
        BootError: The software TPM does not start or makes a key of another form.
        CommandError: A TPM command failed.
        MissingToolError: A program of the host is not installed.
    """
    require_host_tools()
    with held(state / "vtpm.lock"):
        return _provisioned(state / "vtpm", now)


def _provisioned(home: Path, now: datetime) -> ProvisionedTpm:
    authority = Authority.load_or_create(home / "authority", now=now)
    identity = home / "identity"
    if not _is_current(identity / _CERTIFICATE, authority, now):
        with fresh_dir(identity) as fresh:
            _manufacture(fresh, authority, now)
    return ProvisionedTpm(
        state=identity / _STATE,
        ak_certificate=(identity / _CERTIFICATE).read_bytes(),
        intermediate=authority.intermediate_der,
        root=authority.root_der,
    )


def copy_state(tpm: ProvisionedTpm, to: Path) -> Path:
    """A copy of the TPM's state for one boot, as if the machine had been off before."""
    shutil.copytree(tpm.state, to, ignore=shutil.ignore_patterns(".lock"))
    to.chmod(0o700)
    return to


def swtpm_argv(state: Path, control: Path, log: Path) -> list[str]:
    """The command of a software TPM for QEMU, which ends when QEMU does."""
    return [
        "swtpm",
        "socket",
        "--tpm2",
        "--tpmstate",
        f"dir={state}",
        # A socket in the file system, not a port: nobody else on this machine may extend a PCR.
        "--ctrl",
        f"type=unixio,path={control},mode=0600",
        "--log",
        f"file={log},level=1",
        "--terminate",
    ]


def wait_for_socket(path: Path, timeout_s: float = _START_S) -> None:
    """Return as soon as somebody listens on the socket; one that is only bound refuses callers.

    Asked of the kernel, since a connection made to find out could be taken for the one that counts.

    Raises:
        BootError: Nobody listens in time.

    Source: proc(5), /proc/net/unix; its flags have __SO_ACCEPTCON of linux/net.h.
    """
    deadline = time.monotonic() + timeout_s
    while not _is_listening(path):
        if time.monotonic() >= deadline:
            raise BootError(f"software TPM: expected its socket {path} within {timeout_s:.0f} s")
        time.sleep(0.02)


def _is_listening(path: Path) -> bool:
    for line in _UNIX_SOCKETS.read_text(errors="replace").splitlines()[1:]:
        # Num RefCount Protocol Flags Type St Inode Path
        columns = line.split(maxsplit=7)
        if columns[7:] == [str(path)] and int(columns[3], 16) & _ACCEPTS:
            return True
    return False


@contextlib.contextmanager
def served(state: Path) -> Iterator[str]:
    """A started software TPM, for tools: its TCTI configuration while the block runs.

    Raises:
        BootError: It does not start.
    """
    # Short on purpose: a socket's path has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="bl-vtpm-") as name:
        server = Path(name) / "s"
        # The tools expect the control channel beside the commands' socket, under this name.
        control = Path(name) / "s.ctrl"
        process = spawn(
            [
                *("swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}"),
                *("--server", f"type=unixio,path={server},mode=0600"),
                *("--ctrl", f"type=unixio,path={control},mode=0600"),
                *("--flags", "not-need-init,startup-clear"),
            ],
            stdout=Path(name) / "output",
        )
        try:
            wait_for_socket(server)
            wait_for_socket(control)
            yield f"swtpm:path={server}"
        finally:
            process.terminate()
            process.wait(_START_S)


def _is_current(certificate: Path, authority: Authority, now: datetime) -> bool:
    """Whether there is an identity, of this authority, and still valid."""
    try:
        leaf = x509.load_der_x509_certificate(certificate.read_bytes())
        leaf.verify_directly_issued_by(x509.load_der_x509_certificate(authority.intermediate_der))
    except (FileNotFoundError, ValueError, InvalidSignature):
        return False
    return leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc


def _manufacture(into: Path, authority: Authority, now: datetime) -> None:
    state = into / _STATE
    state.mkdir(mode=0o700)
    # The sha256 bank alone: a SHA-1 bank would let events be forged, and every bank costs time.
    run(
        [
            *("swtpm_setup", "--tpm2", "--tpmstate", str(state)),
            *("--createek", "--pcr-banks", "sha256"),
            *("--logfile", str(into / "setup.log")),
        ]
    )
    with served(state) as tcti:
        key = _create_keys(into, tcti)
        certificate = authority.issue_ak_certificate(key, now=now)
        _store(into, tcti, AK_CERTIFICATE_INDEX, certificate)
        # The root too: a verifier knows it by its fingerprint and does not have its bytes.
        _store(into, tcti, ISSUERS_INDEX, authority.intermediate_der + authority.root_der)
        # An orderly end; without it the next start counts as a power failure.
        _tpm(tcti, "tpm2_shutdown", "--clear")
    replace_file(into / _CERTIFICATE, certificate)


def _create_keys(into: Path, tcti: str) -> rsa.RSAPublicKey:
    """Make and persist the storage and the attestation key; the latter's public part."""
    context, pem, public = into / "key.ctx", into / "ak.pem", into / "ak.pub"
    # Default template of the TCG for a storage root key.
    _tpm(tcti, "tpm2_createprimary", "-Q", "-C", "o", "-G", "rsa2048:aes128cfb", "-c", str(context))
    _persist(tcti, context, SRK_HANDLE)
    _tpm(
        tcti,
        *("tpm2_createprimary", "-Q", "-C", "e", "-G", "rsa2048:rsassa-sha256:null"),
        *("-a", _AK_ATTRIBUTE_WORDS, "-c", str(context)),
    )
    _persist(tcti, context, AK_HANDLE)
    context.unlink()
    for form, path in (("pem", pem), ("tss", public)):
        _tpm(tcti, "tpm2_readpublic", "-Q", "-c", hex(AK_HANDLE), "-f", form, "-o", str(path))
    (attributes,) = _PUBLIC_ATTRIBUTES.unpack_from(public.read_bytes())
    key = serialization.load_pem_public_key(pem.read_bytes())
    if attributes != AK_ATTRIBUTES or not isinstance(key, rsa.RSAPublicKey):
        raise BootError(
            f"attestation key: expected RSA with attributes {AK_ATTRIBUTES:#x}, "
            f"got {type(key).__name__} with {attributes:#x}"
        )
    return key


def _persist(tcti: str, context: Path, handle: int) -> None:
    _tpm(tcti, "tpm2_evictcontrol", "-Q", "-C", "o", "-c", str(context), hex(handle))
    _tpm(tcti, "tpm2_flushcontext", "-t")


def _store(into: Path, tcti: str, index: int, content: bytes) -> None:
    """Define an NV index that the owner may read, exactly as long as its content."""
    source = into / f"nv-{index:08x}"
    source.write_bytes(content)
    _tpm(
        tcti,
        *("tpm2_nvdefine", "-Q", hex(index), "-C", "o"),
        *("-s", str(len(content)), "-a", _NV_ATTRIBUTES),
    )
    _tpm(tcti, "tpm2_nvwrite", "-Q", hex(index), "-C", "o", "-i", str(source))


def _tpm(tcti: str, *argv: str) -> None:
    run(argv, env={"TPM2TOOLS_TCTI": tcti}, timeout_s=60)
