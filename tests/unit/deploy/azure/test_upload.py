from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from deploy.azure import vhd
from deploy.azure.errors import AzureError, Reason
from deploy.azure.piece import data_bytes
from deploy.azure.upload import Image, Uploaded, upload
from supply_chain.digest import sha256_file
from supply_chain.progress import SilentProgress
from tests.simulators.azurite import Azurite
from tests.simulators.page_blob import Door, Request

pytestmark = pytest.mark.azure
MIB = 1 << 20
Answer = tuple[int, dict[str, str]]


class Notes(SilentProgress):
    """What a person was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


class Disk:
    """One disk in Azurite, what is uploaded to it, and how long that was told to wait."""

    def __init__(self, storage: Azurite, door: Door, image: Image, journals: Path) -> None:
        self.storage, self.door, self.image, self.journals = storage, door, image, journals
        self.name = journals.parent.name
        self.waits: list[float] = []
        self.told = Notes()
        self.grants = 0
        storage.disk(self.name, vhd.upload_bytes(image.path.stat().st_size))

    def grant(self) -> str:
        self.grants += 1
        return self.door.address(self.storage.signature(self.name))

    def upload(self, workers: int = 8) -> Uploaded:
        return upload(
            self.image,
            self.grant,
            journals=self.journals,
            progress=self.told,
            workers=workers,
            sleep=self.waits.append,
        )

    def content(self) -> str:
        return hashlib.sha256(self.storage.blob(self.name).download_blob().readall()).hexdigest()

    def wanted(self) -> str:
        data = self.image.path.read_bytes()
        padding = bytes(vhd.disk_bytes(len(data)) - len(data))
        return hashlib.sha256(data + padding + vhd.footer(len(data), self.image.sha256)).hexdigest()

    def puts(self) -> list[Request]:
        return [request for request in self.door.requests if request.is_put_page]


@pytest.fixture
def disk(azure_storage: Azurite, door: Door, image: Image, tmp_path: Path) -> Disk:
    return Disk(azure_storage, door, image, tmp_path / "journals")


def only_puts(answers: dict[int, Answer]) -> Callable[[int, Request], Answer | None]:
    """The nth Put Page is answered so."""
    count, lock = 0, threading.Lock()

    def answered(_number: int, request: Request) -> Answer | None:
        nonlocal count
        if not request.is_put_page:
            return None
        with lock:
            count += 1
            return answers.get(count)

    return answered


def test_the_disk_is_image_and_footer_and_nothing_but_data_was_sent(disk: Disk) -> None:
    done = disk.upload()
    assert disk.content() == disk.wanted()
    allocated = data_bytes(disk.image.path)
    assert allocated == 9 * MIB + 8192
    assert done == Uploaded(sent_bytes=allocated + 512, kept_bytes=0, disk_bytes=24 * MIB)
    assert disk.door.sent_bytes() == allocated + 512
    assert {(request.verb, request.operation) for request in disk.door.requests} == {
        ("HEAD", ""),
        ("GET", "pagelist"),
        ("PUT", "page"),
    }
    # The footer is what makes it a disk: it comes last.
    assert [request.length for request in disk.puts()].index(512) == len(disk.puts()) - 1
    # No .vhd, nor anything else, was written beside the image.
    assert {path.name for path in disk.image.path.parent.iterdir()} == {"image", "journals"}


def test_an_image_of_odd_size_is_filled_with_zeros(
    azure_storage: Azurite, door: Door, tmp_path: Path
) -> None:
    path = tmp_path / "image"
    path.write_bytes(b"odd" * 1001)
    disk = Disk(azure_storage, door, Image(path=path, sha256=sha256_file(path)), tmp_path / "j")
    disk.upload()
    assert disk.content() == disk.wanted()


def test_a_second_run_sends_nothing(disk: Disk) -> None:
    first = disk.upload()
    before = len(disk.puts())
    again = disk.upload()
    assert (again.sent_bytes, again.kept_bytes) == (0, first.sent_bytes)
    assert len(disk.puts()) == before


def test_after_a_kill_it_goes_on(disk: Disk) -> None:
    child: list[subprocess.Popen[bytes]] = []
    started, count, lock = threading.Event(), 0, threading.Lock()

    def answered(_number: int, request: Request) -> Answer | None:
        nonlocal count
        if not request.is_put_page:
            return None
        with lock:
            count += 1
            if count == 3:
                started.wait()
                os.kill(child[0].pid, signal.SIGKILL)
        return (0, {}) if count >= 3 else None

    disk.door.answered = answered
    code = (
        "import sys; from pathlib import Path; from deploy.azure.upload import *;"
        "from supply_chain.digest import sha256_file; from supply_chain.progress import *;"
        "image = Path(sys.argv[1]);"
        "upload(Image(path=image, sha256=sha256_file(image)), lambda: sys.argv[2],"
        "       journals=Path(sys.argv[3]), progress=SilentProgress(), workers=1)"
    )
    argv = [sys.executable, "-c", code]
    argv += [str(disk.image.path), disk.grant(), str(disk.journals)]
    child.append(subprocess.Popen(argv))
    started.set()
    assert child[0].wait(60) == -signal.SIGKILL

    disk.door.answered = lambda _number, _request: None
    before = disk.door.sent_bytes()
    done = disk.upload()
    assert disk.content() == disk.wanted()
    # The two pieces that were confirmed are not sent again, and all the others once.
    assert done.kept_bytes > 0
    assert done.sent_bytes + done.kept_bytes == data_bytes(disk.image.path) + 512
    assert disk.door.sent_bytes() - before == done.sent_bytes


def test_a_disk_that_was_made_anew_is_filled_whatever_the_journal_says(disk: Disk) -> None:
    first = disk.upload()
    blob = disk.storage.blob(disk.name)
    blob.delete_blob()
    disk.storage.disk(disk.name, vhd.upload_bytes(24 * MIB))
    again = disk.upload()
    assert (again.sent_bytes, again.kept_bytes) == (first.sent_bytes, 0)
    assert disk.content() == disk.wanted()


def test_503_is_waited_for_as_long_as_the_service_says(disk: Disk) -> None:
    disk.door.answered = only_puts({1: (503, {"Retry-After": "7"}), 2: (503, {}), 3: (500, {})})
    disk.upload(workers=1)
    assert disk.waits == [7.0, 2.0, 4.0]
    assert disk.content() == disk.wanted()


def test_a_connection_that_breaks_is_made_again(disk: Disk) -> None:
    disk.door.answered = only_puts({2: (0, {})})
    disk.upload(workers=1)
    assert disk.waits == [1.0]
    assert disk.content() == disk.wanted()


def test_a_service_that_stays_away_ends_it_and_the_next_run_goes_on(disk: Disk) -> None:
    disk.door.answered = only_puts({count: (503, {}) for count in range(3, 100)})
    with pytest.raises(AzureError) as caught:
        disk.upload(workers=1)
    assert caught.value.reason is Reason.UPLOAD_UNAVAILABLE
    assert disk.waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]
    assert [note.rpartition("; ")[2] for note in disk.told.notes] == [
        f"asked again in {seconds} s" for seconds in (4, 8, 16, 32)
    ]
    # What had been queued was not begun.
    assert len(disk.puts()) == 9
    disk.door.answered = lambda _number, _request: None
    assert disk.upload().kept_bytes > 0
    assert disk.content() == disk.wanted()


def test_an_expired_signature_is_renewed_once_for_all_workers(disk: Disk) -> None:
    grants = 0

    def grant() -> str:
        nonlocal grants
        grants += 1
        lasts = timedelta(hours=-1 if grants == 1 else 1)
        return disk.door.address(disk.storage.signature(disk.name, lasts=lasts))

    disk.grant = grant  # type: ignore[method-assign] # what a signature is good for is the test
    disk.upload()
    assert grants == 2
    assert disk.content() == disk.wanted()


def test_a_signature_that_expires_on_the_way_is_renewed(disk: Disk) -> None:
    first: list[str] = []

    def answered(number: int, request: Request) -> Answer | None:
        # Azure's own answer, from the fourth request on, to the signature of the first.
        first.append(request.signature)
        expired = number > 3 and request.signature == first[0]
        return (403, {"x-ms-error-code": "AuthenticationFailed"}) if expired else None

    disk.door.answered = answered
    other = timedelta(hours=2)
    address = disk.storage.signature(disk.name, lasts=other)
    granted = iter([disk.grant(), disk.door.address(address)])
    disk.grant = lambda: next(granted)  # type: ignore[method-assign] # likewise
    disk.upload()
    assert disk.content() == disk.wanted()


def test_a_new_signature_that_is_refused_too_ends_it(disk: Disk) -> None:
    disk.door.answered = only_puts({count: (403, {}) for count in range(1, 100)})
    with pytest.raises(AzureError) as caught:
        disk.upload()
    assert caught.value.reason is Reason.ACCESS
    assert "sig=" not in str(caught.value)


def test_a_new_signature_for_another_disk_is_refused(disk: Disk) -> None:
    disk.door.answered = only_puts({1: (403, {})})
    disk.storage.disk(f"{disk.name}-other", vhd.upload_bytes(24 * MIB))
    other = disk.door.address(disk.storage.signature(f"{disk.name}-other"))
    granted = iter([disk.grant(), other])
    disk.grant = lambda: next(granted)  # type: ignore[method-assign] # likewise
    with pytest.raises(AzureError, match="another disk") as caught:
        disk.upload(workers=1)
    assert caught.value.reason is Reason.ACCESS


def test_a_disk_of_another_size_is_refused(disk: Disk) -> None:
    disk.storage.blob(disk.name).delete_blob()
    disk.storage.disk(disk.name, 25 * MIB + 512)
    with pytest.raises(AzureError) as caught:
        disk.upload()
    assert caught.value.reason is Reason.SIZE
    assert disk.puts() == []


def test_a_disk_with_data_of_others_is_refused(disk: Disk) -> None:
    disk.storage.blob(disk.name).upload_page(b"x" * 512, 12 * MIB, 512)
    with pytest.raises(AzureError) as caught:
        disk.upload()
    assert caught.value.reason is Reason.UNKNOWN_DATA
    assert disk.puts() == []


def test_what_waiting_does_not_mend_ends_it_at_once(disk: Disk) -> None:
    disk.door.answered = only_puts({1: (412, {"x-ms-error-code": "LeaseIdMissing"})})
    with pytest.raises(AzureError, match="LeaseIdMissing") as caught:
        disk.upload(workers=1)
    assert caught.value.reason is Reason.UPLOAD_REFUSED
    assert len(disk.puts()) == 1


def test_the_door_refuses_what_azure_s_does(azure_storage: Azurite, image: Image) -> None:
    """Otherwise nothing that the other tests see would prove anything."""
    from tests.simulators import page_blob  # noqa: PLC0415 - a door of its own, with refusals

    with page_blob.door(azure_storage.port) as door:
        from azure.core.exceptions import HttpResponseError  # noqa: PLC0415 - optional
        from azure.storage.blob import BlobClient  # noqa: PLC0415 - optional

        azure_storage.disk("strict", MIB)
        address = door.address(azure_storage.signature("strict"))
        blob = BlobClient.from_blob_url(address, api_version="2021-12-02", retry_total=0)
        with blob:
            requests: tuple[Callable[[], object], ...] = (
                lambda: blob.create_page_blob(MIB),
                lambda: blob.upload_page(b"x" * 512, 0, 512, validate_content=True),
                lambda: blob.clear_page(0, 512),
                blob.delete_blob,
            )
            for forbidden in requests:
                with pytest.raises(HttpResponseError):
                    forbidden()
    assert len(door.refused) == 4
