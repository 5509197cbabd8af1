"""What attestation costs once it is done: requests and first tokens, against stock clients.

Both sides of each pair talk to the same simulated guest over connections that they keep. The stock
client trusts the guest's certificate by its file, and asks for nothing more.
"""

from __future__ import annotations

import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import openai
import requests

from blindllama.session import AttestedSession
from tests.bench.paired import Bench, timed
from tests.simulators.attested_client import new_session
from tests.simulators.attested_server import Server, TlsKey, attested_server
from tests.simulators.booted_guest import BootedGuest, Papers, boot
from tests.simulators.openai_server import MODEL, OpenAiServer
from tests.simulators.software_ak import SoftwareAk, SoftwareQuoter

REQUEST_GOAL = 1.03
TOKEN_GOAL_S = 0.002
ROUNDS = 401
BODY = {"model": MODEL, "prompt": "Once upon a time", "max_tokens": 8}
STREAM = {**BODY, "stream": True}
PATH = "/v1/completions"


@contextmanager
def _deployed() -> Iterator[tuple[Server, AttestedSession, Path]]:
    """A guest, a session with it, and the file of its certificate."""
    key, quoter = TlsKey(), SoftwareQuoter(ak=SoftwareAk.make_rsa())
    boot(quoter)
    guest = BootedGuest(quoter=quoter, papers=Papers.of(quoter), spki=key.spki)
    with (
        tempfile.TemporaryDirectory() as folder,
        attested_server(guest, key) as server,
        new_session(server.url, guest.papers.root) as session,
    ):
        certificate = Path(folder) / "guest.pem"
        certificate.write_bytes(key.certificate_pem)
        server.application = OpenAiServer(server)
        yield server, session, certificate


def _plain(certificate: Path) -> requests.Session:
    session = requests.Session()
    session.verify = str(certificate)
    session.trust_env = False
    return session


@contextmanager
def request() -> Iterator[Bench]:
    """A whole request through the attested session, against one of requests."""
    with _deployed() as (server, session, certificate), _plain(certificate) as plain:
        yield Bench(
            name="attested request, against plain requests",
            subject=timed(lambda: session.post(PATH, json=BODY).json()),
            baseline=timed(lambda: plain.post(server.url + PATH, json=BODY).json()),
            at_most_ratio=REQUEST_GOAL,
            rounds=ROUNDS,
        )


@contextmanager
def token() -> Iterator[Bench]:
    """The first token of a stream through the attested session, against requests."""
    with _deployed() as (server, session, certificate), _plain(certificate) as plain:

        def first(client: requests.Session, url: str) -> float:
            start = time.perf_counter()
            with client.post(url, json=STREAM, stream=True) as answer:
                chunks = answer.iter_content(chunk_size=None)
                next(chunks)
                took = time.perf_counter() - start
                list(chunks)
            return took

        yield Bench(
            name="first token, against plain requests",
            subject=lambda: first(session, PATH),
            baseline=lambda: first(plain, server.url + PATH),
            at_most_more_s=TOKEN_GOAL_S,
            rounds=ROUNDS,
        )


@contextmanager
def openai_token() -> Iterator[Bench]:
    """The first token through `session.openai()`, against the stock client."""
    with _deployed() as (server, session, certificate), ExitStack() as stack:
        trusted = ssl.create_default_context(cafile=str(certificate))
        stock = stack.enter_context(
            openai.OpenAI(
                base_url=f"{server.url}/v1",
                api_key="none",
                max_retries=0,
                http_client=httpx2.Client(verify=trusted, trust_env=False),
            )
        )
        ours = stack.enter_context(session.openai())

        def first(client: openai.OpenAI) -> float:
            start = time.perf_counter()
            stream = client.completions.create(model=MODEL, prompt="Once", stream=True)
            next(stream)
            took = time.perf_counter() - start
            list(stream)
            return took

        yield Bench(
            name="first token, against stock openai",
            subject=lambda: first(ours),
            baseline=lambda: first(stock),
            at_most_more_s=TOKEN_GOAL_S,
            rounds=ROUNDS,
        )
