"""What the application's disk is, in the words that PCR 15 receives.

Source: docs/measurements.md, PCR 15; Linux, Documentation/admin-guide/device-mapper/verity.rst.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from disk.verity import VerityTree


def canonical_json(document: dict[str, Any]) -> bytes:
    """The document's one form: sorted keys, no spaces, ASCII, no newline."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode("ascii")


def describe_tree(tree: VerityTree) -> dict[str, Any]:
    """The parameters that open the disk's verity device, ready for `canonical_json`.

    The guest builds the same object from the disk's partition table and its own constants, and
    extends the SHA-256 of its canonical form before it opens the disk.
    """
    return {
        "algorithm": tree.algorithm,
        "block_size": tree.block_size,
        "data_blocks": tree.data_blocks,
        "root_hash": tree.root_hash.hex(),
        "salt": tree.salt.hex(),
    }
