"""The report of a run: hostile text is inert, on the page and in Markdown."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from engine.core.text import visible, without_secrets
from store.inert.markdown import code, fence, inline
from tests.engine.report.report_rows import HOSTILE, SECRET
from tests.engine.report.test_report import blocks


class Page(HTMLParser):
    """What a browser would make of the page: its tags, and every address that it might ask for."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.events: list[str] = []
        self.ids: list[str] = []
        self.svg_titles = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("href", "src", "xlink:href", "data", "action", "srcset", "poster", "formaction", "background"):
                self.addresses.append(value or "")
            if name.startswith("on"):
                self.events.append(name)
            if name == "id":
                self.ids.append(value or "")
            if name == "style" and value:
                assert "url(" not in value.replace("url(#", "")

    handle_startendtag = handle_starttag


def test_the_page_asks_nothing_of_any_other(folder: Path) -> None:
    html = (folder / "report.html").read_text()
    page = Page()
    page.feed(html)
    outside = {
        "script",
        "link",
        "iframe",
        "object",
        "embed",
        "img",
        "image",
        "video",
        "audio",
        "base",
        "form",
        "source",
    }
    assert not outside & set(page.tags) and page.events == []
    assert page.addresses and all(address.startswith("#") for address in page.addresses)
    assert {address[1:] for address in page.addresses} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert "url(" not in html.replace("url(#", "") and "@import" not in html and "@font-face" not in html
    assert "default-src 'none'" in html and "@media print" in html
    assert page.tags.count("svg") == 5 and page.tags.count("h1") == 1
    assert html.count('role="img"') == 5 and 'lang="en"' in html


def test_what_a_model_wrote_is_inert_everywhere(folder: Path) -> None:
    page = Page()
    html = (folder / "report.html").read_text()
    page.feed(html)
    assert "b" not in page.tags and "script" not in page.tags and "[Q999]" in html
    assert all("<a" not in block for block in re.findall(r"<pre>.*?</pre>", html, re.DOTALL))
    for path in folder.rglob("*"):
        if path.is_file():
            text = path.read_text()
            assert "\x1b" not in text and SECRET not in text, path
            assert "\u202e" not in text and "\u200b" not in text, path
    markdown = (folder / "report.md").read_text()
    outside = "\n\n".join(blocks(markdown))
    assert not re.search(r"https?://", outside)
    # What another reader would make of it, one that lets HTML through.
    page = Page()
    page.feed(MarkdownIt("gfm-like", {"html": True, "linkify": False}).disable("linkify").render(markdown))
    assert set(page.tags) <= {"h1", "h2", "h3", "p", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "code",
                              "pre", "em", "strong", "img"}  # fmt: skip
    assert sorted(page.addresses) == sorted(f"figures/{path.name}" for path in (folder / "figures").glob("*.svg"))
    assert "[removed: looks like a secret]" in markdown and "⟨U+202E⟩evil" in markdown and "␛[31m" in markdown


def test_a_fence_is_longer_than_what_it_holds() -> None:
    assert fence("a ```` b").startswith("`````text\n") and fence("plain") == "```text\nplain\n```"
    assert code("a`b``c") == "```a`b``c```" and code("`") == "`` ` ``" and code("") == "`(empty)`"
    assert visible("a\x00\x1b\u2028\u202e\ue000\tb") == "a␀␛⟨U+2028⟩⟨U+202E⟩⟨U+E000⟩    b"
    assert inline("1. <a>*b*_c_|d\ne") == "1\\. \\<a\\>\\*b\\*\\_c\\_\\|d↵e"
    assert inline("x" * 500).endswith("…") and len(inline("x" * 500)) == 401


@pytest.mark.parametrize(
    "text", [HOSTILE, "# a", "- a", "1. a", "[a]: http://b", "=== ", "a\\", "|a|b|", "&lt;b&gt;", "***"]
)
def test_inline_text_comes_out_of_a_markdown_reader_as_it_went_in(text: str) -> None:
    reader = MarkdownIt("gfm-like", {"html": True, "linkify": False}).disable("linkify")
    page = Page()
    page.feed(reader.render(inline(text)))
    assert page.tags == ["p"]
    (_, cell) = reader.render(f"| a |\n| --- |\n| {inline(text)} |").split("<tbody>")
    page = Page()
    page.feed(cell)
    assert page.tags == ["tr", "td"]
    page = Page()
    page.feed(reader.render(fence(text)))
    assert page.tags == ["pre", "code"]


@pytest.mark.parametrize(
    "secret", [SECRET, "hf_" + "a" * 30, "ghp_" + "B" * 36, "AKIA" + "Z" * 16, "-----BEGIN RSA PRIVATE KEY-----"]
)
def test_secrets_are_taken_out(secret: str) -> None:
    assert secret not in without_secrets(f"a {secret} b")
    for harmless in ("task-oriented-benchmarks-of-today", "sk-short", "risk-averse-behaviour-in-models"):
        assert without_secrets(harmless) == harmless
