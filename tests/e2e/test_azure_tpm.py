"""A guest whose TPM holds what Azure's does: a certificate that ends in zeros, and no issuer.

It is the release's own TPM otherwise, so the issuers in the image are of no use to it: it sends
none, as a machine does whose issuer is newer than its image. The client's policy brings them.
"""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Iterator
from dataclasses import replace

import pytest

from blindllama import Policy, VerificationError, verify_and_connect
from blindllama.errors import Code
from building_site import Site
from deploy.qemu import release as deployed
from deploy.qemu import vm, vtpm
from standing import Published
from supply_chain.process import run
from tests.e2e.raw import claimed_evidence

pytestmark = pytest.mark.e2e

INDEX_BYTES = 2048
"""Azure's is padded to 4096; this software TPM has no larger index."""


@pytest.fixture(scope="module")
def azure_like(
    site: Site, published: Published, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[vm.Guest]:
    """The release on a machine whose TPM was emptied as far as Azure's is empty."""
    assert published.folder.is_dir()
    folder = tmp_path_factory.mktemp("azure-tpm")
    parts = deployed.release_parts(site.workspace, now=site.clock())
    state = vtpm.copy_state(parts.tpm, folder / "state")
    padded = folder / "certificate"
    padded.write_bytes(parts.tpm.ak_certificate.ljust(INDEX_BYTES, b"\0"))
    with vtpm.served(state) as tcti:
        certificate, issuers = hex(vtpm.AK_CERTIFICATE_INDEX), hex(vtpm.ISSUERS_INDEX)
        for argv in (
            ["tpm2_nvundefine", "-Q", issuers, "-C", "o"],
            ["tpm2_nvundefine", "-Q", certificate, "-C", "o"],
            # Nobody but the owner may read it, unlike where it was.
            [
                *("tpm2_nvdefine", "-Q", certificate, "-C", "o"),
                *("-s", str(INDEX_BYTES), "-a", "ownerwrite|ownerread|no_da"),
            ],
            ["tpm2_nvwrite", "-Q", certificate, "-C", "o", "-i", str(padded)],
            ["tpm2_shutdown", "--clear"],
        ):
            run(argv, env={"TPM2TOOLS_TCTI": tcti}, timeout_s=60)
    parts = replace(parts, tpm=replace(parts.tpm, state=state))
    guest = vm.boot(folder / "guest", parts, now=site.clock(), progress=site.progress)
    try:
        yield guest
    finally:
        vm.down(guest.directory)


def test_c4_the_certificate_is_cut_and_no_issuer_is_sent(azure_like: vm.Guest, site: Site) -> None:
    tpm = vtpm.provision(site.workspace.state, now=site.clock())
    sent = json.loads(claimed_evidence(azure_like.url, bytes(range(32))).document)["ak"]
    assert base64.b64decode(sent["certificate"]) == tpm.ak_certificate
    assert sent["intermediates"] == []


def test_without_issuers_it_is_refused(azure_like: vm.Guest, published: Published) -> None:
    with pytest.raises(VerificationError) as caught:
        verify_and_connect(azure_like.url, release=published.evidence, policy=published.policy)
    assert caught.value.code is Code.AK_CHAIN_LENGTH


def test_with_the_policy_s_issuers_all_ten_checks_pass(
    azure_like: vm.Guest, published: Published, site: Site
) -> None:
    tpm = vtpm.provision(site.workspace.state, now=site.clock())
    pems = [ssl.DER_cert_to_PEM_cert(der) for der in (tpm.intermediate, tpm.root)]
    policy = Policy.from_file(published.policy).with_issuers(pems)
    with verify_and_connect(azure_like.url, release=published.evidence, policy=policy) as session:
        assert session.report.passed
        assert session.report.checks[6].detail["issuers of the policy"] == "2"
        assert session.completion("The capital of France is", max_tokens=2)
