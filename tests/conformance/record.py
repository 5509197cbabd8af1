"""Record the vectors that only a TPM can make: `python -m tests.conformance.record`.

Needs swtpm and tpm2-pytss. Everything is new on each run (keys, nonce, certificates), so run it
only when the wire form changes; then make the reject vectors again with `tests.conformance.mutate`.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import replace

from tests.conformance.vector import HOME, Case, write_case
from tests.simulators.ak_authority import NOW, new_root
from tests.simulators.attested_server import TlsKey
from tests.simulators.booted_guest import (
    BootedGuest,
    Papers,
    boot,
    bound,
    encode,
    expected_pcrs,
    tree,
)
from tests.simulators.forgery import forgeries
from tests.simulators.swtpm import software_tpm

GOLDEN = HOME.parent / "golden"


def main() -> None:
    """Write case, accept, forged, and the golden document that the guest's tests read too."""
    nonce, spki, root = secrets.token_bytes(32), TlsKey().spki, new_root()
    case = Case(
        nonce=nonce,
        spki=spki,
        roots=frozenset({root.fingerprint}),
        now=NOW,
        platform=expected_pcrs().platform,
        expected=expected_pcrs(),
    )
    write_case(case)
    write_case(case, GOLDEN / "evidence-v1.case.json")
    with software_tpm() as tpm:
        boot(tpm)
        guest = BootedGuest(quoter=tpm, papers=Papers.of(tpm, root), spki=spki)
        others = [secrets.token_bytes(32) for _ in range(4)]
        _write("accept/alone", guest.document(nonce))
        _write("accept/first-of-five", guest.document(nonce, others=others, index=0))
        _write("accept/promoted-of-five", guest.document(nonce, others=others, index=4))
        _write("accept/without-event-log", replace(guest, log=b"").document(nonce))
        (GOLDEN / "evidence-v1.json").write_bytes(encode(guest.document(nonce)) + b"\n")
    with software_tpm() as tpm:
        guest = BootedGuest(quoter=tpm, papers=Papers.of(tpm, root), spki=spki)
        codes = {}
        for name, code, document in forgeries(tpm, guest, bound(spki, tree([nonce], 0)[0])):
            _write(f"forged/{name}", document)
            codes[name] = code.value
    text = json.dumps(codes, indent=1, sort_keys=True) + "\n"
    (HOME / "forged" / "cases.json").write_text(text)


def _write(name: str, document: object) -> None:
    path = HOME / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(encode(document) + b"\n")


if __name__ == "__main__":
    main()
