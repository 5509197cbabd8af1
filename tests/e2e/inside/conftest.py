"""One guest of the debug image for all that is looked at, and broken, from inside."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from blindllama import Policy
from blindllama.measurements import PlatformName
from building_site import Site
from deploy.qemu import release as deployed
from deploy.qemu import vm
from os_image.build import OsImage
from os_image.predict.predict import platform_measurements
from standing import Published
from supply_chain.digest import Sha256
from tests.e2e.inside.inspected import Inspected
from tests.e2e.raw import registers
from tests.simulators.debug_console import DebugConsole, typing_at
from tests.simulators.signed_release import make_signed_release

CREDENTIALS: Mapping[str, str] = {
    "evil.test": "by SMBIOS",
    # systemd makes a file, a setting and a drop-in of a unit of these, where it reads them.
    "tmpfiles.extra": "f /run/evil-tmpfiles - - - -",
    "sysctl.extra": "kernel.dmesg_restrict=0",
    "systemd.unit-dropin.blindllama-tls.service": "[Service]\nEnvironment=EVIL=1\n",
}
FROM_FW_CFG = "evil.fw-cfg"
OWN_REGISTERS = {"4", "5", "9", "11"}
"""What a debug image has of its own: its UKI and its disk, and nothing else."""


def smbios(text: str) -> tuple[str, str]:
    """A string of the table that the firmware hands on, type 11."""
    return ("-smbios", f"type=11,value={text.replace(',', ',,')}")


@pytest.fixture(scope="package")
def debug_guest(
    site: Site,
    published: Published,
    debug_image: OsImage,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[vm.Guest]:
    """Return a guest of the debug image, on a host that hands it every kind of credential."""
    assert published.folder.is_dir()
    said = [
        word
        for name, value in CREDENTIALS.items()
        for word in smbios(
            f"io.systemd.credential.binary:{name}={base64.b64encode(value.encode()).decode()}"
        )
    ]
    said += ["-fw_cfg", f"name=opt/io.systemd.credentials/{FROM_FW_CFG},string=by-fw-cfg"]
    parts = replace(
        deployed.release_parts(site.workspace, now=site.clock()),
        os_disk=debug_image.disk,
        console_input=True,
        additions=tuple(said),
    )
    running = vm.boot(
        tmp_path_factory.mktemp("debug") / "guest",
        parts,
        now=site.clock(),
        progress=site.progress,
    )
    try:
        yield running
    finally:
        vm.down(running.directory)


@pytest.fixture(scope="package")
def console(debug_guest: vm.Guest) -> Iterator[DebugConsole]:
    """Return root's shell in that guest."""
    with typing_at(debug_guest.console_input) as shell:
        # A debug image logs to its console, in the middle of what is typed there.
        shell.run("systemctl log-level emerg; echo 1 > /proc/sys/kernel/printk")
        yield shell


@pytest.fixture(scope="package")
def inspected(
    published: Published,
    debug_guest: vm.Guest,
    console: DebugConsole,
    tmp_path_factory: pytest.TempPathFactory,
) -> Inspected:
    """Return that guest with a release of its own: its first registers, signed as any release."""
    expected = platform_measurements(published.verified.expected)
    values = {str(pcr): value.hex() for pcr, value in enumerate(registers(debug_guest.url))}
    same = {pcr for pcr in expected.pcrs if values[pcr] == expected.pcrs[pcr]}
    assert expected.pcrs.keys() - same == OWN_REGISTERS
    release = make_signed_release(
        tmp_path_factory.mktemp("inspected"),
        measurements={
            PlatformName.QEMU_SWTPM.value: expected.model_copy(
                update={"pcrs": {pcr: values[pcr] for pcr in expected.pcrs}}
            )
        },
        vtpm_roots=[
            Sha256.from_hex(root) for root in Policy.from_file(published.policy).vtpm.roots
        ],
    )
    return Inspected(guest=debug_guest, console=console, release=release)
