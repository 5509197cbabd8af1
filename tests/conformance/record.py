"""Record what only a TPM and a signer can make: `python -m tests.conformance.record`.

Needs swtpm and tpm2-pytss. Everything is new on each run (keys, nonce, certificates), so run it
only when a wire form changes; then make the cases again with `python -m tests.conformance.cases`.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tests.conformance.corpus import HOME
from tests.conformance.vector import Case, write_case
from tests.simulators.ak_authority import NOW, Issuer, new_root
from tests.simulators.attested_server import TlsKey
from tests.simulators.booted_guest import (
    BootedGuest,
    Papers,
    boot,
    bound,
    encode,
    expected_pcrs,
    text,
    tree,
)
from tests.simulators.forged_chain import deep_chain, forged_chains
from tests.simulators.forgery import forgeries
from tests.simulators.odd_quote import odd_quotes
from tests.simulators.swtpm import SoftwareTpm, software_tpm

GOLDEN = HOME.parent / "golden"

SCHEMES = (
    ("rsa2048", "rsassa-sha384"),
    ("rsa2048", "rsapss-sha256"),
    ("rsa2048", "rsapss-sha384"),
    ("rsa3072", "rsassa-sha256"),
    ("ecc256", "ecdsa-sha256"),
    ("ecc384", "ecdsa-sha384"),
)
"""Keys and schemes of attestation keys, besides RSA 2048 with RSASSA and SHA-256."""


def main() -> None:
    """Write what the caller brings, the genuine documents, and what an attacker's keys sign."""
    nonce, spki, root = secrets.token_bytes(32), TlsKey().spki, new_root()
    case = Case(
        nonce=nonce,
        spki=spki,
        roots=frozenset({root.fingerprint}),
        now=NOW,
        platform=expected_pcrs().platform,
        expected=expected_pcrs(),
    )
    write_case(case, HOME / "given" / "evidence.json")
    write_case(case, GOLDEN / "evidence-v1.case.json")
    with software_tpm() as tpm:
        _record_genuine(tpm, case, root)
    for key, scheme in SCHEMES:
        with software_tpm(scheme, key) as tpm:
            boot(tpm)
            guest = BootedGuest(quoter=tpm, papers=Papers.of(tpm, root), spki=spki)
            _write(f"documents/{key}-{scheme}", guest.document(nonce))
    data = bound(spki, tree([nonce], 0)[0])
    with software_tpm() as tpm:
        guest = BootedGuest(quoter=tpm, papers=Papers.of(tpm, root), spki=spki)
        statements = [*forgeries(tpm, guest, data), *odd_quotes(root, spki, data)]
    forged = {name: {"code": code.value, "document": made} for name, code, made in statements}
    _write("recorded/statements", forged)


def _record_genuine(tpm: SoftwareTpm, case: Case, root: Issuer) -> None:
    boot(tpm)
    guest = BootedGuest(quoter=tpm, papers=Papers.of(tpm, root), spki=case.spki)
    others = [secrets.token_bytes(32) for _ in range(4)]
    _write("documents/alone", guest.document(case.nonce))
    _write("documents/first-of-five", guest.document(case.nonce, others=others, index=0))
    _write("documents/promoted-of-five", guest.document(case.nonce, others=others, index=4))
    _write("documents/without-event-log", replace(guest, log=b"").document(case.nonce))
    deep = deep_chain(root, tpm.public_key, intermediates=3)
    papers = Papers(leaf=deep[0], issuers=tuple(deep[1:]), root=root.fingerprint)
    _write("documents/three-intermediates", replace(guest, papers=papers).document(case.nonce))
    (GOLDEN / "evidence-v1.json").write_bytes(encode(guest.document(case.nonce)) + b"\n")
    chains = {
        name: {"code": code.value, "attack": attack, "chain": [text(der) for der in chain]}
        for name, attack, code, chain in forged_chains(root, tpm.public_key)
    }
    _write("recorded/chains", chains)


def _write(name: str, document: Mapping[str, Any]) -> None:
    path = HOME / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    data = encode(document) if name.startswith("documents/") else json.dumps(document).encode()
    path.write_bytes(data + b"\n")


if __name__ == "__main__":
    main()
