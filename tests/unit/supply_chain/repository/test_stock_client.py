"""Sigstore's own command line trusts the repository by its root, then signs and verifies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from supply_chain.attest.trust import LOCAL_IDENTITY
from supply_chain.local_sigstore import running
from supply_chain.repository import index
from supply_chain.repository.server import serving
from tests.simulators.release_repository import Publisher, publication
from tests.simulators.signed_release import make_signed_release


@dataclass(frozen=True, kw_only=True)
class Stock:
    """The command line with a home of its own."""

    home: Path
    url: str
    token: str
    issuer: str

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        environ = {
            "HOME": str(self.home),
            "PATH": os.environ["PATH"],
            "NO_PROXY": "127.0.0.1,localhost",
        }
        return subprocess.run(
            [sys.executable, "-m", "sigstore", "--instance", self.url, *map(str, arguments)],
            env=environ,
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def verify(self, file: Path, bundle: Path, identity: str) -> int:
        return self.run(
            *("verify", "identity", "--bundle", bundle, "--cert-identity", identity),
            *("--cert-oidc-issuer", self.issuer, file),
        ).returncode


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    made = Publisher(root=tmp_path, now=datetime.now(UTC))
    made.init()
    return made


@pytest.fixture
def stock(publisher: Publisher, tmp_path: Path) -> Iterator[Stock]:
    (tmp_path / "home").mkdir()
    release = make_signed_release(tmp_path / "state")
    with running(tmp_path / "state") as sigstore, serving(publisher.folder) as url:
        config = json.dumps(json.loads(sigstore.trust_config_json)["signingConfig"]).encode()
        made = replace(publication(release), signing_config=config)
        index.publish(publisher.place, made, publisher.now)
        token = sigstore.identity_token(LOCAL_IDENTITY)
        yield Stock(
            home=tmp_path / "home", url=url, token=str(token), issuer=token.federated_issuer
        )


def test_it_signs_and_verifies(stock: Stock, publisher: Publisher) -> None:
    file, bundle = stock.home / "file", stock.home / "file.sigstore.json"
    file.write_bytes(b"something")
    done = stock.run("trust-instance", publisher.trusted_root)
    assert done.returncode == 0, done.stderr
    done = stock.run("sign", "--identity-token", stock.token, "--bundle", bundle, file)
    assert done.returncode == 0, done.stderr
    assert stock.verify(file, bundle, LOCAL_IDENTITY) == 0
    assert stock.verify(file, bundle, "https://blindllama.dev/somebody-else") != 0
    file.write_bytes(b"something else")
    assert stock.verify(file, bundle, LOCAL_IDENTITY) != 0


def test_it_does_not_trust_another_root(stock: Stock, tmp_path: Path) -> None:
    stranger = Publisher(root=tmp_path / "stranger", now=datetime.now(UTC))
    stranger.root.mkdir()
    stranger.init()
    done = stock.run("trust-instance", stranger.trusted_root)
    assert done.returncode != 0
    assert "TUF" in done.stderr
