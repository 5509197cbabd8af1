"""All ten checks at once: a release signed by the local Sigstore, and a guest that runs it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from blindllama.measurements import MeasuredEvent, PlatformMeasurements
from supply_chain.digest import Sha256
from tests.simulators.attested_server import Server, TlsKey, attested_server
from tests.simulators.booted_guest import APP, BootedGuest, Papers, boot, expected_pcrs
from tests.simulators.signed_release import PLATFORMS, SignedRelease, make_signed_release
from tests.simulators.software_ak import SoftwareAk, SoftwareQuoter

OLDER_APP = (("app-disk", b"the application disk of release 1"), APP[1])


def measured(app: Sequence[tuple[str, bytes]] = APP) -> PlatformMeasurements:
    expected = expected_pcrs(app=app)
    return PlatformMeasurements(
        bank="sha256",
        pcrs={str(pcr): value.hex() for pcr, value in expected.values.items()},
        events={
            str(pcr): tuple(
                MeasuredEvent(digest=event.digest.hex(), what=event.what, source=event.source)
                for event in events
            )
            for pcr, events in expected.events.items()
        },
    )


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """A release, its files as a client has them, and a server that runs it."""

    server: Server
    guest: BootedGuest
    release: SignedRelease
    older: SignedRelease
    folder: Path
    ak: SoftwareAk

    def run_older(self) -> None:
        """Make the server run the older release, with a log that tells nothing, as on Azure."""
        quoter = SoftwareQuoter(ak=self.ak)
        boot(quoter, app=OLDER_APP)
        self.server.attester = replace(self.guest, quoter=quoter, log=b"")

    @property
    def arguments(self) -> list[str]:
        """For the command line."""
        return [
            self.server.url,
            *("--release", str(self.folder / "evidence.json")),
            *("--policy", str(self.folder / "policy.toml")),
        ]


@dataclass(frozen=True, kw_only=True)
class Signed:
    """What takes long to make, for all tests."""

    quoter: SoftwareQuoter
    papers: Papers
    newer: SignedRelease
    older: SignedRelease


@pytest.fixture(scope="session")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Signed:
    quoter = SoftwareQuoter(ak=SoftwareAk.make_rsa())
    papers = Papers.of(quoter)
    state = tmp_path_factory.mktemp("state")

    def make(sequence: int, app: Sequence[tuple[str, bytes]] = APP) -> SignedRelease:
        return make_signed_release(
            state,
            sequence=sequence,
            measurements={**PLATFORMS, "qemu-swtpm": measured(app)},
            vtpm_roots=(Sha256.from_hex(papers.root.hex()),),
        )

    older = make(1, OLDER_APP)
    return Signed(quoter=quoter, papers=papers, newer=make(2), older=older)


@pytest.fixture
def deployed(signed: Signed, tmp_path: Path) -> Iterator[Deployed]:
    key, quoter = TlsKey(), SoftwareQuoter(ak=signed.quoter.ak)
    boot(quoter)
    guest = BootedGuest(quoter=quoter, papers=signed.papers, spki=key.spki)
    (tmp_path / "evidence.json").write_bytes(signed.newer.evidence)
    # The policy of the older release accepts both: each policy's minimum is its own release.
    (tmp_path / "policy.toml").write_text(signed.older.policy_toml)
    with attested_server(guest, key) as server:
        yield Deployed(
            server=server,
            guest=guest,
            release=signed.newer,
            older=signed.older,
            folder=tmp_path,
            ak=signed.quoter.ak,
        )
