"""PE images: real ones from the locked packages, and broken ones made from them."""

from __future__ import annotations

import struct
from hashlib import sha256

import pytest

from os_image.pe import PeFormatError, authenticode_sha256, section, sections
from supply_chain.inputs.tree import Bind, Tree

STUB = "usr/lib/systemd/boot/efi/linuxx64.efi.stub"


@pytest.fixture(scope="module")
def stub(tools: Tree) -> bytes:
    return (tools.root / STUB).read_bytes()


def other_opinion(tools: Tree, code: str) -> str:
    """What the pefile library says of the stub."""
    script = f"import pefile; pe = pefile.PE('/mnt/pe'); {code}"
    binds = [Bind(host=tools.root / STUB, inside="/mnt/pe")]
    return tools.run(["python3", "-c", script], binds=binds).stdout.decode()


@pytest.mark.root
def test_sections_are_those_that_another_parser_sees(tools: Tree, stub: bytes) -> None:
    said = other_opinion(
        tools,
        "[print(s.Name.rstrip(b'\\0').decode(), s.VirtualAddress, s.Misc_VirtualSize,"
        " s.PointerToRawData, s.SizeOfRawData) for s in pe.sections]",
    )
    assert [
        f"{s.name} {s.virtual_address} {len(s.content)} {s.raw_offset} {s.raw_size}"
        for s in sections(stub)
    ] == said.splitlines()


def test_a_section_is_found_by_name(stub: bytes) -> None:
    assert section(stub, ".sdmagic").content.startswith(b"#### LoaderInfo: systemd-stub")
    with pytest.raises(PeFormatError) as caught:
        section(stub, ".absent")
    assert caught.value.code == "pe.malformed"


def test_the_digest_covers_all_but_checksum_and_certificates(stub: bytes) -> None:
    (pe_offset,) = struct.unpack_from("<I", stub, 0x3C)
    optional = pe_offset + 24
    digest = authenticode_sha256(stub)
    checksum = optional + 64
    directory = optional + 112 + 32
    certificates = b"certificate table"
    changed = bytearray(stub)
    changed[checksum : checksum + 4] = b"\1\2\3\4"
    struct.pack_into("<II", changed, directory, len(stub), len(certificates))
    assert authenticode_sha256(bytes(changed) + certificates) == digest
    expected = sha256(stub[:checksum] + stub[checksum + 4 : directory] + stub[directory + 8 :])
    assert digest.bytes == expected.digest()


@pytest.mark.parametrize("where", ["first section", "after the sections"])
def test_the_digest_changes_with_the_content(stub: bytes, where: str) -> None:
    changed = bytearray(stub)
    if where == "first section":
        changed[sections(stub)[0].raw_offset] ^= 1
    else:
        changed += b"appended"
    assert authenticode_sha256(bytes(changed)) != authenticode_sha256(stub)


def test_a_section_is_zeroes_beyond_what_the_file_holds(stub: bytes) -> None:
    (pe_offset,) = struct.unpack_from("<I", stub, 0x3C)
    (optional_size,) = struct.unpack_from("<H", stub, pe_offset + 20)
    table = pe_offset + 24 + optional_size
    changed = bytearray(stub)
    raw_size = struct.unpack_from("<I", changed, table + 16)[0]
    struct.pack_into("<I", changed, table + 8, raw_size + 100)
    first = sections(bytes(changed))[0]
    assert len(first.content) == raw_size + 100
    assert first.content[raw_size:] == bytes(100)


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"MZ",
        b"ELF" + bytes(100),
        b"MZ" + bytes(58) + struct.pack("<I", 64) + b"XX\0\0" + bytes(200),
        b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + bytes(200),
        b"MZ" + bytes(58) + struct.pack("<I", 1 << 31) + b"PE\0\0",
    ],
)
def test_what_is_no_pe_image_is_refused(broken: bytes) -> None:
    for read in (sections, authenticode_sha256):
        with pytest.raises(PeFormatError) as caught:
            read(broken)
        assert caught.value.code == "pe.malformed"


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_cut_image_is_refused(stub: bytes, kept: float) -> None:
    with pytest.raises(PeFormatError) as caught:
        authenticode_sha256(stub[: int(len(stub) * kept)])
    assert caught.value.code == "pe.malformed"
