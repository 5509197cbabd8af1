from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from invoke import Context
from invoke.exceptions import Exit

from deploy.azure._tasks import VARIABLE, _Asked, upload_image
from deploy.azure.errors import AzureError, Reason

ADDRESS = "https://disk.blob.invalid/container/disk?sv=1&sig=c2VjcmV0"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    with path.open("wb") as file:
        file.write(b"x" * 4096)
        file.truncate(30 << 20)
    return path


@pytest.fixture
def refusal(image: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """What the task says about an address in the environment."""
    monkeypatch.setenv(VARIABLE, request.param)
    monkeypatch.setenv("BLINDLLAMA_CACHE", str(image.parent / "cache"))
    with pytest.raises(Exit) as caught:
        upload_image.body(Context(), str(image))
    assert caught.value.code == 1
    return str(caught.value)


def test_the_plan_says_size_and_data_and_asks_for_nothing(
    image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    upload_image.body(Context(), str(image), plan=True)
    assert capsys.readouterr().out.splitlines() == [
        f"uploadSizeBytes  {(30 << 20) + 512}",
        "data             4096 bytes at most, the rest are holes",
    ]


@pytest.mark.parametrize(
    "refusal",
    ["disk", ADDRESS.replace("https", "http"), "https://disk.blob.invalid/disk?se=c2VjcmV0"],
    indirect=True,
)
def test_an_address_that_is_none_is_refused_and_not_repeated(refusal: str) -> None:
    assert "[azure.upload.access]" in refusal
    assert "c2VjcmV0" not in refusal


@pytest.mark.skipif(importlib.util.find_spec("azure") is not None, reason="the library is there")
@pytest.mark.parametrize("refusal", [ADDRESS], indirect=True)
def test_without_the_library_it_says_what_installs_it(refusal: str) -> None:
    assert "requirements/azure.txt" in refusal
    assert "[azure.not_installed]" in refusal


def test_the_first_address_is_the_given_one_and_a_person_is_asked_for_the_next() -> None:
    asked = _Asked("first", ask=lambda _prompt: "second")
    assert (asked(), asked()) == ("first", "second")


def test_without_a_terminal_it_says_what_to_set() -> None:
    def nobody(_prompt: str) -> str:
        raise OSError("no such device")

    with pytest.raises(AzureError, match=VARIABLE) as caught:
        _Asked(None, ask=nobody)()
    assert caught.value.reason is Reason.ACCESS


def test_the_list_of_tasks_imports_nothing_of_the_group(checkout: Path) -> None:
    code = "import sys, tasks; sys.exit('azure.storage' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=checkout, check=False)
    assert done.returncode == 0
