from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from engine.export import export_engine, key_signature, local_signature
from engine.gguf import MANIFEST, MODEL
from engine.signature import (
    SIGNATURE,
    IdentitySigner,
    KeySigner,
    ModelSignatureError,
    named_signer,
    verify_folder_signature,
)
from engine.verify import EngineMismatchError
from supply_chain.attest.trust import LOCAL_IDENTITY
from supply_chain.local_sigstore import running


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    folder = tmp_path / "build"
    folder.mkdir()
    (folder / MODEL).write_bytes(b"GGUF")
    (folder / MANIFEST).write_text('{"name":"tiny"}\n')
    (folder / "step.json").write_text("{}")
    return folder


@pytest.fixture
def key(tmp_path: Path) -> Path:
    private = ec.generate_private_key(ec.SECP384R1())
    (tmp_path / "public.pem").write_bytes(
        private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    path = tmp_path / "key.pem"
    path.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


def test_an_engine_is_handed_on_under_its_name_and_signed(
    engine: Path, key: Path, tmp_path: Path
) -> None:
    signed = export_engine(engine, tmp_path / "dist" / "engine", key_signature(key, "", "", None))

    assert signed == tmp_path / "dist" / "engine" / "tiny"
    assert {path.name for path in signed.iterdir()} == {MODEL, MANIFEST, SIGNATURE}
    signer = KeySigner(by="key", public="public.pem")
    assert verify_folder_signature(signed, signer, base=tmp_path) == {MODEL, MANIFEST}


def test_the_local_sigstore_signs_as_the_builder(engine: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with local_signature(state, None) as sign:
        signed = export_engine(engine, tmp_path / "out", sign)
    with running(state) as instance:
        (tmp_path / "trust.json").write_text(instance.trust_config_json)
        issuer = instance.identity_token(LOCAL_IDENTITY).federated_issuer
    signer = IdentitySigner(
        by="identity", identity=LOCAL_IDENTITY, issuer=issuer, trust_config="trust.json"
    )

    assert verify_folder_signature(signed, signer, base=tmp_path) == {MODEL, MANIFEST}


def test_what_cannot_be_signed_replaces_nothing(engine: Path, key: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    before = export_engine(engine, out, key_signature(key, "", "", None))
    (engine / MANIFEST).write_text(json.dumps({"name": "other"}))

    with pytest.raises(ModelSignatureError) as caught:
        export_engine(engine, out, key_signature(tmp_path / "absent", "", "", None))

    assert caught.value.code == "engine.signature"
    assert [path.name for path in out.iterdir()] == [before.name] == ["tiny"]


def test_where_there_is_no_engine_nothing_is_signed(tmp_path: Path, key: Path) -> None:
    with pytest.raises(EngineMismatchError, match="build it: invoke engine.build") as caught:
        export_engine(tmp_path, tmp_path / "out", key_signature(key, "", "", None))

    assert caught.value.code == "engine.mismatch"


def test_a_chain_needs_its_certificate(key: Path) -> None:
    with pytest.raises(ModelSignatureError, match="--chain: expected --certificate") as caught:
        key_signature(key, "", "chain.pem", None)

    assert caught.value.code == "engine.signature"


@pytest.mark.parametrize(
    ("words", "by"),
    [
        ({"public": "k"}, "key"),
        ({"roots": "r", "public": ""}, "certificate"),
        ({"identity": "i", "issuer": "u", "trust_config": "t"}, "identity"),
    ],
)
def test_a_signer_is_named_in_one_way(words: dict[str, str], by: str) -> None:
    assert named_signer(**words).by == by


@pytest.mark.parametrize(
    "words",
    [{}, {"public": "k", "roots": "r"}, {"identity": "i", "issuer": "u"}, {"issuer": "u"}],
)
def test_half_a_signer_or_two_are_refused(words: dict[str, str]) -> None:
    with pytest.raises(ModelSignatureError, match="whose signature: expected one of") as caught:
        named_signer(**words)

    assert caught.value.code == "engine.signature"
