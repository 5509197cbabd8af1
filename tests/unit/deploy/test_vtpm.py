from __future__ import annotations

import socket
import stat
import struct
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.x509.oid import NameOID

from deploy.qemu import vtpm
from deploy.qemu.authority import AIK_USAGE, ORGANIZATION, Authority
from supply_chain.errors import BootError
from supply_chain.process import run
from tests.unit.deploy.conftest import NOW

if TYPE_CHECKING:
    from pathlib import Path

    from deploy.qemu.vtpm import ProvisionedTpm


def certificates(tpm: ProvisionedTpm) -> tuple[x509.Certificate, ...]:
    return tuple(
        x509.load_der_x509_certificate(der)
        for der in (tpm.ak_certificate, tpm.intermediate, tpm.root)
    )


def test_the_chain_ends_at_a_root_that_says_what_it_is(tpm: ProvisionedTpm) -> None:
    leaf, intermediate, root = certificates(tpm)
    leaf.verify_directly_issued_by(intermediate)
    intermediate.verify_directly_issued_by(root)
    root.verify_directly_issued_by(root)
    for certificate in (leaf, intermediate, root):
        (name,) = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        assert name.value == ORGANIZATION == "BlindLlama simulated vTPM (never a production root)"


def test_only_issuers_may_sign_certificates(tpm: ProvisionedTpm) -> None:
    limits = [
        (
            certificate.extensions.get_extension_for_class(x509.BasicConstraints).value,
            certificate.extensions.get_extension_for_class(x509.KeyUsage).value,
        )
        for certificate in certificates(tpm)
    ]
    assert [(basic.ca, basic.path_length) for basic, _ in limits] == [
        (False, None),
        (True, 0),
        (True, 1),
    ]
    assert [(usage.digital_signature, usage.key_cert_sign) for _, usage in limits] == [
        (True, False),
        (False, True),
        (False, True),
    ]


def test_the_leaf_is_for_an_attestation_key_and_nothing_else(tpm: ProvisionedTpm) -> None:
    leaf = certificates(tpm)[0]
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [AIK_USAGE]
    assert AIK_USAGE.dotted_string == "2.23.133.8.3"


def test_the_key_that_signs_is_private_and_the_roots_is_kept_nowhere(tpm_state: Path) -> None:
    keys = list((tpm_state / "vtpm").rglob("*.key"))
    assert [path.name for path in keys] == ["intermediate.key"]
    assert stat.S_IMODE(keys[0].stat().st_mode) == 0o600


def test_keys_and_certificates_are_where_azure_has_them(
    tpm: ProvisionedTpm, tmp_path: Path
) -> None:
    state = vtpm.copy_state(tpm, tmp_path / "tpm")
    with vtpm.served(state) as tcti:
        environment = {"TPM2TOOLS_TCTI": tcti}
        persistent = run(["tpm2_getcap", "handles-persistent"], env=environment).stdout
        for index, expected in (
            ("0x01C101D0", tpm.ak_certificate),
            ("0x01C101D1", tpm.intermediate + tpm.root),
        ):
            # Once as the owner and once with the index's own empty password.
            for who in ("0x40000001", index):
                got = run(["tpm2_nvread", "-C", who, index], env=environment).stdout
                assert got == expected
        run(
            ["tpm2_readpublic", "-Q", "-c", "0x81000003", "-f", "tss", "-o", str(tmp_path / "ak")],
            env=environment,
        )
    assert b"0x81000001" in persistent
    assert b"0x81000003" in persistent
    # TPM2B_PUBLIC: size, TPM_ALG_RSA, TPM_ALG_SHA256, attributes, no policy, no symmetric cipher,
    # RSASSA with SHA-256, 2048 bits, default exponent, modulus.
    public = (tmp_path / "ak").read_bytes()
    fields = struct.unpack_from(">HHHIHHHHHIH", public)
    assert fields[1:] == (0x0001, 0x000B, 0x50472, 0, 0x0010, 0x0014, 0x000B, 2048, 0, 256)


def test_a_quote_is_signed_by_the_certified_key(tpm: ProvisionedTpm, tmp_path: Path) -> None:
    message, signature = tmp_path / "message", tmp_path / "signature"
    with vtpm.served(vtpm.copy_state(tpm, tmp_path / "tpm")) as tcti:
        run(
            [
                *("tpm2_quote", "-Q", "-c", "0x81000003", "-l", "sha256:0,15", "-q", "00" * 32),
                *("-m", str(message), "-s", str(signature), "-f", "plain"),
            ],
            env={"TPM2TOOLS_TCTI": tcti},
        )
    key = certificates(tpm)[0].public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    key.verify(signature.read_bytes(), message.read_bytes(), padding.PKCS1v15(), hashes.SHA256())


def test_only_the_sha256_bank_is_there(tpm: ProvisionedTpm, tmp_path: Path) -> None:
    with vtpm.served(vtpm.copy_state(tpm, tmp_path / "tpm")) as tcti:
        banks = run(["tpm2_getcap", "pcrs"], env={"TPM2TOOLS_TCTI": tcti}).stdout.decode()
    filled = [line.split(":")[0].strip(" -") for line in banks.splitlines() if "0, 1" in line]
    assert filled == ["sha256"]


def test_the_identity_is_made_once(tpm_state: Path, tpm: ProvisionedTpm) -> None:
    later = NOW + timedelta(days=30)
    assert vtpm.provision(tpm_state, now=later) == tpm


def test_an_expired_identity_is_made_anew(tmp_path: Path, host_tools: None) -> None:
    first = vtpm.provision(tmp_path, now=NOW)
    second = vtpm.provision(tmp_path, now=NOW + timedelta(days=2000))
    assert second.root == first.root
    assert second.ak_certificate != first.ak_certificate


def test_an_identity_of_another_authority_is_made_anew(tmp_path: Path, host_tools: None) -> None:
    first = vtpm.provision(tmp_path, now=NOW)
    (tmp_path / "vtpm" / "authority").rename(tmp_path / "old")
    second = vtpm.provision(tmp_path, now=NOW)
    leaf, intermediate, _ = certificates(second)
    leaf.verify_directly_issued_by(intermediate)
    assert second.root != first.root


def test_boots_do_not_wear_the_kept_state(tpm: ProvisionedTpm, tmp_path: Path) -> None:
    kept = (tpm.state / "tpm2-00.permall").read_bytes()
    with vtpm.served(vtpm.copy_state(tpm, tmp_path / "tpm")) as tcti:
        run(["tpm2_nvundefine", "-C", "o", "0x01C101D1"], env={"TPM2TOOLS_TCTI": tcti})
    assert (tpm.state / "tpm2-00.permall").read_bytes() == kept


def test_a_state_that_cannot_be_served_is_an_error(tmp_path: Path, host_tools: None) -> None:
    with pytest.raises(BootError) as caught:
        vtpm.wait_for_socket(tmp_path / "none", timeout_s=0.05)
    assert caught.value.code == "build.boot"


def test_a_socket_that_is_only_bound_is_not_taken_for_a_server(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        assert path.is_socket()
        with pytest.raises(BootError):
            vtpm.wait_for_socket(path, timeout_s=0.05)
        server.listen()
        vtpm.wait_for_socket(path, timeout_s=0.05)


def test_the_authority_does_not_show_its_key(tmp_path: Path) -> None:
    authority = Authority.load_or_create(tmp_path / "authority", now=NOW)
    assert repr(authority) == f"Authority({ORGANIZATION!r})"


def test_an_authority_with_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "authority"
    Authority.load_or_create(home, now=NOW)
    (home / "intermediate.key").write_bytes(
        ed25519.Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    with pytest.raises(BootError, match="expected an RSA key; delete"):
        Authority.load_or_create(home, now=NOW)


@pytest.mark.parametrize("content", [b"", b"-----BEGIN", None])
def test_a_damaged_authority_says_what_to_do(tmp_path: Path, content: bytes | None) -> None:
    home = tmp_path / "authority"
    Authority.load_or_create(home, now=NOW)
    (home / "intermediate.key").unlink()
    if content is not None:
        (home / "intermediate.key").write_bytes(content)
    with pytest.raises(BootError, match=f"delete {home}") as caught:
        Authority.load_or_create(home, now=NOW)
    assert caught.value.code == "build.boot"


def test_two_first_runs_at_once_make_one_identity(tmp_path: Path, host_tools: None) -> None:
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(lambda _: vtpm.provision(tmp_path, now=NOW), range(2))
    assert one == two
