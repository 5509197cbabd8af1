"""The front door: `invoke --list` shows every task; each parses, calls and prints."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from invoke import Collection, Context, Exit, task

import publication
from app_disk._tasks import ns as app_disk_tasks
from app_disk.packet_filter import network_rules
from app_disk.source import DEFAULT_APP
from building_site import Site, read_site
from deploy.azure._tasks import ns as azure_tasks
from deploy.qemu import vm
from deploy.qemu._tasks import ns as boot_tasks
from deploy.qemu.release import guest_directory
from engine._tasks import ns as engine_tasks
from os_image._tasks import ns as os_image_tasks
from os_image.packet_filter import effective_rules
from os_image.secure_boot._tasks import ns as secure_boot_tasks
from pipeline import build_all, stale_cache
from reproduce._tasks import reproduce
from supply_chain._chain_tasks import ns as chain_tasks
from supply_chain._index_tasks import ns as index_tasks
from supply_chain._input_tasks import input_tasks, lock_tasks
from supply_chain.attest.trust import LOCAL
from supply_chain.digest import sha256_file
from supply_chain.doctor import bad, examine, look
from supply_chain.front import told, whole_number
from supply_chain.progress import ConsoleProgress

ROOT = Path(__file__).resolve().parent
PROMPT = "The capital of France is"
GUEST_SET = "rootfs"
_MOST_TOKENS = 131072
_APP_HELP = "an application of app_disk/apps, or its directory inside the checkout"


def _site(
    *,
    app: str = DEFAULT_APP,
    debug: bool = False,
    sigstore: str = LOCAL,
    offline: bool = False,
) -> Site:
    return read_site(
        ROOT,
        environ=os.environ,
        progress=ConsoleProgress(),
        clock=lambda: datetime.now(UTC),
        app=app,
        debug=debug or None,
        sigstore=sigstore,
        offline=offline,
    )


def _show(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


@task(
    iterable=["only"],
    help={
        "app": _APP_HELP,
        "debug": "a debug image: console and root shell, other measurements",
        "only": "a step to make, with what it needs; may be repeated",
        "offline": "fetch and install nothing: from the store alone",
    },
)
@told()
def build(
    _context: Context,
    only: list[str],
    app: str = DEFAULT_APP,
    debug: bool = False,
    offline: bool = False,
) -> None:
    """Make engine, app disk, OS image and measurements; sign and boot nothing."""
    site = _site(app=app, debug=debug, offline=offline)
    with site.workspace.exclusive(site.progress):
        results = build_all(site, only=only)
    for result in results.values():
        for name, digest in result.products.items():
            print(f"{digest.hex}  {name}")


@task(
    help={
        "app": _APP_HELP,
        "debug": "a debug image: console and root shell, other measurements",
        "prompt": "what the model is asked, where there is one",
        "tokens": "the longest answer, in tokens",
        "keep": "leave the guest running",
        "sigstore": "who signs: local, public, or a trust configuration file",
        "offline": "fetch and install nothing: from the store alone",
    }
)
@told()
def release(
    _context: Context,
    app: str = DEFAULT_APP,
    debug: bool = False,
    prompt: str = PROMPT,
    tokens: str = "20",
    keep: bool = False,
    sigstore: str = LOCAL,
    offline: bool = False,
) -> None:
    """Build, sign, verify, boot and ask: from pinned inputs to a verified answer."""
    longest = whole_number(tokens, "tokens", least=1, most=_MOST_TOKENS)
    site = _site(app=app, debug=debug, sigstore=sigstore, offline=offline)
    application = site.application
    with site.workspace.exclusive(site.progress):
        # Now, and not after minutes of work.
        vm.require_none(guest_directory(site.workspace))
        results = build_all(site)
        published = publication.publish(site, results)
        kept = "" if published.renewed else ", kept: nothing has changed"
        site.progress.note(f"release {published.verified.sequence}{kept}")
        guest = publication.boot(site)
        try:
            session = publication.connect_and_tell(site, published, results, guest.url)
            if application.needs_engine:
                _show(f"\n> {prompt}\n\n{prompt}")
                publication.ask(session, prompt, max_tokens=longest, show=_show)
            else:
                path = application.routes[0].path or "/"
                _show(f"\n> GET {path}\n\n{publication.get(session, path)}")
        finally:
            if not keep:
                vm.down(guest.directory)
    _show(f"\n\n{session.report}\n\n")
    print(f"release   {published.folder}")
    print(f"evidence  {published.evidence}")
    print(f"policy    {published.policy}")
    print(f"report    {site.workspace.dist / publication.PAGE}")
    print(f"guest     {f'runs at {guest.url}' if keep else 'ended; ./do invoke boot.up starts it'}")


@task(
    help={
        "sigstore": "who signs: local, public, or a trust configuration file",
        "offline": "fetch and install nothing: from the store alone",
    }
)
@told()
def build_sdk(_context: Context, sigstore: str = LOCAL, offline: bool = False) -> None:
    """Make and sign the client's wheel with its bill of materials, in dist/sdk."""
    site = _site(sigstore=sigstore, offline=offline)
    with site.workspace.exclusive(site.progress):
        folder = publication.publish_sdk(site)
    for path in sorted(folder.iterdir()):
        print(f"{sha256_file(path).hex}  {path}")


@task(help={"port": "where a guest would listen"})
@told()
def doctor(_context: Context, port: str = "8443") -> None:
    """Check that this machine can make and boot a release; change nothing."""
    number = whole_number(port, "port", least=1, most=65535)
    machine = look(ROOT, port=number, now=datetime.now(UTC))
    findings = list(examine(machine))
    for finding in findings:
        print(finding)
    if wrong := bad(findings):
        raise Exit(f"{len(wrong)} to mend before invoke release can work", code=1)
    print("invoke release can work here")


@task(
    help={
        "app": _APP_HELP,
        "offline": "fetch and install nothing: from the store alone",
    }
)
@told()
def show(_context: Context, app: str = DEFAULT_APP, offline: bool = False) -> None:
    """Show the whole packet filter of a guest: the image's rules and what an application adds."""
    site = _site(app=app, offline=offline)
    site.fetch(GUEST_SET)
    _show(effective_rules(network_rules(site.application), guest=site.tree(GUEST_SET)))


@task(help={"dry_run": "only say what would be removed"})
@told()
def prune(_context: Context, dry_run: bool = False) -> None:
    """Remove what no set of today's lock needs from the cache: old trees, inputs, downloads."""
    site = _site()
    with site.workspace.exclusive(site.progress):
        stale = stale_cache(site)
        for entry in stale:
            print(entry)
            if not dry_run:
                entry.remove()
    what = "would be removed" if dry_run else "were removed"
    print(f"{len(stale)} entries, {sum(entry.size for entry in stale) >> 20} MiB, {what}")


ns = Collection(
    build,
    doctor,
    release,
    Collection("sdk", build=build_sdk),
    Collection("cache", prune=prune),
    Collection("network", show=show),
    Collection("deploy", azure_tasks),
    reproduce,
    lock_tasks,
    input_tasks,
    engine_tasks,
    app_disk_tasks,
    os_image_tasks,
    secure_boot_tasks,
    chain_tasks,
    index_tasks,
    boot_tasks,
)
