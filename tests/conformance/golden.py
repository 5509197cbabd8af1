"""Make the golden files of the binding: `python -m tests.conformance.golden`.

The client and the guest implement the nonce tree and the qualifying data apart from each other;
the tests of both read these files. They are made from the definitions, by neither of them.
"""

from __future__ import annotations

import json
from typing import Any

from tests.conformance.corpus import HOME
from tests.simulators.booted_guest import bound, sha256, text, tree

GOLDEN = HOME.parent / "golden"
SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 13)


def golden_files() -> dict[str, bytes]:
    """Name and content of each golden file."""
    return {
        "nonce-tree.json": _text([_tree_case(size) for size in SIZES]),
        "qualifying-data.json": _text([_binding_case(number) for number in range(4)]),
    }


def _tree_case(size: int) -> dict[str, Any]:
    nonces = [_bytes(f"nonce {number} of {size}") for number in range(size)]
    paths = [[text(sibling) for sibling in tree(nonces, index)[1]] for index in range(size)]
    return {
        "nonces": [text(nonce) for nonce in nonces],
        "root": text(tree(nonces, 0)[0]),
        "paths": paths,
    }


def _binding_case(number: int) -> dict[str, str]:
    spki, root = _bytes(f"key {number}") * (number + 1), _bytes(f"root {number}")
    return {"spki": text(spki), "root": text(root), "qualifying_data": text(bound(spki, root))}


def _bytes(name: str) -> bytes:
    return sha256(b"blindllama golden file: " + name.encode())


def _text(cases: list[Any]) -> bytes:
    return (json.dumps(cases, indent=1) + "\n").encode()


def main() -> None:
    """Write the golden files."""
    for name, data in golden_files().items():
        (GOLDEN / name).write_bytes(data)


if __name__ == "__main__":
    main()
