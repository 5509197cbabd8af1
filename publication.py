"""From finished steps to a signed release that was verified, booted and asked.

What stands in `dist/` is kept while it is what the steps have made; see `standing`.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path

from app_disk.build import DISK as APP_DISK_NAME
from blindllama import AttestedSession, Policy, verify_and_connect
from blindllama.errors import VerificationError
from blindllama.measurements import PlatformName
from blindllama.page import release_page
from blindllama.release import VerifiedRelease, verify_release
from blindllama.report import Report
from building_site import Site, source_files
from deploy.qemu import release as deployed
from deploy.qemu import vm, vtpm
from engine.gguf import MANIFEST
from engine.target import RELEASE_MANIFEST
from os_image.build import DISK_NAME as OS_DISK_NAME
from pipeline import (
    APP_DISK,
    ENGINE,
    MEASURE,
    MEASUREMENTS,
    OS_IMAGE,
    SDK,
    build_sdk,
    read_measured,
)
from reproduce.thresholds import rebuild_here, require_none_awaited
from standing import POLICY, Published, kept_release
from supply_chain.attest.bill import DISKS, Bill, sdk_bill, sign_bills
from supply_chain.attest.chain import LayoutPlan, sign_chain
from supply_chain.attest.owner import is_encrypted, open_owners
from supply_chain.attest.statement import ReleaseIndexPredicate
from supply_chain.attest.summary import LOCAL_VERIFIER
from supply_chain.digest import Sha256, sha256_bytes, sha256_file
from supply_chain.errors import BuildError
from supply_chain.passphrase import known_passphrase
from supply_chain.release import (
    SUMMARY,
    read_release,
    release_policy,
    verify_folder,
    write_policy,
    write_release,
)
from supply_chain.sbom.document import SBOM
from supply_chain.step import StepResult
from supply_chain.summary import write_summary
from supply_chain.workspace import Workspace, fresh_dir, held, replace_file

PAGE = "report.html"
"""The release and its verification as one page, in `dist/`."""


def publish(site: Site, results: Mapping[str, StepResult]) -> Published:
    """Sign and write the release that the steps add up to, and verify it as a client would.

    Raises:
        BuildError: signing or writing failed; the release that stood before still stands. Or
            another rebuilder is awaited.
        VerificationError: what was written does not pass the client's checks.
    """
    tpm = vtpm.provision(site.workspace.state, now=site.clock())
    root = sha256_bytes(tpm.root)
    policy_path = site.workspace.dist / POLICY
    client = build_sdk(site)
    bills = (*DISKS, _client_bill(client))
    with tempfile.TemporaryDirectory(prefix="release-") as scratch:
        files = _files(site, results, client, Path(scratch))
        digests = _digests(files, (*results.values(), client))
        kept = kept_release(site, results, digests, vtpm_root=root.hex)
        if kept is not None:
            _summarise(site, kept)
            return kept
        require_none_awaited(site, results)
        measured = read_measured(results)
        with (
            site.signer() as identity,
            site.signer(LOCAL_VERIFIER) as verifier,
            open_owners(
                site.chain.owners,
                root=site.workspace.root,
                state=site.workspace.state,
                builder=identity,
                signer=site.signer,
                passphrase=partial(known_passphrase, site.environ, "the layout's owner"),
            ) as owners,
        ):
            # Who signs is found first: a forgotten passphrase costs no number.
            now = site.clock()
            index = ReleaseIndexPredicate(
                name=site.release_name,
                sequence=_next_sequence(site.workspace, site.release_name),
                created=now,
                expires=now + timedelta(days=site.chain.valid_days),
            )
            chain = sign_chain(
                list(results.values()),
                measured=measured,
                sequence=index.sequence,
                signer=identity,
                plan=LayoutPlan(
                    owners=owners,
                    expires=index.expires,
                    rebuilders=site.chain.rebuilders,
                    thresholds=site.chain.thresholds.by_step(),
                ),
                progress=site.progress,
            )
            write_release(
                site.workspace.release,
                files=files,
                chain=chain,
                index=index,
                sign=identity.sign_statement,
                progress=site.progress,
                more=sign_bills(bills, files=files, signer=identity),
                finish=partial(rebuild_here, site),
            )
            policy = release_policy(
                index=index,
                platform=PlatformName.QEMU_SWTPM,
                authority=identity.authority,
                owners=owners,
                verifier=verifier.authority,
                vtpm_roots=[root],
                maximum_age_days=site.chain.valid_days,
                debug_images=measured.debug,
            )
        write_policy(policy_path, policy)
    if is_encrypted(site.workspace.state) is False:
        site.progress.note(
            "the layout's owner key is not encrypted; ./do invoke chain.init does it"
        )
    require_none_awaited(site, results)
    published = Published(
        folder=site.workspace.release,
        policy=policy_path,
        verified=verify_published(site, policy_path),
        renewed=True,
    )
    _summarise(site, published)
    return published


def _summarise(site: Site, published: Published) -> None:
    """Sign the verdict on a release that has just passed, unless it stands there already."""
    folder, verified = published.folder, published.verified
    if (folder / SUMMARY).exists():
        return
    with (
        site.progress.step("sign the verification summary"),
        site.signer(LOCAL_VERIFIER) as verifier,
    ):
        write_summary(
            folder,
            verified,
            policy=published.policy.read_bytes(),
            verifier=verifier,
            now=site.clock(),
        )


def publish_sdk(site: Site) -> Path:
    """Build and sign the client's wheel alone; return the folder with the three files.

    Raises:
        BuildError: an input is missing, or building or signing failed.
    """
    client = build_sdk(site)
    bill, files = _client_bill(client), _client_files(client)
    with site.signer() as identity, fresh_dir(site.workspace.dist / SDK) as out:
        for path in files.values():
            shutil.copyfile(path, out / path.name)
        bundle = sign_bills([bill], files=files, signer=identity)[bill.bundle]
        (out / bill.bundle.rpartition("/")[2]).write_bytes(bundle)
    return site.workspace.dist / SDK


def verify_published(site: Site, policy: Path) -> VerifiedRelease:
    """Verify the release folder with nothing but the folder and a policy.

    Raises:
        VerificationError: one of the first five checks refused.
        BuildError: the folder's files are not those that the signed index names.
    """
    folder = site.workspace.release
    with site.progress.step("verify the release"):
        verified = verify_release(
            read_release(folder).evidence, Policy.from_file(policy), site.clock()
        )
        verify_folder(folder, verified)
    return verified


def boot(site: Site) -> vm.Guest:
    """Boot the published release and return the guest once it answers.

    Raises:
        BootError: it did not come up, each time.
    """
    return deployed.boot_release(site.workspace, now=site.clock(), progress=site.progress)


def connect(published: Published, url: str) -> AttestedSession:
    """Run the ten checks against a guest and return a session with it.

    Raises:
        VerificationError: a check refused; nothing was sent.
        NetworkError: the guest was not reached.
    """
    return verify_and_connect(url, release=published.evidence, policy=published.policy)


def connect_and_tell(
    site: Site, published: Published, results: Mapping[str, StepResult], url: str
) -> AttestedSession:
    """Run the ten checks, write the page about them whether they pass or not; return a session.

    Raises:
        VerificationError: a check refused; nothing was sent.
        NetworkError: the guest was not reached.
    """
    try:
        session = connect(published, url)
    except VerificationError as exc:
        _write_page(site, published, results, exc.report or Report())
        raise
    _write_page(site, published, results, session.report)
    return session


def _write_page(
    site: Site, published: Published, results: Mapping[str, StepResult], report: Report
) -> None:
    folder = published.folder
    page = release_page(
        report,
        release=published.verified,
        evidence=published.evidence.read_bytes(),
        bills_of_materials={
            path.name: path.read_bytes() for path in sorted((folder / "sbom").glob("*.cdx.json"))
        },
        built=[
            (name, (result.finished - result.started).total_seconds())
            for name, result in results.items()
        ],
    )
    replace_file(site.workspace.dist / PAGE, page.encode())


def ask(
    session: AttestedSession, prompt: str, *, max_tokens: int, show: Callable[[str], object]
) -> str:
    """Return the model's answer; its pieces are shown as they come."""
    pieces = []
    for piece in session.stream_completion(prompt, max_tokens=max_tokens):
        show(piece)
        pieces.append(piece)
    return "".join(pieces)


def get(session: AttestedSession, path: str) -> str:
    """Return the page at a path of the application, as text.

    Raises:
        BuildError: it does not answer with 200.
    """
    reply = session.get(path)
    if not reply.ok:
        raise BuildError(f"{path}: expected status 200, got {reply.status_code}")
    return reply.text


def _files(
    site: Site, results: Mapping[str, StepResult], client: StepResult, scratch: Path
) -> dict[str, Path]:
    """Return the files of a release by their path in its folder."""
    firmware = site.firmware
    machine = read_measured(results).platforms[PlatformName.QEMU_SWTPM.value].machine
    if machine is None:
        raise BuildError("the measurements of qemu-swtpm name no machine: remove build/measure")
    profile = scratch / deployed.MACHINE
    profile.write_text(json.dumps(machine.model_dump(mode="json"), sort_keys=True) + "\n")
    return {
        deployed.OS_DISK: results[OS_IMAGE].path(OS_DISK_NAME),
        deployed.APP_DISK: results[APP_DISK].path(APP_DISK_NAME),
        deployed.FIRMWARE_CODE: firmware.code,
        deployed.FIRMWARE_VARIABLES: firmware.variables,
        deployed.MACHINE: profile,
        RELEASE_MANIFEST: results[ENGINE].path(MANIFEST),
        MEASUREMENTS: results[MEASURE].path(MEASUREMENTS),
        **{bill.path: results[bill.name].path(SBOM) for bill in DISKS},
        **_client_files(client),
        **source_files(site),
    }


def _digests(files: Mapping[str, Path], results: Iterable[StepResult]) -> dict[str, Sha256]:
    """Return the digest of each file; products were hashed when their steps were looked at."""
    products = {
        result.path(name.partition("/")[2]): digest
        for result in results
        for name, digest in result.products.items()
    }
    return {name: products.get(path) or sha256_file(path) for name, path in files.items()}


def _client_bill(client: StepResult) -> Bill:
    (wheel,) = (name for name in client.step.products if name != SBOM)
    return sdk_bill(wheel)


def _client_files(client: StepResult) -> dict[str, Path]:
    """Return the client's wheel and its bill of materials by their path in a release."""
    bill = _client_bill(client)
    return {
        bill.subject: client.path(bill.subject.rpartition("/")[2]),
        bill.path: client.path(SBOM),
    }


def _next_sequence(workspace: Workspace, name: str) -> int:
    """Return a number higher than any that this machine has given a release of that name."""
    path = workspace.state / "sequence" / f"{name}.json"
    with held(path.with_suffix(".lock")):
        try:
            last = int(json.loads(path.read_bytes())["sequence"])
        except FileNotFoundError:
            last = 0
        except (ValueError, KeyError, TypeError) as exc:
            raise BuildError(
                f"{path} does not hold a sequence number; "
                "write one that is not below any you published"
            ) from exc
        replace_file(path, json.dumps({"sequence": last + 1}).encode() + os.linesep.encode())
        return last + 1
