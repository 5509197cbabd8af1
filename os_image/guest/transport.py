"""Ways to a TPM: a command's bytes in, its response's bytes out.

In the guest it is the kernel's device; outside, for tests and benchmarks, a software TPM. The names
are those of the TSS, since everybody writes them so: `device:/dev/tpmrm0`,
`swtpm:host=127.0.0.1,port=2321`, `swtpm:path=/run/tpm`.

Source: Linux, drivers/char/tpm/tpmrm-dev.c; swtpm(8), --server; tpm2-tss, man/tss2-tcti-swtpm.7.
"""

import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from os_image.guest.errors import TpmError

Transport = Callable[[bytes], bytes]
"""Sends one command to a TPM and returns its response; raises OSError when the TPM is not there."""

HEADER = struct.Struct(">HII")
"""Of a response: tag, size of all of it, response code."""
_RESPONSE_LIMIT = 4096
"""TPMs' buffers have this size; TPM_PT_MAX_RESPONSE_SIZE is never above it on these platforms."""
_PATIENCE_S = 60.0


def named_transport(name: str) -> Transport:
    """The transport that a TCTI configuration of the TSS names.

    Raises:
        TpmError: It is of another form.
    """
    kind, _, rest = name.partition(":")
    if kind == "device" and rest:
        return device_transport(Path(rest))
    settings = dict(part.partition("=")[::2] for part in rest.split(","))
    if kind == "swtpm" and settings.keys() == {"path"}:
        return _socket_transport(socket.AF_UNIX, settings["path"])
    if kind == "swtpm" and settings.keys() == {"host", "port"} and settings["port"].isdecimal():
        return _socket_transport(socket.AF_INET, (settings["host"], int(settings["port"])))
    raise TpmError(f"TPM: expected device:PATH or swtpm:host=HOST,port=PORT, got {name!r}")


def device_transport(device: Path) -> Transport:
    """A transport to the kernel's TPM device: one write, one read."""

    def send(command: bytes) -> bytes:
        handle = os.open(device, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.write(handle, command)
            return os.read(handle, _RESPONSE_LIMIT)
        finally:
            os.close(handle)

    return send


def _socket_transport(family: int, address: str | tuple[str, int]) -> Transport:
    def send(command: bytes) -> bytes:
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(_PATIENCE_S)
            connection.connect(address)
            connection.sendall(command)
            header = _receive(connection, HEADER.size)
            _, size, _ = HEADER.unpack(header)
            if not HEADER.size <= size <= _RESPONSE_LIMIT:
                raise TpmError(f"TPM: expected a response of at most 4096 bytes, got {size}")
            return header + _receive(connection, size - HEADER.size)

    return send


def _receive(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        piece = connection.recv(size - len(found))
        if not piece:
            raise ConnectionResetError("the TPM closed the connection")
        found += piece
    return found
