"""The release folder: writing one, reading one, and comparing its files with the signed index.

dist/release/
├── os.img, app.img, …          what is run
├── sdk/                        what a client installs
├── sbom/                       what is in these, as CycloneDX; signed in bundles/
├── root.layout, links/         who had to do what, and who did
├── bundles/                    signed statements, one Sigstore bundle per file
├── rebuilds/                   what others have signed since: `supply_chain.rebuilds`
├── index.json                  the files with digests and sizes, for people and mirrors
└── evidence.json               everything that a client needs, without the disks
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from blindllama.policy import Policy
from supply_chain.attest.signing import bundle_document
from supply_chain.attest.statement import ReleaseIndexPredicate, Statement, index_statement
from supply_chain.attest.summary import verifier_id
from supply_chain.digest import Sha256, sha256_bytes, sha256_file
from supply_chain.errors import BuildError, DigestMismatchError, faults
from supply_chain.workspace import fresh_dir, replace_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from blindllama.measurements import PlatformName
    from blindllama.release import VerifiedRelease
    from supply_chain.attest.chain import SignedChain
    from supply_chain.attest.owner import Owner
    from supply_chain.attest.trust import Authority
    from supply_chain.progress import Progress

INDEX = "index.json"
INDEX_BUNDLE = "bundles/index.sigstore.json"
EVIDENCE = "evidence.json"
LAYOUT = "root.layout"
REBUILDS = "rebuilds"
UNINDEXED = frozenset({INDEX, INDEX_BUNDLE, EVIDENCE})
"""What is made from the index and can therefore not be in it."""
SUMMARY = "bundles/summary.sigstore.json"
"""The verdict on the whole; a release is one without it."""

_BLOCK_BYTES = 4 << 20


class ReleaseError(BuildError):
    """A release folder is incomplete, or holds what its signed index does not name."""

    code: ClassVar[str] = "build.release"


def _inside(path: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or str(pure) != path or "\\" in path:
        raise ValueError("expected a plain relative path")
    return path


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ReleaseFile(_Wire):
    """One file of a release, as `index.json` lists it."""

    path: Annotated[str, Field(min_length=1), AfterValidator(_inside)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0)]
    """In bytes."""


class ReleaseListing(_Wire):
    """`index.json`: unsigned, for people and mirrors; the same is signed in a bundle."""

    version: Literal[1]
    name: str
    sequence: int
    created: str
    expires: str
    files: tuple[ReleaseFile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseFolder:
    """A release folder as it was found: nothing in it is verified yet."""

    path: Path
    listing: ReleaseListing
    evidence: bytes
    """The content of `evidence.json`."""


def write_release(
    folder: Path,
    *,
    files: Mapping[str, Path],
    chain: SignedChain,
    index: ReleaseIndexPredicate,
    sign: Callable[[Statement], bytes],
    progress: Progress,
    more: Mapping[str, bytes] | None = None,
    finish: Callable[[Path], object] = lambda _: None,
) -> ReleaseFolder:
    """Write a release folder and return it; an older one stays until the new one is whole.

    Args:
        folder: Where it goes.
        files: The files to copy, by their path in the folder.
        chain: Layout, links and statements, already signed.
        index: Name, number and times of the release.
        sign: Makes the bundle of the index, the last signature of a release.
        progress: Told of the copying.
        more: Further signed documents by their path in the folder, which no client needs.
        finish: Called with the whole folder before it takes the place of an older one.
    """
    with fresh_dir(folder) as aside:
        entries = list(_copied(aside, files, progress))
        for path, data in sorted({**chain_files(chain), **(more or {})}.items()):
            _write(aside / path, data)
            entries.append(ReleaseFile(path=path, sha256=sha256_bytes(data).hex, size=len(data)))
        entries.sort(key=lambda entry: entry.path)
        digests = {entry.path: Sha256.from_hex(entry.sha256) for entry in entries}
        with progress.step("sign the index"):
            bundle = sign(index_statement(digests, index))
        listing = ReleaseListing.model_validate(
            {**index.model_dump(mode="json", exclude={"revoked"}), "files": tuple(entries)}
        )
        evidence = evidence_document(chain, bundle)
        _write(aside / INDEX_BUNDLE, bundle)
        _write(aside / INDEX, _json(listing.model_dump(mode="json"), indent=1))
        _write(aside / EVIDENCE, evidence)
        finish(aside)
    return read_release(folder)


def chain_files(chain: SignedChain) -> dict[str, bytes]:
    """Return the signed documents of a release by their path in its folder, without the index."""
    documents = {
        LAYOUT: chain.layout.envelope,
        "bundles/measurements.sigstore.json": chain.measurements,
    }
    documents |= {f"links/{name}": link.envelope for name, link in chain.links.items()}
    return documents | {
        f"bundles/{step}.provenance.sigstore.json": bundle
        for step, bundle in chain.provenance.items()
    }


def evidence_document(chain: SignedChain, index_bundle: bytes) -> bytes:
    """Return `evidence.json`: all that a client needs to verify a release, in one file."""
    return evidence_json(
        {
            "version": 1,
            "index": bundle_document(index_bundle),
            "layout": json.loads(chain.layout.envelope),
            "links": [json.loads(link.envelope) for link in chain.links.values()],
            "provenance": [bundle_document(bundle) for bundle in chain.provenance.values()],
            "measurements": bundle_document(chain.measurements),
        }
    )


def evidence_json(document: Mapping[str, object]) -> bytes:
    """Return the evidence as the bytes of `evidence.json`."""
    return _json(document)


def release_policy(
    *,
    index: ReleaseIndexPredicate,
    platform: PlatformName,
    authority: Authority,
    owners: Sequence[Owner],
    vtpm_roots: Iterable[Sha256],
    verifier: Authority | None = None,
    maximum_age_days: int = 30,
    debug_images: bool = False,
) -> Policy:
    """Return the policy that accepts a release of a signer and nothing older.

    Raises:
        PolicyError: a part is empty or contradicts another.
    """
    github = {} if authority.github is None else {"github": authority.github.model_dump()}
    return Policy.from_mapping(
        {
            "platform": platform.value,
            "debug_images": debug_images,
            "release": {
                "name": index.name,
                "minimum_sequence": index.sequence,
                "maximum_age_days": maximum_age_days,
            },
            "signer": {
                "issuer": authority.issuer,
                "identity": authority.identity,
                "builder_id": authority.builder_id,
                **github,
            },
            "sigstore": {
                "trusted_root": authority.trusted_root_json,
                "require_inclusion_promise": authority.promises,
            },
            "layout": {"owners": [owner.entry for owner in owners]},
            "vtpm": {"roots": [root.hex for root in vtpm_roots]},
            **({} if verifier is None else {"verifier": _verifier(verifier)}),
        }
    )


def _verifier(authority: Authority) -> dict[str, Any]:
    github = {} if authority.github is None else {"github": authority.github.model_dump()}
    return {
        "id": verifier_id(authority),
        "issuer": authority.issuer,
        "identity": authority.identity,
        **github,
    }


def write_policy(path: Path, policy: Policy) -> None:
    """Write the policy as TOML that reads back to an equal policy.

    Raises:
        ReleaseError: it would not.
    """
    data = policy.to_toml().encode()
    if Policy.from_bytes(data) != policy:
        raise ReleaseError(f"{path}: the policy cannot be written as TOML without a change")
    replace_file(path, data)


def read_release(folder: Path) -> ReleaseFolder:
    """Return a release folder as it stands; nothing is verified.

    Raises:
        ReleaseError: a part is missing or is not what it must be.
    """
    try:
        listing = ReleaseListing.model_validate_json((folder / INDEX).read_bytes())
        evidence = (folder / EVIDENCE).read_bytes()
    except OSError as exc:
        raise ReleaseError(
            f"{folder} is not a release: {exc.filename}: {exc.strerror}; make one: invoke release"
        ) from exc
    except ValidationError as exc:
        raise ReleaseError(f"{folder} is not a release: {INDEX}: {faults(exc)}") from exc
    return ReleaseFolder(path=folder, listing=listing, evidence=evidence)


def verify_folder(folder: Path, verified: VerifiedRelease) -> None:
    """Refuse a folder whose files are not exactly those of the verified release.

    Args:
        folder: The release folder.
        verified: What `blindllama.verify_release` made of its evidence.

    Raises:
        ReleaseError: a file is missing, is too many, or is a link.
        DigestMismatchError: a file's bytes are not those that were signed.
    """
    there = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or not path.is_dir()
    }
    expected = verified.files.keys() | UNINDEXED | ({SUMMARY} & there.keys())
    there = _without_rebuilds(folder, there)
    if there.keys() != expected:
        missing, extra = sorted(expected - there.keys()), sorted(there.keys() - expected)
        raise ReleaseError(f"{folder}: files missing: {missing}; files too many: {extra}")
    for name, digest in sorted(verified.files.items()):
        path = there[name]
        if path.is_symlink() or not path.is_file():
            raise ReleaseError(f"{path}: expected a regular file")
        got = sha256_file(path)
        if got.hex != digest:
            raise DigestMismatchError(str(path), Sha256.from_hex(digest), got)
    _check_listing(read_release(folder).listing, verified)


def _without_rebuilds(folder: Path, there: Mapping[str, Path]) -> dict[str, Path]:
    """Return the files but for those under `rebuilds/`, which are copies of parts of the evidence.

    Raises:
        ReleaseError: one of them is not.
    """
    added = {name: path for name, path in there.items() if name.startswith(f"{REBUILDS}/")}
    if added:
        evidence = json.loads((folder / EVIDENCE).read_bytes())
        parts = [*evidence["links"], *evidence.get("rebuilds", [])]
        for path in added.values():
            if path.is_symlink() or not path.is_file() or _parsed(path) not in parts:
                raise ReleaseError(
                    f"{path}: expected a part of {EVIDENCE}; got something that no client looks at"
                )
    return {name: path for name, path in there.items() if name not in added}


def _parsed(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None


def _check_listing(listing: ReleaseListing, verified: VerifiedRelease) -> None:
    listed = {entry.path: entry.sha256 for entry in listing.files}
    said = (listing.name, listing.sequence, listed)
    if said != (verified.name, verified.sequence, dict(verified.files)):
        raise ReleaseError(f"{INDEX} does not say what the signed index says")


def _copied(aside: Path, files: Mapping[str, Path], progress: Progress) -> Iterable[ReleaseFile]:
    for name, source in sorted(files.items()):
        target = aside / _inside(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        digest, size = hashlib.sha256(), 0
        # Hashed on the way: the index names the bytes that were written, not those of later.
        with (
            progress.step(f"copy {name}"),
            source.open("rb") as reader,
            target.open("xb") as writer,
        ):
            while block := reader.read(_BLOCK_BYTES):
                digest.update(block)
                size += len(block)
                writer.write(block)
        yield ReleaseFile(path=name, sha256=digest.hexdigest(), size=size)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _json(document: object, *, indent: int | None = None) -> bytes:
    return (json.dumps(document, sort_keys=True, indent=indent, allow_nan=False) + "\n").encode()
