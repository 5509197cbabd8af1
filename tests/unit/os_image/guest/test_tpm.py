"""A TPM as Azure's is: a certificate that ends in zeros, and none of its issuers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from deploy.qemu.vtpm import served
from tests.simulators.ak_authority import new_root

from .conftest import provision

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.swtpm


def test_issuers_come_from_the_image_where_the_tpm_has_none(tmp_path: Path) -> None:
    from tpm2_pytss import ESAPI, ESYS_TR  # noqa: PLC0415 - only where there is a TPM library

    from os_image.guest.tpm import INTERMEDIATES_INDEX, Tpm  # noqa: PLC0415 - likewise

    root = new_root()
    middle = root.issue()
    leaf = middle.certify(ec.generate_private_key(ec.SECP256R1()).public_key())
    folder, state = tmp_path / "issuers", tmp_path / "swtpm"
    folder.mkdir()
    state.mkdir()
    for name, issuer in (("a", root), ("b", middle), ("c", new_root())):
        path = folder / f"{name}.pem"
        path.write_bytes(issuer.certificate.public_bytes(Encoding.PEM))
    with served(state) as tcti:
        provision(tcti, leaf, b"\x30\x00")
        tpm = Tpm(tcti, issuers=folder)
        try:
            assert tpm.quote(bytes(32)).intermediates == (b"\x30\x00",)
        finally:
            tpm.close()
        with ESAPI(tcti) as context:
            handle = context.tr_from_tpmpublic(INTERMEDIATES_INDEX)
            context.nv_undefine_space(handle, ESYS_TR.OWNER)
        tpm = Tpm(tcti, issuers=folder)
        try:
            quote = tpm.quote(bytes(32))
        finally:
            tpm.close()
    assert quote.certificate == leaf
    assert quote.intermediates == (middle.der, root.der)
