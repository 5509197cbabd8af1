"""What sigstore-python leaves unread, where the library of today refuses it before we look."""

from __future__ import annotations

import pytest
from pydantic import JsonValue

from blindllama._release.unread import check_unread
from blindllama.errors import Code, ProvenanceError


@pytest.mark.parametrize(
    "signature", ["a", "YQ", "YR==", "\u00e9"], ids=["cut", "unpadded", "stray bits", "no ASCII"]
)
def test_a_checkpoint_whose_signature_is_no_base64(signature: str) -> None:
    note = f"log.example\n1\nroot\n\n\u2014 log.example {signature}\n"
    entry: dict[str, JsonValue] = {"inclusionProof": {"checkpoint": {"envelope": note}}}
    with pytest.raises(ProvenanceError) as caught:
        check_unread({}, entries=[entry], stamps=(), authorities=())
    assert (caught.value.code, caught.value.step) == (Code.BUNDLE_SIGNATURE, 2)
