"""Record a signed release and what a liar with a signer's rights signs.

`python -m tests.conformance.record_release`; everything is new on each run, so run it only when a
wire form changes; then make the cases again with `python -m tests.conformance.cases`.

A lie is as small as it can be: of the documents that differ from the honest ones, those without
which the evidence is refused for the same reason are left out.
"""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509

from blindllama.errors import Code
from tests.conformance.corpus import HOME, edited
from tests.conformance.subject import answer
from tests.simulators.release_attacks import OTHER
from tests.simulators.signed_release import Hooks, make_signed_release
from tests.unit.sdk.release import test_signed_chain, test_signed_statements

Json = dict[str, Any]


def main() -> None:
    """Write the release, what its caller brings, and the lies."""
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as other:
        state = Path(name)
        now = datetime.now(UTC)
        honest = make_signed_release(state, now=now)
        evidence: Json = json.loads(honest.evidence)
        _write("documents/release", evidence)
        given = {
            "policy": honest.policy.model_dump(
                mode="json", exclude_none=True, exclude_defaults=True
            ),
            "now": honest.now.isoformat(),
            "known_sequence": 1,
        }
        _write("given/release", given)
        stranger = make_signed_release(Path(other), now=now)
        _write("recorded/stranger", {"trusted_root": stranger.policy.sigstore.trusted_root})
        lies = {}
        for title, code, step, hooks in _signed_lies():
            liar = make_signed_release(state, now=now, hooks=hooks)
            parts = dict(_other_parts(evidence, json.loads(liar.evidence)))
            lies[title] = {
                "code": code.value,
                "step": step,
                "parts": _smallest(evidence, parts, given, (step, code.value)),
            }
        _write("recorded/lies", lies)


def _signed_lies() -> Iterator[tuple[str, Code, int, Hooks]]:
    for table in (test_signed_statements.SIGNED, test_signed_chain.SIGNED):
        for title, (code, step, hooks) in table.items():
            yield title, code, step, hooks
    for what in ("provenance:measure", "link:engine"):
        title = f"S1 another identity signs {what.replace(':', ' of ')}"
        step = 3 if what.startswith("link") else 2
        yield title, Code.BUNDLE_IDENTITY, step, Hooks(identities={what: OTHER})


def _other_parts(honest: Json, liar: Json) -> Iterator[tuple[str, Json]]:
    """Place and document of each part that another payload is in, or another signer of it."""
    for place, theirs in _parts(liar):
        ours = dict(_parts(honest)).get(place)
        if ours is None or _said(ours) != _said(theirs):
            yield place, theirs


def _smallest(honest: Json, parts: Json, given: Json, why: tuple[int, str]) -> Json:
    for place in sorted(parts, key=lambda name: len(parts[name]), reverse=True):
        fewer = {name: part for name, part in parts.items() if name != place}
        request = {
            "verify": "release",
            "document": base64.b64encode(json.dumps(edited(honest, fewer)).encode()),
            "given": given,
        }
        verdict = answer(request)
        if (verdict.get("step"), verdict.get("code")) == why:
            parts = fewer
    return parts


def _parts(evidence: Json) -> Iterator[tuple[str, Json]]:
    for name in ("index", "measurements", "layout"):
        yield name, evidence[name]
    for name in ("provenance", "links"):
        for number, part in enumerate(evidence[name]):
            yield f"{name}.{number}", part


def _said(part: Json) -> object:
    """The payload, and who signed it: by certificate, the identity; by an owner, the key."""
    if "dsseEnvelope" in part:
        return part["dsseEnvelope"]["payload"], _identity(part)
    signature = part["signatures"][0]
    bundle = signature.get("bundle")
    return part["payload"], signature["keyid"], _identity(bundle) if bundle else None


def _identity(bundle: Json) -> bytes:

    der = base64.b64decode(bundle["verificationMaterial"]["certificate"]["rawBytes"])
    names = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    return names.value.public_bytes()


def _write(name: str, document: object) -> None:
    path = HOME / f"{name}.json"
    path.write_text(json.dumps(document, separators=(",", ":")) + "\n", "utf-8")


if __name__ == "__main__":
    main()
