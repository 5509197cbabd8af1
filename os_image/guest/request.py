"""A caller's request, parsed strictly: 32 bytes of nonce or a refusal.

Source: docs/verification.md, step 6 (request of the wire version 1).
"""

import base64
import binascii
import json
from typing import Never

from os_image.guest.errors import RequestError
from os_image.guest.nonce_tree import NONCE_SIZE

BODY_LIMIT = 4096
"""Bytes; a correct body has less than 100."""


def parse_nonce(body: bytes) -> bytes:
    """The nonce of a request body `{"nonce": "<base64 of 32 bytes>"}`.

    Raises:
        RequestError: The body has another form, another member, or a nonce of another size.
    """
    try:
        document = json.loads(
            body.decode("utf-8"), object_pairs_hook=_object, parse_constant=_refuse
        )
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise RequestError("The body is not JSON in UTF-8.") from error
    if not isinstance(document, dict) or document.keys() != {"nonce"}:
        raise RequestError('The body must be an object with the one member "nonce".')
    return _decode(document["nonce"])


def _decode(text: object) -> bytes:
    if not isinstance(text, str):
        raise RequestError("The nonce must be a string.")
    try:
        nonce = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise RequestError("The nonce is not base64.") from error
    # Only one spelling of a nonce exists: no stray bits, no missing or additional padding.
    if len(nonce) != NONCE_SIZE or base64.b64encode(nonce).decode("ascii") != text:
        raise RequestError(f"The nonce must be {NONCE_SIZE} bytes in canonical base64.")
    return nonce


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise RequestError("A member of the body appears twice.")
    return dict(pairs)


def _refuse(_: str) -> Never:
    raise RequestError("The body holds a number that JSON does not know.")
