"""The TPM in motion: registers that change under a quote, a renewed certificate, a reset, its absence."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

import pytest

from deploy.qemu.vtpm import served
from os_image.guest.errors import CertificateError, TpmError
from os_image.guest.extend import extend_command
from tests.simulators.tpm_proxy import PCR_READ, QUOTE, TpmProxy, proxied

from .conftest import SoftwareTpm, make_certificate, provision, replace_certificate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from os_image.guest.tpm import Quote

pytestmark = pytest.mark.swtpm

DATA = bytes(range(32))


@pytest.fixture
def proxy(software_tpm: SoftwareTpm) -> Iterator[TpmProxy]:
    with proxied(software_tpm.tcti) as between:
        yield between


def quoted(tcti: str) -> Quote:
    from os_image.guest.tpm import Tpm  # noqa: PLC0415 - only where there is a TPM library

    tpm = Tpm(tcti)
    try:
        return tpm.quote(DATA)
    finally:
        tpm.close()


def digest_inside(quote: Quote) -> bytes:
    from tpm2_pytss import TPMS_ATTEST  # noqa: PLC0415 - only where there is a TPM library

    attest, _ = TPMS_ATTEST.unmarshal(quote.attest)
    return bytes(attest.attested.quote.pcrDigest)


def test_q5_registers_that_a_quote_races_are_quoted_again(proxy: TpmProxy) -> None:
    """An extend between quote and read: what is sent belongs together, and is the newer."""
    before = quoted(proxy.tcti)
    assert (proxy.counts[QUOTE], proxy.counts[PCR_READ]) == (1, 2)

    def once() -> Sequence[bytes]:
        del proxy.rules[PCR_READ]
        return [extend_command(13, b"meanwhile")]

    proxy.rules[PCR_READ] = once
    quote = quoted(proxy.tcti)

    assert (proxy.counts[QUOTE], proxy.counts[PCR_READ]) == (3, 6)
    assert hashlib.sha256(b"".join(quote.pcrs)).digest() == digest_inside(quote)
    changed = hashlib.sha256(before.pcrs[13] + hashlib.sha256(b"meanwhile").digest()).digest()
    assert quote.pcrs == (*before.pcrs[:13], changed, *before.pcrs[14:])


def test_q5_registers_that_never_rest_give_no_evidence(proxy: TpmProxy) -> None:
    proxy.rules[PCR_READ] = lambda: [extend_command(13, b"again")]
    with pytest.raises(TpmError) as caught:
        quoted(proxy.tcti)
    assert caught.value.code == "guest.tpm"
    assert "changed during each of 5 attempts" in str(caught.value)
    assert proxy.counts[QUOTE] == 5


@pytest.fixture
def own_tpm(tmp_path: Path) -> Path:
    """The state of a TPM that a test may spoil."""
    state = tmp_path / "swtpm"
    state.mkdir()
    with served(state) as tcti:
        provision(tcti, make_certificate("first"), make_certificate("intermediate"))
    return state


def test_the_certificate_is_read_anew_for_each_quote(own_tpm: Path) -> None:
    """Azure renews it: an index of another size, zero-padded, takes the place of the old one."""
    from os_image.guest.tpm import Tpm  # noqa: PLC0415 - only where there is a TPM library

    renewed = make_certificate("a longer name, so that not only the content is another")
    with served(own_tpm) as tcti:
        tpm = Tpm(tcti)
        first = tpm.quote(DATA).certificate
        replace_certificate(tcti, renewed.ljust(2048, b"\0"))
        assert tpm.quote(DATA).certificate == renewed != first
        replace_certificate(tcti, bytes(512))
        with pytest.raises(CertificateError) as caught:
            tpm.quote(DATA)
        assert caught.value.code == "guest.certificate"
        tpm.close()


def test_b10_resets_are_counted_and_reported(own_tpm: Path) -> None:
    counts = []
    for _ in range(3):
        with served(own_tpm) as tcti:
            quote = quoted(tcti)
            counts.append((quote.reset_count, quote.restart_count))
    first = counts[0][0]
    assert counts == [(first, 0), (first + 1, 0), (first + 2, 0)]


def test_a_tpm_that_was_gone_is_used_again(proxy: TpmProxy) -> None:
    from os_image.guest.quoter import Quoter  # noqa: PLC0415 - only where there is a TPM library

    async def scenario() -> None:
        quoter = Quoter(proxy.tcti)
        await quoter.open(patience_s=0)
        assert digest_inside(await quoter.quote(DATA))
        proxy.gone = True
        for _ in range(2):
            with pytest.raises(TpmError) as caught:
                await quoter.quote(DATA)
            assert caught.value.code == "guest.tpm"
        proxy.gone = False
        assert digest_inside(await quoter.quote(DATA))
        quoter.close()

    asyncio.run(scenario())
    assert proxy.counts[QUOTE] == 2
