from __future__ import annotations

from os_image.spec import read_spec
from supply_chain.inputs.debian import Archives
from supply_chain.inputs.lock import ArchiveName
from tests.bench.os_image import ROOT
from tests.simulators.mkosi import archives_text, configuration


def test_mkosi_is_asked_for_the_packages_of_the_image_and_a_kernel() -> None:
    packages = sorted(read_spec(ROOT / "os_image" / "os-image.toml").packages)
    (line,) = [
        line for line in configuration(packages).splitlines() if line.startswith("Packages=")
    ]
    asked = line.removeprefix("Packages=").split(",")
    assert set(asked) - set(packages) == {"linux-image-cloud-amd64", "systemd-boot-efi"}
    assert set(packages) <= set(asked)


def test_mkosi_asks_the_archives_of_this_machine_and_no_other() -> None:
    bases: dict[ArchiveName, str] = {
        "debian": "http://one.example/debian",
        "debian-security": "http://two.example/s",
    }
    text = archives_text(Archives(bases=bases))
    first, second = text.split("\n\n")
    assert "URIs: http://one.example/debian\nSuites: trixie trixie-updates\n" in first
    assert "URIs: http://two.example/s\nSuites: trixie-security\n" in second
    assert text.count("URIs:") == 2
