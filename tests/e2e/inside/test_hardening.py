"""The guest seen from inside, as root: what even root cannot do there, and what a host cannot say.

A debug image is the released one with a shell on its console: the same units, settings, kernel and
command line, with two words more. What a host may say unmeasured is said to it here (B1, B8), and
that it is a debug image shows in its registers (B6).
"""

from __future__ import annotations

import base64

import pytest

from blindllama import VerificationError, verify_and_connect
from blindllama.errors import Code
from deploy.qemu import vm
from os_image.guest.numbers import EACH, FIRST
from os_image.guest.pod import PROCESSES
from standing import Published
from tests.e2e.inside.conftest import CREDENTIALS, OWN_REGISTERS
from tests.e2e.inside.inspected import RULES
from tests.simulators.debug_console import DebugConsole

pytestmark = pytest.mark.e2e

_INSERT = (
    "libc = ctypes.CDLL(None, use_errno=True); "
    'libc.syscall(313, open(sys.argv[1]).fileno(), b"", 0); '
    'print(__import__("os").strerror(ctypes.get_errno()))'
)
"""finit_module(2) of a module that Debian signed."""
_FORKS = """
import errno, os, signal, sys
open(sys.argv[1] + "/cgroup.procs", "w").write("0")
found = []
try:
    while len(found) < 2000:
        child = os.fork()
        if child == 0:
            signal.pause()
        found.append(child)
except OSError as error:
    print(1 + len(found), errno.errorcode[error.errno])
for child in found:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
open("/sys/fs/cgroup/cgroup.procs", "w").write("0")
"""
"""Processes in a group until no more are let, and how many there were."""
_FORGE = """
import os, socket, sys
process, *stations = sys.argv[1:]
os.setns(os.open(f"/proc/{process}/ns/net", os.O_RDONLY), os.CLONE_NEWNET)
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
    link.bind(("eth0", 0))
    for station in stations:
        # Who has an address, asked from the pod's own: ARP.
        asked = station + "08060001080006040001" + station + "0a59000a"
        link.send(bytes([255] * 6) + bytes.fromhex(asked) + bytes(28))
known = open("/sys/class/net/bl0/brforward", "rb").read()
print(*(station for station in stations if bytes.fromhex(station) in known))
"""
"""Frames of a pod's side, and whose addresses the bridge then knows."""
RAM = {"tmpfs", "ramfs", "devtmpfs"}
KERNEL = {
    *("bpf", "cgroup2", "devpts", "mqueue", "nsfs", "proc", "securityfs", "selinuxfs", "sysfs"),
    *("tracefs", "efivarfs", "binfmt_misc", "hugetlbfs", "configfs", "fusectl", "pstore"),
}
"""File systems whose content is the kernel's own and in memory."""


def test_root_has_a_shell_there(console: DebugConsole) -> None:
    """What the tests below do not find is not missing because nothing was found."""
    assert console.run("id -u") == "0"
    assert console.run("cat /proc/1/comm") == "systemd"
    status = console.run("grep -E ^CapEff: /proc/self/status")
    assert int(status.split()[1], 16).bit_count() > 30


def test_b6_a_debug_image_is_refused(debug_guest: vm.Guest, published: Published) -> None:
    """Its registers are not those of the release: the command line says what it is."""
    with pytest.raises(VerificationError) as caught:
        verify_and_connect(debug_guest.url, release=published.evidence, policy=published.policy)
    assert caught.value.code == Code.MEASUREMENT_MISMATCH
    assert str(caught.value).startswith(f"PCR {', '.join(sorted(OWN_REGISTERS, key=int))} differ ")
    assert "kernel's command line" in str(caught.value)


def test_b1_credentials_of_the_host_do_not_arrive(console: DebugConsole) -> None:
    """Neither through SMBIOS nor through fw_cfg, neither as files nor by their effect."""
    tables = console.run("cat /sys/firmware/dmi/entries/11-*/raw | tr '\\0' '\\n'")
    assert tables.count("io.systemd.credential.binary:") == len(CREDENTIALS)
    assert "@" not in console.run("ls /run/credentials")
    assert console.run("find /run /tmp /var /etc -xdev -name '*evil*'") == ""
    assert console.run("cat /proc/sys/kernel/dmesg_restrict") == "1"
    environment = console.run("systemctl show --property=Environment blindllama-tls.service")
    assert "OPENSSL" in environment
    assert "EVIL" not in environment


def test_b8_variables_of_the_firmware_and_words_of_the_boot_do_not_arrive(
    console: DebugConsole,
) -> None:
    """What systemd would read as SystemdOptions; the kernel hands unknown words on as environment."""
    assert console.run("ls /sys/firmware/efi/efivars/") == ""
    assert "efivarfs" not in console.run("cat /proc/mounts")
    names = {
        word.partition("=")[0]
        for word in console.run("tr '\\0' '\\n' < /proc/1/environ").splitlines()
    }
    assert names <= {"HOME", "TERM", "PATH", "SHLVL", "PWD", "DM_DISABLE_UDEV"}, names


def test_no_module_can_be_loaded(console: DebugConsole) -> None:
    assert console.run("cat /proc/sys/kernel/modules_disabled") == "1"
    console.run("echo 0 > /proc/sys/kernel/modules_disabled")
    assert console.run("cat /proc/sys/kernel/modules_disabled") == "1"
    module = "$(head -n 1 /usr/lib/blindllama/modules)"
    said = console.run(f"python3 -c 'import ctypes,sys; {_INSERT}' {module}")
    assert said.endswith("Operation not permitted")


def test_the_kernel_is_locked_down(console: DebugConsole) -> None:
    assert "[confidentiality]" in console.run("cat /sys/kernel/security/lockdown")
    assert "not permitted" in console.run("head -c 1 /dev/mem")
    assert "not permitted" in console.run("head -c 1 /proc/kcore")


def test_there_is_no_kexec(console: DebugConsole) -> None:
    assert console.run("cat /proc/sys/kernel/kexec_load_disabled") == "1"


def test_there_is_no_debugfs(console: DebugConsole) -> None:
    console.run("mkdir -p /run/debugfs")
    assert "mount" in console.run("mount -t debugfs none /run/debugfs")
    assert console.run("ls /run/debugfs") == ""
    # The twin: what is no debugfs can be mounted there.
    said = console.run("mount -t tmpfs none /run/debugfs && echo mounted; umount /run/debugfs")
    assert "mounted" in said.splitlines()


def test_nothing_dumps_core(console: DebugConsole) -> None:
    assert console.run("cat /proc/sys/kernel/core_pattern") == "|/nonexistent"
    assert console.run("cat /proc/sys/fs/suid_dumpable") == "0"
    limits = console.run(
        "for unit in attest ingress; do "
        "cat /proc/$(systemctl show --property=MainPID --value blindllama-$unit)/limits; done"
    )
    cores = [line.split()[4:6] for line in limits.splitlines() if line.startswith("Max core")]
    assert cores == [["0", "0"], ["0", "0"]]


def test_there_is_no_swap(console: DebugConsole) -> None:
    assert console.run("tail -n +2 /proc/swaps") == ""


def test_no_writable_path_survives_a_reboot(console: DebugConsole) -> None:
    """What can be written to is memory; what is on a disk is read through dm-verity."""
    # Those of the guest, and those that only the pod sees: of its monitor, and of each container.
    said = console.run(
        "cat /proc/mounts; for process in $(pgrep -f '^/usr/bin/(conmon|llama-server)');"
        " do cat /proc/$process/mounts; done"
    )
    mounts = [line.split() for line in said.splitlines()]
    writable = {kind for _, _, kind, options, *_ in mounts if "rw" in options.split(",")}
    assert writable <= RAM | KERNEL | {"overlay"}, writable
    stored = {(source, kind) for source, _, kind, *_ in mounts if source.startswith("/dev/")}
    assert stored == {("/dev/mapper/root", "erofs"), ("/dev/mapper/app", "erofs")}
    uppers = [
        word.removeprefix("upperdir=")
        for _, _, kind, options, *_ in mounts
        if kind == "overlay"
        for word in options.split(",")
        if word.startswith("upperdir=")
    ]
    assert uppers
    assert all(upper.startswith(("/run/", "/var/", "/tmp/")) for upper in uppers)
    assert "Read-only" in console.run("touch /etc/x /usr/x")


def test_memory_is_mounted_before_any_service_starts(console: DebugConsole) -> None:
    """A service with a /var/tmp of its own needs one to mount it over; no unit may still make it."""
    shown = console.run("systemctl show --property=ActiveState,FragmentPath var.mount tmp.mount")
    assert sorted(shown.split()) == ["ActiveState=active"] * 2 + ["FragmentPath="] * 2, shown


def test_what_is_read_ahead_is_there(console: DebugConsole) -> None:
    """A name that leads nowhere would be a program that starts slowly, and no more."""
    said = console.run(
        "cd /; while read -r path; do [ -f $path ] || echo $path; done"
        " < usr/lib/blindllama/read-ahead; wc -l < usr/lib/blindllama/read-ahead"
    )
    assert int(said) > 100


def test_both_disks_stop_the_kernel_when_a_block_is_wrong(console: DebugConsole) -> None:
    said = console.run("dmsetup table").splitlines()
    tables = [line for line in said if " verity " in line]
    assert [line.split(":")[0] for line in sorted(tables)] == ["app", "root"]
    assert all("panic_on_corruption" in line for line in tables)


def test_the_services_run_in_their_sandboxes(console: DebugConsole) -> None:
    """Every unit of ours is up, and those that listen have no capability but their own."""
    states = console.run("systemctl show --property=Id,ActiveState,Result 'blindllama-*.service'")
    assert states.count("ActiveState=active") == states.count("Result=success") == 7, states
    ports = {"attest": 0, "ingress": 1 << 10}
    for unit, expected in ports.items():
        status = console.run(
            f"cat /proc/$(systemctl show --property=MainPID --value blindllama-{unit})/status"
        )
        lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert int(lines["CapBnd"], 16) == expected
        assert lines["NoNewPrivs"] == "1"
        assert lines["Seccomp"] == "2"


def test_n4_what_runs_containers_is_nobody_of_the_guest(console: DebugConsole) -> None:
    """Not podman's monitor, and not what it monitors: no number of the guest, no rights in it."""
    said = console.run(
        "for one in $(find /sys/fs/cgroup -path '*blindllama-pod@0*' -name cgroup.procs"
        " -exec cat {} +); do grep -E '^(Uid|NoNewPrivs|Seccomp):' /proc/$one/status;"
        " cat /proc/$one/uid_map; done"
    )
    lines = [line.split() for line in said.splitlines()]
    users = [line for line in lines if line[0] == "Uid:"]
    # A monitor and what it monitors: the pod's first process, and two containers.
    assert len(users) == 6
    assert {int(number) // EACH for line in users for number in line[1:]} == {FIRST // EACH}
    for expected in (["NoNewPrivs:", "1"], ["Seccomp:", "2"], ["0", str(FIRST), str(EACH)]):
        assert lines.count(expected) == len(users), expected
    # The twin: the shell that asks is root, of all numbers.
    assert console.run("cat /proc/self/uid_map").split() == ["0", "0", "4294967295"]


def test_a_pod_has_so_many_processes_and_no_more(console: DebugConsole) -> None:
    """Tried in the group of its containers, by as many as are let."""
    group = "$(find /sys/fs/cgroup -path '*blindllama-pod@0*' -name libpod_parent)"
    assert console.run(f"cat {group}/pids.max") == str(PROCESSES)
    already = int(console.run(f"cat {group}/pids.current"))
    assert 0 < already < PROCESSES
    program = base64.b64encode(_FORKS.encode()).decode()
    said = console.run(
        f"mkdir {group}/tried; echo {program} | base64 -d | python3 - {group}/tried;"
        f" rmdir {group}/tried"
    )
    assert said == f"{PROCESSES - already} EAGAIN"


def test_n2_the_bridge_knows_a_pod_by_its_own_address_alone(console: DebugConsole) -> None:
    """Whatever who runs the pod sends over its link."""
    program = base64.b64encode(_FORGE.encode()).decode()
    monitor = "$(pgrep --uid pod0 --oldest conmon)"
    forge = f"echo {program} | base64 -d | python3 -I - {monitor}"
    own, others = "02000a59000a", ("02000a59000b", "02000a59000c")
    assert console.run(f"{forge} {own} {others[0]}") == own
    # The twin: without the rules that say so, it learns.
    try:
        assert console.run("nft insert rule bridge blindllama prerouting accept") == ""
        assert console.run(f"{forge} {own} {others[1]}") == f"{own} {others[1]}"
    finally:
        # The guest too believes what it was told while there was no rule.
        console.run(f"{RULES}; ip neigh flush dev bl0")
    assert console.run(f"{forge} {own} {others[0]}") == own
