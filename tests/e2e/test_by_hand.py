"""docs/by-hand.md against a booted guest: all ten checks without a line of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.qemu import vm
from standing import Published
from tests.docs.by_hand import by_hand
from tests.simulators.relay import relaying

pytestmark = pytest.mark.e2e


def test_all_ten(published: Published, guest: vm.Guest, tmp_path: Path) -> None:
    done = by_hand(published.folder, published.policy, where=tmp_path / "work", url=guest.url)
    assert done.returncode == 0, done.stderr
    # The answer to the page's question comes last, and may be of several lines.
    _, predicted, answer = done.stdout.partition("12 registers as predicted")
    assert predicted
    assert "Paris" in answer


def test_a_relay_is_found_out(published: Published, guest: vm.Guest, tmp_path: Path) -> None:
    with relaying(guest.url) as relay:
        done = by_hand(published.folder, published.policy, where=tmp_path / "work", url=relay.url)
    assert done.returncode != 0
    assert "peer-spki.der spki.der differ" in done.stdout
    assert relay.attestations == 1
    assert relay.application == []


def test_a_root_that_nobody_pinned(published: Published, guest: vm.Guest, tmp_path: Path) -> None:
    text = published.policy.read_text("utf-8")
    start = text.index("roots = [")
    policy = tmp_path / "policy.toml"
    policy.write_text(
        text[:start] + f'roots = ["{"00" * 32}"]' + text[text.index("]", start) + 1 :]
    )
    done = by_hand(published.folder, policy, where=tmp_path / "work", url=guest.url)
    assert done.returncode != 0
    written = {path.name for path in (tmp_path / "work" / "by-hand").iterdir()}
    assert "vtpm-root.pem" in written
    assert "ak.pem" not in written
