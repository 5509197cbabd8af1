from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from engine.signature import (
    SIGNATURE,
    CertificateSigner,
    IdentitySigner,
    KeySigner,
    ModelSignatureError,
    ModelSigner,
    sign_with_certificate,
    sign_with_identity,
    sign_with_key,
    signer_files,
    verify_folder_signature,
)
from supply_chain.local_sigstore import LocalSigstore, running

Signed = Callable[[Path], object]
FILES = frozenset({"model.gguf", "config/tokenizer.json"})
ME = "me@blindllama.dev"
METHODS = ("key", "certificate", "identity")


def _pem(path: Path, key: ec.EllipticCurvePrivateKey, passphrase: bytes | None = None) -> Path:
    locked = serialization.BestAvailableEncryption(passphrase) if passphrase else None
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            locked or serialization.NoEncryption(),
        )
    )
    path.with_suffix(".public.pem").write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return path


def _certificate(path: Path, key: ec.EllipticCurvePrivateKey, *, signs: bool = True) -> Path:
    """A root: it vouches for itself."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "models")])
    now = datetime.now(UTC)
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=signs,
                key_cert_sign=True,
                crl_sign=True,
                encipher_only=False,
                decipher_only=False,
                **usage,
            ),
            critical=True,
        )
        .add_extension(
            x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.TIME_STAMPING]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSigstore]:
    with running(tmp_path_factory.mktemp("sigstore")) as found:
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "weights"
    (path / "config").mkdir(parents=True)
    (path / "model.gguf").write_bytes(bytes(range(256)) * 64)
    (path / "config" / "tokenizer.json").write_text("{}")
    return path


@pytest.fixture
def methods(tmp_path: Path, instance: LocalSigstore) -> dict[str, tuple[Signed, ModelSigner]]:
    """The three ways to sign, each with who then must have signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    private = _pem(tmp_path / "key.pem", key)
    root = _certificate(tmp_path / "root.pem", key)
    trust = tmp_path / "trust.json"
    trust.write_text(instance.trust_config_json)
    token = instance.identity_token(ME)

    def by_identity(path: Path) -> None:
        sign_with_identity(path, trust_config=trust, token=str(token))

    return {
        "key": (
            lambda path: sign_with_key(path, private),
            KeySigner(by="key", public="key.public.pem"),
        ),
        "certificate": (
            lambda path: sign_with_certificate(path, private, root),
            CertificateSigner(by="certificate", roots="root.pem"),
        ),
        "identity": (
            by_identity,
            IdentitySigner(
                by="identity",
                identity=ME,
                issuer=token.federated_issuer,
                trust_config="trust.json",
            ),
        ),
    }


Methods = dict[str, tuple[Signed, ModelSigner]]


@pytest.mark.parametrize("method", METHODS)
def test_a_signature_covers_every_file(
    folder: Path, methods: Methods, method: str, tmp_path: Path
) -> None:
    sign, signer = methods[method]
    sign(folder)

    assert verify_folder_signature(folder, signer, base=tmp_path) == FILES
    assert all(path.is_file() for path in signer_files(signer, base=tmp_path))


@pytest.mark.parametrize(("made", "wanted"), list(permutations(METHODS, 2)))
def test_a_signature_that_was_made_in_another_way_is_refused_in_words(
    folder: Path, methods: Methods, made: str, wanted: str, tmp_path: Path
) -> None:
    methods[made][0](folder)

    with pytest.raises(
        ModelSignatureError, match=rf"mine/model.sig: expected .* an? {wanted}, got .* an? {made}$"
    ) as caught:
        verify_folder_signature(folder, methods[wanted][1], base=tmp_path, title="mine")

    assert caught.value.code == "engine.signature"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda path: (path / "model.gguf").write_bytes(b"other"),
            "Hash mismatch for 'model.gguf'$",
        ),
        (lambda path: (path / "more.py").write_text("x"), "Extra files found .*more.py"),
        (lambda path: (path / "model.gguf").unlink(), "Missing files .*model.gguf"),
    ],
    ids=["changed", "added", "removed"],
)
def test_any_change_of_the_folder_is_found(
    folder: Path,
    methods: Methods,
    method: str,
    change: Callable[[Path], object],
    message: str,
    tmp_path: Path,
) -> None:
    sign, signer = methods[method]
    sign(folder)
    change(folder)

    with pytest.raises(ModelSignatureError, match=message) as caught:
        verify_folder_signature(folder, signer, base=tmp_path)

    assert caught.value.code == "engine.signature"


def test_what_git_keeps_beside_a_model_is_not_among_the_signed_files(
    folder: Path, methods: Methods, tmp_path: Path
) -> None:
    methods["key"][0](folder)
    (folder / ".gitattributes").write_text("added by a hub")

    names = verify_folder_signature(folder, methods["key"][1], base=tmp_path)

    assert names == FILES


def test_the_signature_of_another_key_is_refused(
    folder: Path, methods: Methods, tmp_path: Path
) -> None:
    methods["key"][0](folder)
    _pem(tmp_path / "other.pem", ec.generate_private_key(ec.SECP256R1()))
    other = KeySigner(by="key", public="other.public.pem")

    with pytest.raises(ModelSignatureError, match="Key mismatch") as caught:
        verify_folder_signature(folder, other, base=tmp_path)

    assert caught.value.code == "engine.signature"


def test_a_certificate_of_another_authority_is_refused(
    folder: Path, methods: Methods, tmp_path: Path
) -> None:
    methods["certificate"][0](folder)
    _certificate(tmp_path / "other.pem", ec.generate_private_key(ec.SECP256R1()))
    other = CertificateSigner(by="certificate", roots="other.pem")

    with pytest.raises(ModelSignatureError, match="model signature of") as caught:
        verify_folder_signature(folder, other, base=tmp_path)

    assert caught.value.code == "engine.signature"
    assert type(caught.value.__cause__).__name__ == "X509StoreContextError"


def test_a_certificate_that_is_not_for_signatures_is_refused(folder: Path, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    root = _certificate(tmp_path / "root.pem", key, signs=False)
    sign_with_certificate(folder, _pem(tmp_path / "key.pem", key), root)
    signer = CertificateSigner(by="certificate", roots="root.pem")

    with pytest.raises(ModelSignatureError, match="cannot be used for signing") as caught:
        verify_folder_signature(folder, signer, base=tmp_path)

    assert caught.value.code == "engine.signature"


@pytest.mark.parametrize("field", ["identity", "issuer"])
def test_the_signature_of_another_identity_is_refused(
    folder: Path, methods: Methods, field: str, tmp_path: Path
) -> None:
    sign, signer = methods["identity"]
    sign(folder)
    other = signer.model_copy(update={field: "https://somebody.example/else"})

    with pytest.raises(ModelSignatureError, match="somebody.example") as caught:
        verify_folder_signature(folder, other, base=tmp_path)

    assert caught.value.code == "engine.signature"


@pytest.mark.parametrize("method", METHODS)
def test_a_changed_statement_is_refused(
    folder: Path, methods: Methods, method: str, tmp_path: Path
) -> None:
    sign, signer = methods[method]
    sign(folder)
    bundle = json.loads((folder / SIGNATURE).read_bytes())
    envelope = bundle["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"]).replace(b'"weights"', b'"wEights"')
    envelope["payload"] = base64.b64encode(payload).decode()
    (folder / SIGNATURE).write_text(json.dumps(bundle))

    with pytest.raises(ModelSignatureError, match="model signature of") as caught:
        verify_folder_signature(folder, signer, base=tmp_path)

    assert caught.value.code == "engine.signature"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("content", [b"", b"{}", b"no json", b"\xff"])
def test_what_is_no_signature_is_refused(
    folder: Path, methods: Methods, method: str, content: bytes, tmp_path: Path
) -> None:
    (folder / SIGNATURE).write_bytes(content)

    with pytest.raises(ModelSignatureError, match="model signature of") as caught:
        verify_folder_signature(folder, methods[method][1], base=tmp_path)

    assert caught.value.code == "engine.signature"


def test_a_folder_without_a_signature_is_refused(
    folder: Path, methods: Methods, tmp_path: Path
) -> None:
    with pytest.raises(ModelSignatureError, match="expected its signature model.sig, got none"):
        verify_folder_signature(folder, methods["key"][1], base=tmp_path)


def test_a_locked_key_signs_when_it_is_opened(folder: Path, tmp_path: Path) -> None:
    private = _pem(tmp_path / "k.pem", ec.generate_private_key(ec.SECP256R1()), b"secret")
    sign_with_key(folder, private, passphrase=b"secret")
    signer = KeySigner(by="key", public="k.public.pem")

    assert verify_folder_signature(folder, signer, base=tmp_path) == FILES
    with pytest.raises(ModelSignatureError) as caught:
        sign_with_key(folder, private, passphrase=b"wrong")
    assert caught.value.code == "engine.signature"
    assert not (folder / SIGNATURE).exists()
