"""A private Sigstore on loopback that stock clients sign against and verify with.

`running(state)` starts it for the length of a block: an OpenID Connect issuer, a certificate
authority with certificate transparency (Fulcio), a transparency log (Rekor, versions 1 and 2) and
a time stamp authority (RFC 3161). See docs/adr/0002-local-sigstore.md for what it is and is not.
"""

from supply_chain.local_sigstore.github import WorkflowRun
from supply_chain.local_sigstore.instance import LocalSigstore, running
from supply_chain.local_sigstore.keys import LocalSigstoreError

__all__ = ["LocalSigstore", "LocalSigstoreError", "WorkflowRun", "running"]
