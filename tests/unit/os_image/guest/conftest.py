"""A software TPM that looks like a guest's, and the service in front of it."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import subprocess
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from os_image.guest.attest import Settings

INDEX_SIZE = 2000
"""Bytes of the certificate's index: more than the certificate, so that it ends in zeros."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftwareTpm:
    """A running swtpm with an attestation key and its certificate where Azure puts them."""

    port: int
    certificate: bytes
    intermediate: bytes

    @property
    def tcti(self) -> str:
        return f"swtpm:host=127.0.0.1,port={self.port}"

    def send(self, command: bytes) -> bytes:
        """The response to a raw command: swtpm's data port speaks the TPM's own bytes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(command)
            return connection.recv(4096)


@pytest.fixture(scope="session")
def software_tpm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftwareTpm]:
    state = tmp_path_factory.mktemp("swtpm")
    with running_swtpm(state) as port:
        certificate, intermediate = _certificates()
        provision(port, certificate, intermediate)
        yield SoftwareTpm(port=port, certificate=certificate, intermediate=intermediate)


@contextmanager
def running_swtpm(state: Path) -> Iterator[int]:
    port = _free_pair_of_ports()
    argv = [
        "swtpm",
        "socket",
        "--tpm2",
        "--tpmstate",
        f"dir={state}",
        "--server",
        f"type=tcp,port={port}",
        "--ctrl",
        f"type=tcp,port={port + 1}",
        "--flags",
        "not-need-init,startup-clear",
    ]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_until_listening(port + 1)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=10)


def _free_pair_of_ports() -> int:
    for _ in range(100):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port
    pytest.fail("no two free ports")


def _wait_until_listening(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _certificates() -> tuple[bytes, bytes]:
    """Any two certificates: the guest hands them on and reads nothing in them."""
    return tuple(_certificate(name) for name in ("attestation key", "intermediate"))  # type: ignore[return-value]


def _certificate(name: str) -> bytes:
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


def provision(port: int, certificate: bytes, intermediate: bytes) -> None:
    from tpm2_pytss import (  # noqa: PLC0415 - only where there is a TPM library
        ESAPI,
        ESYS_TR,
        TPM2B_PUBLIC,
        TPM2B_SENSITIVE_CREATE,
    )

    from os_image.guest import tpm  # noqa: PLC0415 - likewise

    attributes = "restricted|sign|fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda"
    template = TPM2B_PUBLIC.parse("rsa2048:rsassa-sha256:null", objectAttributes=attributes)
    with ESAPI(f"swtpm:host=127.0.0.1,port={port}") as context:
        key, *_ = context.create_primary(TPM2B_SENSITIVE_CREATE(), template, ESYS_TR.ENDORSEMENT)
        context.evict_control(ESYS_TR.OWNER, key, tpm.AK_HANDLE)
        context.flush_context(key)
        _write_index(context, tpm.AK_CERTIFICATE_INDEX, certificate.ljust(INDEX_SIZE, b"\0"))
        _write_index(context, tpm.INTERMEDIATES_INDEX, intermediate)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP response, taken apart."""

    status: int
    headers: dict[str, str]
    body: bytes


async def ask(path: Path, request: bytes) -> Answer:
    """What the service on the UNIX socket `path` answers to these bytes."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(request)
    await writer.drain()
    writer.write_eof()
    response = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    await writer.wait_closed()
    head, _, body = response.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return Answer(status=int(first.split(" ")[1]), headers=headers, body=body)


def post(body: bytes) -> bytes:
    """A request for attestation with this body."""
    head = f"POST /attestation HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[None]:
    """The attestation service with these settings, until the block ends."""
    from os_image.guest.attest import serve  # noqa: PLC0415 - only where there is a TPM library

    task = asyncio.create_task(serve(settings))
    while not settings.socket.exists() and not task.done():  # noqa: ASYNC110 - all that it shows
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
