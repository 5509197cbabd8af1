"""All ten checks, then a `requests.Session` that talks to the verified guest and to nothing else.

    session = verify_and_connect("https://127.0.0.1:8443", release=…, policy=…)
    print(session.completion("The capital of France is", max_tokens=8))

Clock, randomness and the memory of releases are arguments; nothing is read from the environment.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import requests

from blindllama._adapter import AttestedAdapter
from blindllama._attestor import Attestor
from blindllama._carrier import ANSWER_TIMEOUT_S, Carrier
from blindllama._channel import Origin, parse_address, parse_origin
from blindllama._clients import Clients
from blindllama._completion import (
    CHAT_PATH,
    COMPLETIONS_PATH,
    chat_request,
    chat_texts,
    completion_request,
    completion_texts,
)
from blindllama._memory import ReleaseMemory
from blindllama._models import MODELS_LIMIT_BYTES, MODELS_PATH, model_names
from blindllama._status import require_ok
from blindllama._verdict import ReleaseSource
from blindllama.errors import UsageError, VerificationError
from blindllama.policy import Policy
from blindllama.release import VerifiedRelease
from blindllama.report import Report
from blindllama.repository import Repository

__all__ = ["MAX_EVIDENCE_AGE_S", "AttestedSession", "verify_and_connect"]

MAX_EVIDENCE_AGE_S = 300.0
"""How long one quote is good for, in seconds, unless the caller says otherwise.

The TLS key lives in the guest's memory only and dies with it, so age does not weaken the binding.
What it bounds is how long a guest goes on being trusted after something was extended, or after
its root or release was given up. A quote costs the TPM about half a second: five minutes make that
cost invisible and stay well below the time in which people react to an incident.
"""

_MOST_SECONDS = 86_400.0
"""The longest time that an argument may ask for."""


def verify_and_connect(  # noqa: PLR0913 - each argument is a separate decision of the caller
    url: str,
    *,
    release: Path | str | bytes | Repository,
    address: str | None = None,
    policy: Policy | Path | str | None = None,
    now: Callable[[], datetime] | None = None,
    timeout_s: float = 30.0,
    memory: Path | None = None,
    known: Iterable[Path | str | bytes] = (),
    max_evidence_age_s: float = MAX_EVIDENCE_AGE_S,
    randomness: Callable[[int], bytes] = secrets.token_bytes,
) -> AttestedSession:
    """Return a session with the guest at `url` after all ten checks have passed.

    Args:
        url: `https://HOST[:PORT]` of the guest.
        release: The release's `evidence.json`: its path, or its bytes; or a `Repository`, which
            gives the newest, and is asked again when what it said has expired.
        address: The IP address of the guest, in place of what the name in `url` resolves to: for a
            guest without a DNS entry, or one of several behind a name. The name stays in the
            requests; what is trusted is the attested key, whatever the address.
        policy: What you trust: a policy, or the path of its TOML file. Only with a repository it
            may be left out, for the repository's own: its root is then all that you trust.
        now: The clock, with a time zone; the system's by default. It is asked again whenever
            evidence is renewed.
        timeout_s: Seconds for a connection, and for one exchange of evidence.
        memory: A file that remembers the newest release accepted, so that no older one is.
        known: Evidence files of other releases. They decide nothing: when the guest runs something
            else, the refusal says so if it is one of these.
        max_evidence_age_s: Seconds after which evidence is renewed before the next request.
        randomness: Where nonces come from: a number of bytes to that many random bytes.

    Raises:
        VerificationError: a check failed; `code`, `step` and `report` say which and why. No
            byte of the application was sent.
        NetworkError: the guest, or the repository, was not reached.
        UsageError: an argument that can never be right.
    """
    _check_seconds("timeout_s", timeout_s)
    _check_seconds("max_evidence_age_s", max_evidence_age_s)
    clock = _system_clock if now is None else now
    report = Report(clock=time.perf_counter)
    try:
        origin = parse_origin(url)
        where = None if address is None else parse_address(address)
    except VerificationError as exc:
        exc.report = report
        raise
    remembered = None if memory is None else ReleaseMemory(memory)
    source = ReleaseSource(
        release=release,
        policy=policy,
        memory=remembered,
        known=tuple(known),
        max_evidence_age=timedelta(seconds=max_evidence_age_s),
    )
    verdict = source.verdict(clock(), report)
    attestor = Attestor(
        origin,
        verdict,
        clock=clock,
        randomness=randomness,
        timeout_s=timeout_s,
        elapsed=time.monotonic,
        renew=source.renewed if source.renewable else None,
    )
    session = AttestedSession(origin, attestor, timeout_s=timeout_s, address=where)
    try:
        session.attest()
        if remembered is not None:
            remembered.remember(verdict.line, verdict.release.sequence)
    except BaseException:
        session.close()
        raise
    return session


class AttestedSession(Clients, requests.Session):
    """A `requests.Session` for one verified guest; `verify_and_connect` makes it.

    URLs may be given as paths: `session.post("/v1/completions", json={…})`. Before each request
    the evidence is renewed if it has expired, on the same connection. Every failure is a
    `blindllama.Error`; only reading a streamed response by hand can raise those of `requests`.

    `verify` and `cert` mean nothing here, since the attested key takes their place; proxies and
    further adapters are refused.
    """

    def __init__(
        self, origin: Origin, attestor: Attestor, *, timeout_s: float, address: str | None = None
    ) -> None:
        """Prepare a session in which nothing is attested yet."""
        self._sealed = False
        super().__init__()
        self.trust_env = False
        self.headers["Accept-Encoding"] = "identity"  # compression would leak lengths
        self._origin = origin
        self._attestor = attestor
        self._carrier = Carrier(origin, attestor, timeout_s=timeout_s, address=address)
        self._adapter = AttestedAdapter(self._carrier.pool)
        for adapter in self.adapters.values():
            adapter.close()
        self.adapters.clear()
        self.mount(f"{origin.url}/", self._adapter)
        self._sealed = True

    @property
    def report(self) -> Report:
        """The ten checks of the latest attestation."""
        return self._attestor.report

    @property
    def release(self) -> VerifiedRelease:
        """The release that the guest has proven to run."""
        return self._attestor.release

    @property
    def url(self) -> str:
        """The guest's origin, `https://HOST:PORT`."""
        return self._origin.url

    def attest(self) -> None:
        """Open a connection and verify its peer, as each request does when it is due.

        Raises:
            VerificationError: the peer is not a guest of this release.
            NetworkError: the peer was not reached.
        """
        self._carrier.attest()

    def close(self) -> None:
        """Close all connections, those of clients made from this session included."""
        super().close()
        self._carrier.close()

    def completion(
        self,
        prompt: str,
        *,
        max_tokens: int = 20,
        temperature: float = 0.0,
        stop: Sequence[str] = (),
        seed: int | None = None,
    ) -> str:
        """Return the model's continuation of the prompt.

        Args:
            prompt: Sent to the verified guest only.
            max_tokens: The longest answer, in tokens.
            temperature: 0 takes the most likely token each time.
            stop: Texts before which the answer ends.
            seed: For temperatures above 0.

        Raises:
            Error: as for every request of this session.
        """
        return "".join(
            self.stream_completion(
                prompt, max_tokens=max_tokens, temperature=temperature, stop=stop, seed=seed
            )
        )

    def stream_completion(
        self,
        prompt: str,
        *,
        max_tokens: int = 20,
        temperature: float = 0.0,
        stop: Sequence[str] = (),
        seed: int | None = None,
    ) -> Iterator[str]:
        """Yield the model's continuation piece by piece; arguments as for `completion`."""
        body = completion_request(
            prompt, max_tokens=max_tokens, temperature=temperature, stop=stop, seed=seed
        )
        yield from self._stream(COMPLETIONS_PATH, body, completion_texts)

    def stream_chat(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        max_tokens: int = 256,
        temperature: float = 0.0,
    ) -> Iterator[str]:
        """Yield the model's next turn of a talk piece by piece.

        Args:
            messages: The talk so far, each `{"role": …, "content": …}`; sent to the verified guest
                only.
            max_tokens: The longest answer, in tokens.
            temperature: 0 takes the most likely token each time.

        Raises:
            Error: as for every request of this session.
        """
        body = chat_request(messages, max_tokens=max_tokens, temperature=temperature)
        yield from self._stream(CHAT_PATH, body, chat_texts)

    def _stream(
        self, path: str, body: object, texts: Callable[[Iterable[bytes]], Iterator[str]]
    ) -> Iterator[str]:
        headers = {"Accept": "text/event-stream"}
        with self.post(path, json=body, headers=headers, stream=True) as response:
            require_ok(response, "completion")
            with self._carrier.translated():
                # A chunked answer comes chunk by chunk; any other only as a whole.
                chunks = response.iter_content(chunk_size=None)
                yield from texts(chunks)
                # The last chunk is empty; having read it, the connection can be used again.
                next(chunks, None)

    def models(self) -> tuple[str, ...]:
        """Return the names of the models that the guest says it serves.

        Raises:
            Error: as for every request of this session.
        """
        with self.get(MODELS_PATH, stream=True) as response, self._carrier.translated():
            require_ok(response, "list of models")
            return model_names(response.raw.read(MODELS_LIMIT_BYTES + 1))

    def request(  # type: ignore[override]
        self,
        method: str,
        url: str,
        *args: Any,  # noqa: ANN401 - requests' own
        **kwargs: Any,  # noqa: ANN401
    ) -> requests.Response:
        """Send a request to the guest; a URL that starts with a slash is a path on it."""
        absolute = f"{self._origin.url}{url}" if url.startswith("/") else url
        try:
            return super().request(method, absolute, *args, **kwargs)
        except requests.RequestException as exc:
            # All that comes from sending is a `blindllama.Error` by now. The message may repeat a
            # header or the URL, with whatever secrets are in it.
            raise UsageError(f"request that cannot be made: {type(exc).__name__}") from exc

    def send(
        self,
        request: requests.PreparedRequest,
        **kwargs: Any,  # noqa: ANN401 - requests' own
    ) -> requests.Response:
        """Send a prepared request to the guest, once.

        Raises:
            ChannelBindingError: `channel.origin`, `channel.redirect`.
            FormatError: `channel.encoding`.
            VerificationError: the evidence was due for renewal and was refused.
            NetworkError: the guest went away; the request may have reached it.
            UsageError: a proxy was given.
        """
        self._carrier.check_origin(request.url or "")
        if kwargs.get("proxies") or self.proxies:
            raise UsageError("proxies: an attested session talks to the guest directly")
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = (self._carrier.timeout_s, ANSWER_TIMEOUT_S)
        with self._carrier.translated():
            return super().send(request, **kwargs)

    def get_adapter(self, url: str | bytes) -> AttestedAdapter:  # noqa: ARG002 - requests' signature
        """Return the one adapter: `send` has compared origins, and no other may carry a request."""
        return self._adapter

    def mount(self, prefix: str | bytes, adapter: requests.adapters.BaseAdapter) -> None:
        """Refuse: another adapter would be a way around the attested key.

        Raises:
            UsageError: always, once the session is made.
        """
        if self._sealed:
            raise UsageError("adapters: an attested session has its own and takes no other")
        super().mount(prefix, adapter)

    def __getstate__(self) -> NoReturn:
        """Refuse to be pickled or copied: what was attested is bound to these connections.

        Raises:
            UsageError: always.
        """
        raise UsageError("an attested session cannot be copied or pickled; connect again")


def _system_clock() -> datetime:
    return datetime.now(UTC)


def _check_seconds(what: str, seconds: float) -> None:
    """Refuse what is no time to wait, which libraries refuse in their own ways or not at all."""
    if not 0 < seconds <= _MOST_SECONDS:
        raise UsageError(
            f"{what}; expected seconds above 0, at most {_MOST_SECONDS}; got {seconds}"
        )
