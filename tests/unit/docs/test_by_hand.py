"""docs/by-hand.md, checks 1 to 5, on a signed release; check 6 and on need a guest (tests/e2e)."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.docs.by_hand import by_hand
from tests.simulators.release_folder import made_folder

WITHOUT_A_GUEST = "## 6. Evidence"
Json = dict[str, Any]
Change = Callable[[Json], None]

pytestmark = pytest.mark.skipif(
    shutil.which("openssl", path="/usr/bin") is None, reason="needs openssl"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("made")
    made_folder(home)
    return home


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    for name in ("release", "policy.toml"):
        source = made / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    return tmp_path


def refused(folder: Path) -> str:
    done = by_hand(
        folder / "release",
        folder / "policy.toml",
        where=folder / "work",
        until=WITHOUT_A_GUEST,
    )
    assert done.returncode != 0
    return done.stdout + done.stderr


def change(path: Path, how: Change) -> None:
    document = json.loads(path.read_bytes())
    how(document)
    path.write_text(json.dumps(document))


def test_a_genuine_release(copy: Path) -> None:
    done = by_hand(
        copy / "release", copy / "policy.toml", where=copy / "work", until=WITHOUT_A_GUEST
    )
    assert done.returncode == 0, done.stderr
    assert "os.img: OK" in done.stdout
    # Six statements and four links: each with certificate, promise, checkpoint and time stamp.
    assert done.stdout.count("Verification: OK") + done.stderr.count("Verification: OK") == 10


def _statement(document: Json) -> None:
    body = base64.b64decode(document["dsseEnvelope"]["payload"]).replace(
        b'"sequence"', b'"Sequence"'
    )
    document["dsseEnvelope"]["payload"] = base64.b64encode(body).decode()


def _signature(document: Json) -> None:
    signature = bytearray(base64.b64decode(document["dsseEnvelope"]["signatures"][0]["sig"]))
    signature[-1] ^= 1
    document["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(signature).decode()


def _entry(document: Json) -> Json:
    (entry,) = document["verificationMaterial"]["tlogEntries"]
    assert isinstance(entry, dict)
    return entry


def _proof(document: Json) -> None:
    _entry(document)["inclusionProof"]["hashes"][0] = base64.b64encode(bytes(32)).decode()


def _promise(document: Json) -> None:
    _entry(document)["integratedTime"] = str(int(_entry(document)["integratedTime"]) - 1)


def _checkpoint(document: Json) -> None:
    checkpoint = _entry(document)["inclusionProof"]["checkpoint"]
    origin, _, rest = checkpoint["envelope"].partition("\n")
    checkpoint["envelope"] = f"{origin}x\n{rest}"


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (_statement, "the log has another statement"),
        (_signature, "Verification failure"),
        (_proof, "not under the log's root"),
        (_promise, "Verification failure"),
        (_checkpoint, "Verification failure"),
    ],
)
def test_a_bundle_that_was_touched(copy: Path, how: Change, says: str) -> None:
    change(copy / "release/bundles/index.sigstore.json", how)
    assert says in refused(copy)


def test_a_time_stamp_of_something_else(copy: Path) -> None:
    bundles = copy / "release/bundles"
    other = json.loads((bundles / "measurements.sigstore.json").read_bytes())
    stamps = other["verificationMaterial"]["timestampVerificationData"]

    def swap(document: Json) -> None:
        document["verificationMaterial"]["timestampVerificationData"] = stamps

    change(bundles / "index.sigstore.json", swap)
    assert "message imprint mismatch" in refused(copy)


def test_somebody_else_signed(copy: Path) -> None:
    policy = copy / "policy.toml"
    text = policy.read_text("utf-8")
    changed = text.replace('\nidentity = "', '\nidentity = "https://elsewhere.example/', 1)
    assert changed != text
    policy.write_text(changed)
    # The first thing that is not as it should be is the certificate's name.
    said = refused(copy)
    assert said.count(".pem: OK") == 1
    assert "Verified OK" not in said


def test_another_instance(copy: Path, tmp_path: Path) -> None:
    made_folder(tmp_path / "another")
    shutil.copy(tmp_path / "another" / "policy.toml", copy / "policy.toml")
    assert "another log" in refused(copy)


def test_the_layout_of_another_owner(copy: Path) -> None:
    def sign(document: Json) -> None:
        document["signatures"][0]["sig"] = base64.b64encode(bytes(64)).decode()

    change(copy / "release/root.layout", sign)
    assert "Signature Verification Failure" in refused(copy)


def test_another_disk(copy: Path) -> None:
    (copy / "release/os.img").write_bytes(b"another")
    said = refused(copy)
    assert "os.img: FAILED" in said
    assert "app.img: OK" in said


def test_a_release_that_was_taken_back(copy: Path) -> None:
    policy = copy / "policy.toml"
    policy.write_text(
        policy.read_text("utf-8").replace("revoked = []", "revoked = [1, 2, 3, 4, 5]")
    )
    assert "taken back" in refused(copy)


def test_an_older_release(copy: Path) -> None:
    policy = copy / "policy.toml"
    text = policy.read_text("utf-8")
    lines = [
        "minimum_sequence = 9999" if line.startswith("minimum_sequence") else line
        for line in text.splitlines()
    ]
    policy.write_text("\n".join(lines))
    assert "older than the policy's minimum" in refused(copy)
