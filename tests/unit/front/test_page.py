"""docs/serving.md: its codes, paths and limits are those of the program."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from front.__main__ import parser
from front.api import Api
from front.dialect import KINDS, LlamaDialect
from front.errors import STATUS, Code
from front.generate import GenerateRequest
from front.request import CompletionRequest
from front.upstream import Upstream
from front.work import Settings, Work
from tests.unit.front.conftest import LIMITS, MODEL


@pytest.fixture(scope="module")
def page(checkout: Path) -> str:
    return (checkout / "docs" / "serving.md").read_text("utf-8")


def test_every_code_is_on_the_page_with_its_status(page: str) -> None:
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| (\d{3}) \|", page, re.MULTILINE))

    assert rows == {code.value: str(STATUS[code]) for code in Code}


def test_every_path_of_the_page_is_served(page: str) -> None:
    async def routes(*, embeddings: bool) -> set[tuple[str, str]]:
        settings = Settings(model=MODEL, limits=LIMITS, embeddings=embeddings)
        work = Work(settings, Upstream("unix:/x", LlamaDialect(MODEL)), clock=lambda: 0.0)
        app = Api(settings, work, seconds=lambda: 0, identity=str).application()
        await work.close()
        return {
            (route.method, route.resource.canonical)
            for route in app.router.routes()
            if route.resource is not None and route.method != "HEAD"
        }

    served = asyncio.run(routes(embeddings=False)) | asyncio.run(routes(embeddings=True))
    assert set(re.findall(r"^\| `(GET|POST) ([^`]*)` \|", page, re.MULTILINE)) == served


def test_the_shared_fields_limits_and_kinds_are_on_the_page(page: str) -> None:
    for field in (*CompletionRequest.model_fields, *GenerateRequest.model_fields):
        assert f"`{field}`" in page
    said = parser().parse_args(
        [
            "--listen",
            "h:1",
            "--kind",
            "triton",
            "--server",
            "unix:/x",
            "--model",
            "m",
            "--max-tokens",
            "1",
            "--concurrent",
            "1",
        ]
    )
    for option, value in (
        ("--prompt-characters", said.prompt_characters),
        ("--time-s", said.time_s),
        ("--waiting", said.waiting),
    ):
        assert f"`{option}` ({value:g})" in page
    for kind in KINDS:
        assert f"| `{kind}` |" in page
