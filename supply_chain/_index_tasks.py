"""Tasks of the release index: a repository that clients fetch releases from (docs/repository.md)."""

from __future__ import annotations

import json
import os
import threading
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import get_args

from invoke import Collection, Context, task

from blindllama.policy import Policy
from blindllama.release import verify_release
from supply_chain.front import told, whole_number
from supply_chain.local_sigstore.trust_root import signing_config
from supply_chain.passphrase import known_passphrase, new_passphrase
from supply_chain.release import read_release, verify_folder
from supply_chain.repository import index
from supply_chain.repository.keys import KeyFolder, KeyRole, RepositoryError
from supply_chain.repository.server import serving
from supply_chain.workspace import Workspace

ROOT = Path(__file__).resolve().parent.parent
LOCAL_SIGSTORE = "http://127.0.0.1:8444"
"""Where stock clients are sent to sign, unless told otherwise: invoke chain.serve --port 8444."""
_MOST_KEYS = 16


def _place(keys: str) -> index.Place:
    workspace = Workspace.at(ROOT, os.environ)
    folder = Path(keys) if keys else workspace.state / "repository"
    asked = partial(known_passphrase, os.environ, "the repository's keys")
    return index.Place(
        folder=workspace.dist / "repository", keys=KeyFolder(path=folder, passphrase=asked)
    )


def _now() -> datetime:
    return datetime.now(UTC)


@task(
    help={
        "root-keys": "how many root keys are made",
        "threshold": "how many of them must sign a root",
        "keys": "folder for the private keys; the state folder when not given",
    }
)
@told()
def init(_context: Context, root_keys: str = "2", threshold: str = "2", keys: str = "") -> None:
    """Make a repository and its keys; once, before the first publish."""
    root = index.init(
        _place(keys),
        root_keys=whole_number(root_keys, "root-keys", least=1, most=_MOST_KEYS),
        threshold=whole_number(threshold, "threshold", least=1, most=_MOST_KEYS),
        passphrase=new_passphrase(os.environ),
        now=_now(),
    )
    print(f"keys      {_place(keys).keys.path}")
    print(f"root      {root}: give it to clients, in a way that they can trust")


@task(
    help={
        "release": "the release folder",
        "policy": "the policy that clients get",
        "trust-config": "where clients sign: a Sigstore trust configuration; the local one if none",
        "keys": "folder of the private keys",
    }
)
@told()
def publish(
    _context: Context,
    release: str = "dist/release",
    policy: str = "dist/policy.toml",
    trust_config: str = "",
    keys: str = "",
) -> None:
    """Make a release the newest of the repository."""
    now, trusted = _now(), Policy.from_file(Path(policy))
    folder = read_release(Path(release))
    verify_folder(folder.path, verify_release(folder.evidence, trusted, now))
    place = _place(keys)
    listed = index.publish(
        place,
        index.Publication(
            evidence=folder.evidence,
            policy=trusted,
            signing_config=_signing_config(trust_config, trusted),
        ),
        now,
    )
    print(f"newest    {listed.name} {listed.newest}")
    _tell(place, now)


@task(help={"keys": "folder of the online key"})
@told()
def refresh(_context: Context, keys: str = "") -> None:
    """Sign the timestamp anew, with the online key alone; daily, say."""
    place, now = _place(keys), _now()
    index.refresh(place, now)
    _tell(place, now)


@task(
    positional=["sequence"], help={"sequence": "its number", "keys": "folder of the private keys"}
)
@told()
def revoke(_context: Context, sequence: str, keys: str = "") -> None:
    """Take a release back: clients refuse it from their next fetch on."""
    place, now = _place(keys), _now()
    number = whole_number(sequence, "sequence", least=1, most=10**9)
    listed = index.revoke(place, number, now)
    print(f"revoked   {', '.join(map(str, listed.revoked))}")
    if listed.newest in listed.revoked:
        print("clients now accept no release; make a newer one: invoke release, index.publish")
    _tell(place, now)


@task(
    help={
        "roles": "whose keys are made anew: root, targets, online, several by commas, or none",
        "root-keys": "how many root keys are made",
        "threshold": "how many of them must sign a root",
        "keys": "folder of the private keys",
    }
)
@told()
def rotate_root(
    _context: Context,
    roles: str = "root",
    root_keys: str = "2",
    threshold: str = "2",
    keys: str = "",
) -> None:
    """Sign a new root: other keys, or the same for another year; clients follow by themselves."""
    place, now = _place(keys), _now()
    chosen = _roles(roles)
    ended = index.rotate_root(
        place,
        chosen,
        root_keys=whole_number(root_keys, "root-keys", least=1, most=_MOST_KEYS),
        threshold=whole_number(threshold, "threshold", least=1, most=_MOST_KEYS),
        passphrase=new_passphrase(os.environ) if {"root", "targets"} & set(chosen) else None,
        now=now,
    )
    for path in ended:
        print(f"ended     {path}: no client takes it any more; remove it")
    _tell(place, now)


@task(help={"port": "the loopback port; 0 takes a free one"})
@told()
def serve(_context: Context, port: str = "0") -> None:
    """Serve the repository on loopback until interrupted, for trying."""
    number = whole_number(port, "port", least=0, most=65535)
    with serving(_place("").folder, port=number) as url:
        print(url, flush=True)
        threading.Event().wait()


def _roles(text: str) -> list[KeyRole]:
    names = [] if text == "none" else text.split(",")
    known: tuple[KeyRole, ...] = get_args(KeyRole)
    if not set(names) <= set(known):
        raise RepositoryError(f"--roles; expected none, or some of {', '.join(known)}; got {text}")
    return [role for role in known if role in names]


def _signing_config(trust_config: str, policy: Policy) -> bytes:
    if not trust_config:
        return json.dumps(signing_config(LOCAL_SIGSTORE), indent=1).encode()
    try:
        document = json.loads(Path(trust_config).read_bytes())
        root, config = document["trustedRoot"], document["signingConfig"]
    except (ValueError, KeyError, TypeError) as exc:
        raise RepositoryError(f"{trust_config}; expected a Sigstore trust configuration") from exc
    if root != json.loads(policy.sigstore.trusted_root):
        raise RepositoryError(f"{trust_config} has another trust root than the policy")
    return json.dumps(config, indent=1).encode()


def _tell(place: index.Place, now: datetime) -> None:
    print(f"published {place.folder}")
    for sentence in index.soon(place, now):
        print(f"note      {sentence}")


ns = Collection("index", init, publish, refresh, revoke, rotate_root, serve)
