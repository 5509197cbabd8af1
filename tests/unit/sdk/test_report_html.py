"""The page of a report: whole in itself, honest to the eye and the ear, deaf to strangers."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from itertools import pairwise, product

import pytest

from blindllama._page.style import STYLE
from blindllama.errors import Code, QuoteError
from blindllama.report import TITLES, Report

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</dd></dl></main><h1>Verified</h1>",
    "&lt;b&gt;",
    "javascript:alert(1)",
)


class Page(HTMLParser):
    """What a browser would see: elements, attributes and text."""

    VOID = frozenset({"meta", "input", "!doctype"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["style"], ["script"]):
            self.words.append(data)

    def tags(self) -> list[str]:
        return [tag for tag, _ in self.elements]


def report(detail: str = "seen", *, error: str | None = None) -> Report:
    made = Report()
    for step in range(1, 8):
        with made.check(step) as details:
            details["key"] = detail
            if step == 4:
                details["release"] = detail
    if error is not None:
        with pytest.raises(QuoteError), made.check(8):
            raise QuoteError(error, code=Code.QUOTE_MAGIC, step=8, got=error)
    return made


def test_all_checks_are_there_with_a_word_for_how_they_ended() -> None:
    page = Page(report(error="magic").html())
    text = " ".join(page.words)
    for title in TITLES.values():
        assert title in text
    assert page.tags().count("li") == 10 + 1
    assert text.count("✔ passed") == 7
    assert text.count("✘ refused") == 1
    assert text.count("· not run") == 2
    assert "What to do:" in text


def test_a_screen_reader_finds_its_way() -> None:
    page = Page(report().html())
    tags = page.tags()
    assert dict(page.elements[0][1]) == {"lang": "en"}
    assert tags.count("h1") == tags.count("main") == tags.count("title") == 1
    headings = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(headings))


def test_it_needs_nothing_from_elsewhere_and_runs_nothing() -> None:
    text = report(error="magic").html()
    page = Page(text)
    assert set(page.tags()).isdisjoint({"script", "img", "link", "iframe", "form", "object", "a"})
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name in {"src", "href"}]
    assert "url(" not in text
    assert "@import" not in text


def test_its_security_policy_allows_its_own_style_only() -> None:
    text = report().html()
    style = re.search("<style>(.*)</style>", text, re.DOTALL)
    policy = re.search('Content-Security-Policy" content="([^"]*)"', text)
    assert style is not None
    assert policy is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy[1].startswith("default-src 'none'; ")
    assert policy[1].endswith(f"style-src 'sha256-{digest}'")


@pytest.mark.parametrize("hostile", HOSTILE)
def test_what_strangers_write_stays_text(hostile: str) -> None:
    honest = Page(report("seen", error="magic").html())
    page = Page(report(hostile, error=hostile).html())
    assert page.elements == honest.elements
    assert "".join(page.words).count(hostile) >= 9


def test_it_is_for_phones_for_the_dark_and_for_paper() -> None:
    text = report().html()
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text
    for medium in ("(prefers-color-scheme: dark)", "(max-width: 32rem)", "print"):
        assert f"@media {medium}" in text


def luminance(color: str) -> float:
    """Relative luminance, WCAG 2.2."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_every_color_can_be_read() -> None:
    """Contrast of at least 4.5 to 1, WCAG 2.2, success criterion 1.4.3."""
    themes = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    assert len(themes) == 2
    for theme in themes:
        colors = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", theme))
        inks = ("ink", "quiet", "passed", "failed", "not_run")
        for ground, ink in product(("page", "card"), inks):
            light, dark = sorted((luminance(colors[ground]), luminance(colors[ink])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (ground, ink)
