from __future__ import annotations

import pytest

from supply_chain import errors
from supply_chain.digest import sha256_bytes

CODES = {
    "BuildError": "build",
    "BootError": "build.boot",
    "CommandError": "build.command",
    "DigestMismatchError": "build.digest_mismatch",
    "FetchError": "build.fetch",
    "LockError": "build.lock",
    "MissingToolError": "build.missing_tool",
    "NotReproducibleError": "build.not_reproducible",
}


def test_the_tree_of_the_docstring_is_the_tree_of_the_module() -> None:
    found = {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.BuildError)
    }
    assert {name: value.code for name, value in found.items()} == CODES
    assert errors.__doc__ is not None
    assert all(name in errors.__doc__ for name in found)


def test_a_wrong_digest_names_the_input_and_both_digests() -> None:
    error = errors.DigestMismatchError("thing.deb", sha256_bytes(b"a"), sha256_bytes(b"b"))
    assert str(error) == (
        f"thing.deb has the wrong content: expected {sha256_bytes(b'a')}, got {sha256_bytes(b'b')}"
    )
    assert (error.name, error.expected, error.got) == (
        "thing.deb",
        sha256_bytes(b"a"),
        sha256_bytes(b"b"),
    )


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (errors.MissingToolError("qemu"), "qemu is not installed"),
        (
            errors.MissingToolError("swtpm_setup", "swtpm-tools"),
            "swtpm_setup is not installed; run: apt-get install --no-install-recommends swtpm-tools",
        ),
        (errors.MissingToolError("a, b", remedy="do this"), "a, b is not installed; run: do this"),
    ],
)
def test_a_missing_tool_says_what_to_run(error: errors.MissingToolError, text: str) -> None:
    assert str(error) == text
