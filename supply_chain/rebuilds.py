"""A rebuild on disk, and its way into the release folder that it confirms.

dist/rebuild/                    what a rebuilder hands on
├── statement.sigstore.json      which release was rebuilt, and what came out
├── trusted_root.json            what verifies the signatures, for policies of those who trust it
└── links/STEP.KEYID.link        the same for each step, as the layout's functionary

In the release folder statement and links go under `rebuilds/`, outside of the signed index, and
into `evidence.json`: statements always, links where the layout lets the rebuilder carry out the
step and the Sigstore that signed is the release's own. On another machine it is another one.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from securesystemslib.dsse import Envelope as Dsse
from sigstore.errors import Error as SigstoreError
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier
from sigstore_models.trustroot.v1 import TrustedRoot as TrustedRootMessage

from supply_chain.claimed import payload_of, read_claim, statement_of
from supply_chain.digest import sha256_bytes
from supply_chain.errors import BuildError
from supply_chain.release import EVIDENCE, REBUILDS, evidence_json, read_release
from supply_chain.workspace import fresh_dir, replace_file

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.x509 import Certificate

    from supply_chain.attest.rebuild import SignedRebuild
    from supply_chain.claimed import Claim

STATEMENT = "statement.sigstore.json"
LINKS = "links"
TRUSTED_ROOT = "trusted_root.json"
_MOST = 32
"""A client reads no more statements than this."""
_NAME_CHARACTERS = 16


class RebuildError(BuildError):
    """A rebuild cannot be read, or is not one of this release."""

    code: ClassVar[str] = "build.rebuild"


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What a release has got from a rebuild."""

    steps: tuple[str, ...]
    """The steps that the rebuilder states to have made again."""
    links: tuple[str, ...]
    """Steps for which the layout counts the rebuilder."""


def write_rebuild(folder: Path, rebuild: SignedRebuild) -> None:
    """Write what a rebuilder hands on; an earlier rebuild stays until this one is whole."""
    with fresh_dir(folder) as aside:
        (aside / LINKS).mkdir()
        (aside / STATEMENT).write_bytes(rebuild.statement)
        (aside / TRUSTED_ROOT).write_text(rebuild.trusted_root)
        for name, envelope in rebuild.links.items():
            (aside / LINKS / name).write_bytes(envelope)


def add_rebuild(rebuild: Path, release: Path, trusted_root: str) -> Added:
    """Put a rebuild into the release that it is of; adding it again changes nothing.

    Whether it counts is not decided here but by each client. What would make a client refuse the
    release as a whole is left out: a link that the release's own trust root does not verify.

    Args:
        rebuild: The folder of a rebuild.
        release: The release folder.
        trusted_root: What verifies the release (JSON).

    Raises:
        RebuildError: the rebuild is malformed, of another release, or made other bytes.
        ReleaseError: the release is not one.
    """
    claim = read_claim(read_release(release).evidence)
    statement, links = _read(rebuild)
    steps = _check(statement, claim)
    counted = {
        name: document
        for name, document in links.items()
        if _counts(document, claim) and _verifies(document, trusted_root)
    }
    evidence = dict(claim.document)
    evidence["rebuilds"] = _with(evidence.get("rebuilds", []), [statement])
    evidence["links"] = _with(evidence["links"], list(counted.values()))
    if len(evidence["rebuilds"]) > _MOST:
        raise RebuildError(f"{release}: it holds {_MOST} rebuilds already, all that clients read")
    # First what counts: a folder whose evidence has more than its files is still whole.
    replace_file(release / EVIDENCE, evidence_json(evidence))
    named = sha256_bytes(json.dumps(statement, sort_keys=True).encode()).hex[:_NAME_CHARACTERS]
    place = release / REBUILDS / named
    replace_file(place / STATEMENT, (rebuild / STATEMENT).read_bytes())
    for name in counted:
        replace_file(place / LINKS / name, (rebuild / LINKS / name).read_bytes())
    return Added(steps=steps, links=tuple(sorted(payload_of(d)["name"] for d in counted.values())))


def _read(rebuild: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the statement's bundle, and the links by file name."""
    try:
        statement: dict[str, Any] = json.loads((rebuild / STATEMENT).read_bytes())
        links = {
            path.name: json.loads(path.read_bytes())
            for path in sorted((rebuild / LINKS).glob("*.link"))
        }
    except OSError as exc:
        raise RebuildError(
            f"{rebuild} is not a rebuild: {exc.filename}: {exc.strerror}; make one: "
            "invoke reproduce"
        ) from exc
    except ValueError as exc:
        raise RebuildError(f"{rebuild} is not a rebuild: {exc}") from exc
    return statement, links


def _check(statement: dict[str, Any], claim: Claim) -> tuple[str, ...]:
    """Return the steps of the statement, once it is about the release and agrees with it."""
    try:
        content = statement_of(statement)
        predicate = content["predicate"]
        steps = tuple(str(step) for step in predicate["steps"])
        theirs = (
            predicate["release"]["name"],
            predicate["release"]["sequence"],
            predicate["layout"]["sha256"],
        )
        made = {subject["name"]: subject["digest"]["sha256"] for subject in content["subject"]}
    except (ValueError, KeyError, TypeError) as exc:
        raise RebuildError(f"the statement is not about a rebuild: {exc!r}") from exc
    ours = (claim.name, claim.sequence, claim.layout.hex)
    if theirs != ours:
        raise RebuildError(
            f"this is the rebuild of another release: expected name, number and layout {ours}, "
            f"got {theirs}"
        )
    differing = [
        k for k, d in made.items() if k not in claim.products or claim.products[k].hex != d
    ]
    if differing:
        raise RebuildError(f"this rebuild made other bytes than the release: {sorted(differing)}")
    return steps


def _counts(link: dict[str, Any], claim: Claim) -> bool:
    """Tell whether the layout lets the signer of a link carry out its step."""
    try:
        step, signers = payload_of(link)["name"], [entry["keyid"] for entry in link["signatures"]]
    except (ValueError, KeyError, TypeError) as exc:
        raise RebuildError(f"a link of the rebuild is malformed: {exc!r}") from exc
    return bool(claim.functionaries.get(step, frozenset()).intersection(signers))


class _Anybody:
    """Who signed, the layout and the client decide: here it is only asked with which Sigstore."""

    def verify(self, cert: Certificate) -> None:
        """Accept whoever the Sigstore has certified."""


def _verifies(link: dict[str, Any], trusted_root: str) -> bool:
    """Tell whether a trust root verifies the signatures of a link, whoever made them."""
    try:
        root = TrustedRoot(TrustedRootMessage.from_json(trusted_root))
        signed = Dsse(base64.b64decode(link["payload"]), link["payloadType"], {}).pae()
        for entry in link["signatures"]:
            Verifier(trusted_root=root).verify_artifact(
                signed, Bundle.from_json(json.dumps(entry["bundle"])), _Anybody()
            )
    except (SigstoreError, ValueError, KeyError, TypeError):
        return False
    return True


def _with(before: list[Any], added: list[Any]) -> list[Any]:
    return [*before, *(document for document in added if document not in before)]
