"""apt with a state of its own: nothing installed, none of the machine's preferences.

Its answer to "what would you install?" is joined with the package lists, whose
signatures it has checked with Debian's keyring: they give version, size and digest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from supply_chain import process
from supply_chain.errors import CommandError, FetchError, LockError, MissingToolError
from supply_chain.inputs.lock import ArchiveDate, DebianPackage
from supply_chain.workspace import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from supply_chain.inputs.debian import Archives
    from supply_chain.inputs.lock import ArchiveName, Wish

_KEYRINGS = tuple(
    Path("/usr/share/keyrings") / f"debian-archive-keyring.{ending}" for ending in ("gpg", "pgp")
)
_URI_LINE = re.compile(r"^'(?P<uri>[^']+)' ", re.MULTILINE)


def archive_of(suite: str) -> ArchiveName:
    """The archive that publishes a suite."""
    return "debian-security" if suite.endswith("-security") else "debian"


@dataclass(frozen=True, slots=True, kw_only=True)
class Apt:
    """apt over some suites of this machine's archives, for one architecture."""

    folder: Path
    """Its state; the lists in it may be kept, so that the next update fetches less."""
    archives: Archives
    architecture: str
    suites: tuple[str, ...]
    """All suites in use; a file that several of them share is recorded under the first."""

    def update(self) -> None:
        """The lists of all suites are those of today, and signed.

        Raises:
            FetchError: An archive cannot be reached, or its signature is not Debian's.
            MissingToolError: There is no apt, or no keyring of Debian.
        """
        for part in ("lists/partial", "cache/archives/partial", "empty"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        (self.folder / "status").write_bytes(b"")
        try:
            self._apt_get(self.suites, "update", "--error-on=any")
        except CommandError as exc:
            said = exc.stderr.decode(errors="replace").splitlines()
            reasons = "\n".join(line for line in said if line.startswith("E: ")) or str(exc)
            raise FetchError(
                f"the package lists cannot be had; apt said:\n{reasons}\n"
                "the lock is as it was; if the network or its proxy was the reason, run the same again"
            ) from exc

    def closure(self, wish: Wish) -> tuple[str, ...]:
        """What a set needs, as `ARCHIVE:POOL_PATH`.

        Raises:
            LockError: apt finds no way; its reason is in the text.
        """
        asked = [*(["?essential"] if wish.essential else []), *wish.packages]
        try:
            said = self._apt_get(wish.suites, "install", "--yes", "--print-uris", *asked)
        except CommandError as exc:
            raise LockError(f"apt cannot resolve {' '.join(asked)}:\n{exc}") from exc
        paths = [self._below_base(unquote(match["uri"])) for match in _URI_LINE.finditer(said)]
        keep = re.compile(wish.keep or ".*")
        return tuple(path for path in paths if keep.fullmatch(Path(path).name.partition("_")[0]))

    def records(self, sets: Mapping[str, tuple[str, ...]]) -> tuple[DebianPackage, ...]:
        """The packages at some `ARCHIVE:POOL_PATH`s, each with the sets that hold it.

        Raises:
            LockError: No list holds one of them.
        """
        found: dict[str, DebianPackage] = {}
        for suite, packages_list in self._lists():
            archive = archive_of(suite)
            for stanza in packages_list.read_text("utf-8").split("\n\n"):
                path = re.search(r"^Filename: (\S+)$", stanza, re.MULTILINE)
                key = f"{archive}:{path[1]}" if path else ""
                if key in sets and key not in found:
                    found[key] = _record(stanza, suite, archive, sets[key])
        if absent := sorted(sets.keys() - found.keys()):
            raise LockError(f"no package list holds {', '.join(absent)}")
        return tuple(sorted(found.values(), key=lambda deb: (deb.name, deb.version, deb.sha256)))

    def dates(self) -> Iterator[ArchiveDate]:
        """When each suite was published in the state that was read."""
        for suite, packages_list in self._lists():
            stem = packages_list.name.partition("_main_binary-")[0]
            release = packages_list.with_name(f"{stem}_InRelease").read_text("utf-8")
            date = re.search(r"^Date: (.+)$", release, re.MULTILINE)
            if date is None:
                raise LockError(f"the Release file of {suite} bears no date")
            published = parsedate_to_datetime(date[1]).astimezone(UTC)
            yield ArchiveDate(
                suite=suite,
                archive=archive_of(suite),
                date=published.strftime("%Y%m%dT%H%M%SZ"),
            )

    def _lists(self) -> Iterator[tuple[str, Path]]:
        listed = self._apt_get(
            self.suites,
            "indextargets",
            "--format",
            "$(RELEASE) $(FILENAME)",
            "Created-By: Packages",
        )
        lists = dict(line.split(" ", 1) for line in listed.splitlines())
        for suite in self.suites:
            yield suite, Path(lists[suite])

    def _below_base(self, uri: str) -> str:
        # The security archive's base may begin with the other's: the longer one is tried first.
        for name, base in sorted(self.archives.bases.items(), key=lambda item: -len(item[1])):
            if uri.startswith(f"{base}/"):
                return f"{name}:{uri.removeprefix(base + '/')}"
        raise LockError(f"apt took a package from elsewhere: {uri}")

    def _apt_get(self, suites: Iterable[str], command: str, *arguments: str) -> str:
        keyring = next((path for path in _KEYRINGS if path.exists()), None)
        if keyring is None:
            raise MissingToolError(str(_KEYRINGS[0]), "debian-archive-keyring")
        sources = "".join(
            f"deb [arch={self.architecture} signed-by={keyring}] "
            f"{self.archives.bases[archive_of(suite)]} {suite} main\n"
            for suite in suites
        )
        listed = self.folder / "sources.list"
        replace_file(listed, sources.encode())
        empty = self.folder / "empty"
        options = {
            "APT::Architecture": self.architecture,
            "APT::Architectures": self.architecture,
            "APT::Default-Release": "",
            "APT::Install-Recommends": "false",
            "APT::Install-Suggests": "false",
            # apt would otherwise become a user that may not read this directory.
            "APT::Sandbox::User": "root",
            "Acquire::GzipIndexes": "false",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "Dir::Cache": str(self.folder / "cache"),
            "Dir::Etc::SourceList": str(listed),
            "Dir::Etc::SourceParts": str(empty),
            "Dir::Etc::Preferences": str(empty / "none"),
            "Dir::Etc::PreferencesParts": str(empty),
            "Dir::State": str(self.folder),
            "Dir::State::Lists": str(self.folder / "lists"),
            "Dir::State::status": str(self.folder / "status"),
        }
        argv = ["apt-get", "--quiet"]
        for key, value in options.items():
            argv += ["--option", f"{key}={value}"]
        # DEBIAN_FRONTEND is not needed: nothing is installed.
        return process.run([*argv, command, *arguments]).stdout.decode()


def _record(stanza: str, suite: str, archive: ArchiveName, sets: tuple[str, ...]) -> DebianPackage:
    fields = dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", stanza, re.MULTILINE))
    return DebianPackage(
        name=fields["Package"],
        version=fields["Version"],
        architecture=fields["Architecture"],
        suite=suite,
        archive=archive,
        pool_path=fields["Filename"],
        size=int(fields["Size"]),
        sha256=fields["SHA256"],
        sets=sets,
    )
