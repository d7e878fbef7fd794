"""The report as one HTML file that asks nothing of any other: the Markdown rendered, its figures and queries in it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from engine.report.query import QueryResult

# No rule that makes a link or lets HTML through: the report has none, and a model's text must not get one.
_OFF = ["link", "autolink", "html_block", "html_inline", "reference"]
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
_REF = re.compile(r"\[(Q\d+)\]")

CSS = """
:root { --ink: #1a1a1a; --quiet: #5c5c5c; --line: #d5dbe1; --pale: #f4f6f8; --accent: #0072B2; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 62rem; color: var(--ink); background: #fff;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "Noto Sans", sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .8rem; padding-top: .6rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.02rem; margin: 1.6rem 0 .5rem; overflow-wrap: anywhere; }
p, ul { margin: .6rem 0; max-width: 46rem; overflow-wrap: anywhere; }
a { color: var(--accent); text-decoration: none; }
a:hover, a:focus { text-decoration: underline; }
a.query { font-size: .78em; white-space: nowrap; }
nav { background: var(--pale); border: 1px solid var(--line); border-radius: 6px; padding: .7rem 1rem;
  font-size: .92rem; }
nav ul { list-style: none; margin: 0; padding: 0; columns: 2; max-width: none; }
.table { overflow-x: auto; margin: .5rem 0 1.2rem; }
table { border-collapse: collapse; font-size: .84rem; line-height: 1.4; font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { border-bottom: 2px solid var(--quiet); vertical-align: bottom; font-weight: 600; }
td code { overflow-wrap: anywhere; }
code, pre { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .86em; }
pre { background: var(--pale); border: 1px solid var(--line); border-radius: 6px; padding: .6rem .8rem;
  overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: plaintext; }
figure { margin: 1rem 0 .4rem; }
figure svg { max-width: 100%; height: auto; }
details { margin: .3rem 0; }
summary { cursor: pointer; }
@media (max-width: 40rem) { nav ul { columns: 1; } body { font-size: 15px; } }
@media print {
  @page { size: A4; margin: 16mm 14mm; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav { break-after: page; }
  h2, h3 { break-after: avoid; }
  figure, tr, pre { break-inside: avoid; }
  table { font-size: 7.5pt; }
  th, td { padding: .15rem .3rem; }
  .table { overflow: visible; }
  thead { display: table-header-group; }
  a { color: inherit; }
}
"""


def page(markdown: str, title: str, figures: Mapping[str, str], queries: Sequence[QueryResult]) -> str:
    """The whole page; `figures` are drawings by the address that the Markdown gives them."""
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable("table").disable(_OFF)

    def image(_: Any, tokens: Sequence[Any], place: int, *__: Any) -> str:
        drawn = figures.get(str(tokens[place].attrs.get("src", "")))
        return drawn if drawn is not None else escape(tokens[place].content)

    reader.add_render_rule("image", image)
    body = reader.render(markdown)
    # A paragraph that holds a drawing alone is a figure; a table may be wider than the page.
    body = re.sub(r"<p>(<svg .*?</svg>)\s*</p>", r"<figure>\1</figure>", body, flags=re.DOTALL)
    body = body.replace("<table>", '<div class="table"><table>').replace("</table>", "</table></div>")
    contents: list[str] = []

    def heading(found: re.Match[str]) -> str:
        contents.append(f'<li><a href="#s{found[1]}">{found[1]}. {found[2]}</a></li>')
        return f'<h2 id="s{found[1]}">{found[1]}. {found[2]}</h2>'

    body = re.sub(r"<h2>(\d+)\. (.*?)</h2>", heading, body)
    names = {answer.name for answer in queries}

    def reference(found: re.Match[str]) -> str:
        return f'<a class="query" href="#{found[1]}">[{found[1]}]</a>' if found[1] in names else found[0]

    # Not within blocks of what a model wrote.
    parts = re.split(r"(<pre>.*?</pre>)", body, flags=re.DOTALL)
    body = "".join(part if part.startswith("<pre>") else _REF.sub(reference, part) for part in parts)
    nav = f'<nav aria-label="Contents"><ul>{"".join(contents)}<li><a href="#queries">Queries</a></li></ul></nav>'
    body = body.replace("</h1>", f"</h1>\n{nav}", 1)
    asked = "\n".join(
        f'<details id="{a.name}"><summary>{a.name}: {escape(a.title)}</summary><pre><code>{escape(a.sql)};</code></pre>'
        "</details>"
        for a in queries
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="referrer" content="no-referrer">
<title>{escape(title)}</title>
<style>{CSS}</style>
</head>
<body>
<main>
{body}
<h2 id="queries">Queries</h2>
<p>Every figure above comes from one of these, named in brackets beside it; they also stand in the file queries.sql.</p>
{asked}
</main>
</body>
</html>
"""
