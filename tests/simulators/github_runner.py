"""A job on GitHub: its environment, and the address on loopback that hands out its tokens."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from supply_chain.local_sigstore import WorkflowRun
from supply_chain.local_sigstore.exchange import RefusedError, Request, Response, json_response
from supply_chain.local_sigstore.server import HttpServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supply_chain.local_sigstore import LocalSigstore

RUN = WorkflowRun(
    repository="owner/models",
    workflow=".github/workflows/release.yml",
    ref="refs/tags/v1.0.0",
    commit="1" * 40,
    builder="builders/blindllama/.github/workflows/build.yml@refs/tags/v2",
    builder_commit="2" * 40,
)
BEARER = "the job's own word"


@contextlib.contextmanager
def github_job(instance: LocalSigstore, run: WorkflowRun = RUN) -> Iterator[dict[str, str]]:
    """The variables of a job that may ask for identity tokens, while they are answered.

    Args:
        instance: Plays GitHub's issuer.
        run: The job.
    """

    def give(request: Request) -> Response:
        if request.headers.get("authorization") != f"bearer {BEARER}":
            raise RefusedError(401, "wrong bearer")
        if request.query.get("audience") != "sigstore":
            raise RefusedError(400, "wrong audience")
        return json_response({"value": str(instance.workflow_token(run))})

    with HttpServer({("GET", "/token"): give}) as server:
        yield {
            "GITHUB_ACTIONS": "true",
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{server.url}/token?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": BEARER,
        }
