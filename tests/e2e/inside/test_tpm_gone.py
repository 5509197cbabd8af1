"""A guest whose TPM goes: it gives no evidence any more, so nobody sends it a prompt.

Last among the tests of the guest that may be broken: a software TPM does not come back.
"""

from __future__ import annotations

import http.client

import pytest

from blindllama import Error
from tests.e2e.inside.inspected import Inspected
from tests.e2e.inside.test_faults import attestation_status
from tests.simulators import power

pytestmark = pytest.mark.e2e


def test_a_guest_that_loses_its_tpm_gives_no_evidence(inspected: Inspected) -> None:
    """The service goes on saying so, and takes nothing that it had quoted before."""
    assert attestation_status(inspected.guest.url)[0] == http.client.OK
    power.kill_tpm(inspected.guest)
    for _ in range(2):
        assert attestation_status(inspected.guest.url) == (http.client.SERVICE_UNAVAILABLE, "1")
    with pytest.raises(Error):
        inspected.connect()
