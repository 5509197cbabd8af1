"""The whole packet filter of a guest, as `invoke network.show` prints it, and that it is measured."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from disk.erofs import build_erofs
from disk.verity import build_verity, verity_salt
from os_image.own_files import write_guest
from os_image.packet_filter import effective_rules
from os_image.predict import pcr09
from os_image.spec import SPEC_NAME, read_spec
from supply_chain.errors import CommandError
from supply_chain.inputs.lock import Lock
from supply_chain.inputs.store import Store
from supply_chain.inputs.tree import Tree
from supply_chain.workspace import EPOCH
from tests.conftest import locked_tree

FIREWALL = Path("etc/blindllama/firewall.nft")
VOLUME = UUID(int=1)


@pytest.fixture(scope="module")
def guest_tree(lock: Lock, store: Store) -> Tree:
    """The guest's own packages."""
    return locked_tree("rootfs", lock, store)


def test_both_parts_are_in_force_together(guest_tree: Tree) -> None:
    listed = effective_rules(
        "# a comment\nadd element inet blindllama routes { 10.89.0.10 . 8080 }\n", guest=guest_tree
    )
    assert "elements = { 10.89.0.10 . 8080 }" in listed
    assert listed.count("policy drop;") == 5
    assert "meta skuid 200 ct state new ip daddr . tcp dport @routes accept" in listed


def test_rules_that_the_kernel_does_not_take_are_an_error(guest_tree: Tree) -> None:
    with pytest.raises(CommandError, match="No such file or directory"):
        effective_rules("add element inet other routes { 10.89.0.10 . 8080 }\n", guest=guest_tree)


def _command_line(root: Path, tools: Tree, work: Path, checkout: Path) -> bytes:
    """What the first event of register 9 is the digest of, for an image with this root."""
    work.mkdir()
    image, hashes = work / "image", work / "hashes"
    build_erofs(root, image, tools=tools, uuid=VOLUME, epoch=EPOCH)
    tree = build_verity(image, hashes, tools=tools, salt=verity_salt("root"))
    spec = read_spec(checkout / "os_image" / SPEC_NAME)
    line = spec.command_line(root_hash=tree.root_hash, data_blocks=tree.data_blocks)
    return pcr09.load_options(line.encode("ascii"))


def test_another_packet_filter_in_the_image_is_another_command_line_in_pcr_9(
    checkout: Path, tools: Tree, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    write_guest(root)
    before = _command_line(root, tools, tmp_path / "one", checkout)
    rules = (root / FIREWALL).read_text()
    (root / FIREWALL).write_text(rules.replace("ingress_port = 443", "ingress_port = 444"))
    after = _command_line(root, tools, tmp_path / "two", checkout)
    assert len(before) == len(after)
    assert before != after
