"""A signature behind a UKI: the same kernel, initrd and command line, and whose they are.

Source: Microsoft, Windows Authenticode Portable Executable Signature Format; sbsign(1).
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from supply_chain.inputs.tree import Bind
from supply_chain.private_key import key_pem

if TYPE_CHECKING:
    from os_image.secure_boot.keys import SigningKey
    from supply_chain.inputs.tree import Tree

_WORK = "/mnt/work"


def sbsign_argv() -> list[str]:
    """The command that signs the file of the working directory."""
    return [
        "sbsign",
        f"--key={_WORK}/key.pem",
        f"--cert={_WORK}/certificate.pem",
        f"--output={_WORK}/signed.efi",
        f"{_WORK}/uki.efi",
    ]


def sign_uki(uki: bytes, key: SigningKey, *, signing: Tree) -> bytes:
    """The UKI with a signature behind it; what was there is unchanged, except the PE checksum.

    Two signatures of the same UKI differ, since each says when it was made.

    Args:
        uki: The whole PE file.
        key: Who signs.
        signing: The set `signing` of the lock.

    Raises:
        CommandError: sbsign refused.
    """
    certificate = x509.load_der_x509_certificate(key.certificate)
    with tempfile.TemporaryDirectory(prefix="signing-") as name:
        work = Path(name)  # nobody else may enter it
        private = os.open(work / "key.pem", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(private, "wb") as stream:
            stream.write(key_pem(key.key, None))
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        (work / "certificate.pem").write_bytes(pem)
        (work / "uki.efi").write_bytes(uki)
        signing.run(sbsign_argv(), binds=[Bind(host=work, inside=_WORK, read_only=False)])
        return (work / "signed.efi").read_bytes()
