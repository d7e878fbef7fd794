"""The report as it is written: paragraphs and tables whose every figure is a value of a query's row."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.report import numbers
from engine.report.query import Queries, QueryResult
from store.inert.markdown import fence, inline

_FIELD = re.compile(r"\{([\w,]+):(\w+)\}")
# What may stand in a sentence without a query: levels of intervals by convention, names, years of cited papers.
_CONSTANTS = re.compile(r"95 %|SHA-256|\([^()]*\b(?:18|19|20)\d\d[^()]*\)")
NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class ReportColumn:
    """A column of a table: its heading, the kind of its values, and the fields of a row that it shows."""

    heading: str
    kind: str
    fields: tuple[str, ...]


def col(heading: str, kind: str, *fields: str) -> ReportColumn:
    """A column; the field is the heading where none is named. Raises ValueError for an unknown kind."""
    if kind not in numbers.KINDS:
        raise ValueError(f"no kind of value {kind!r}")
    return ReportColumn(heading, kind, fields or (heading,))


# What a check measured, and what it was asked for.
MEASURED = [
    col("measured", "figure"), col("95 % interval", "interval", "lo", "hi"), col("n", "count"),
    col("asked for", "against", "op", "threshold"),
]  # fmt: skip


def markdown_table(columns: Sequence[ReportColumn], rows: Sequence[Mapping[str, Any]], rules: Sequence[str]) -> str:
    """Rows as a table in Markdown, `rules` saying on which side the cells of each column stand."""
    cells = [[numbers.written(c.kind, tuple(row[f] for f in c.fields)) for c in columns] for row in rows]
    lines = [[column.heading for column in columns], rules, *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure in its two forms: the drawing, and the rows that it was drawn from."""

    name: str
    svg: str
    csv: str
    about: str


class Document:
    """Markdown, section by section. A digit reaches it only through a query's answer."""

    def __init__(self, queries: Queries) -> None:
        self.queries = queries
        self.figures: list[Figure] = []
        self._parts: list[str] = []
        self._sections = 0

    def title(self, text: str, answer: QueryResult) -> None:
        self._parts.append(f"# {self._filled(text, answer, answer.row)}")

    def section(self, title: str) -> None:
        self._sections += 1
        self._parts.append(f"## {self._sections}. {_constant(title)}")

    def part(self, title: str, answer: QueryResult | None = None, row: Mapping[str, Any] | None = None) -> None:
        filled = self._filled(title, answer, row) if answer else _constant(title)
        self._parts.append(f"### {filled}")

    def say(self, text: str, answer: QueryResult | None = None, row: Mapping[str, Any] | None = None) -> None:
        """A paragraph. `{field:kind}` takes a value of the answer's row, by default its first.

        Raises ValueError where the text itself has a digit, KeyError for a field that the row has not.
        """
        self._parts.append(self.told(text, answer, row))

    def points(self, told: Sequence[str]) -> None:
        """A list of what `told` gave."""
        self._parts.append("\n".join(f"- {text}" for text in told))

    def told(self, text: str, answer: QueryResult | None = None, row: Mapping[str, Any] | None = None) -> str:
        """A sentence as `say` writes it, for a list."""
        if answer is None:
            return _constant(text)
        return f"{self._filled(text, answer, row)} {answer.ref}"

    def holding(self, answer: QueryResult, sentences: Sequence[tuple[object, str]]) -> list[str]:
        """Of sentences about an answer, each behind its condition, those that hold."""
        return [self.told(text, answer) for holds, text in sentences if holds]

    def say_each(self, answer: QueryResult, sentences: Sequence[tuple[object, str]]) -> None:
        """The sentences that hold, a paragraph each."""
        self._parts += self.holding(answer, sentences)

    def listed(
        self, title: str, sql: str, caption: str, columns: Sequence[ReportColumn], absent: str = "", *, about: str = ""
    ) -> None:
        """The rows of a query as a table, behind the paragraph `about` where there are any."""
        found = self.queries.ask(title, sql)
        if found and about:
            self.say(about)
        self.table(caption, found, columns, absent)

    def table(self, caption: str, answer: QueryResult, columns: Sequence[ReportColumn], absent: str = "") -> None:
        """The answer's rows as a table; where there are none the sentence `absent` instead."""
        if not answer:
            self.say(absent or f"{caption}: not measured in this run.", answer)
            return
        for column in columns:
            _constant(column.heading)
        rules = ["---" if column.kind in numbers.TEXTS else "---:" for column in columns]
        table = markdown_table(columns, answer.rows, rules)
        self._parts.append(f"**{_constant(caption)}** {answer.ref}\n\n{table}")

    def text(self, written: str, limit: int = 4000) -> None:
        """A text that somebody wrote, as a block in which nothing is markup."""
        self._parts.append(fence(written, limit))

    def figure(self, figure: Figure, answer: QueryResult, caption: str) -> None:
        """A drawing with its caption; what it shows in words stands as its alternative text."""
        self.figures.append(figure)
        self._parts.append(
            f"![{inline(figure.about, 4000)}](figures/{figure.name}.svg)\n\n*Figure: {_constant(caption)}* {answer.ref}"
        )

    def markdown(self) -> str:
        return "\n\n".join(self._parts) + "\n"

    def _filled(self, text: str, answer: QueryResult, row: Mapping[str, Any] | None) -> str:
        _constant(_FIELD.sub("", text))
        found = answer.row if row is None else row

        def value(match: re.Match[str]) -> str:
            values = tuple(found[name] for name in match[1].split(","))
            return numbers.written(match[2], values, NOT_MEASURED)

        return _FIELD.sub(value, text)


def _constant(text: str) -> str:
    """The text itself, refused where it has a digit that is no constant."""
    if re.search(r"\d", _CONSTANTS.sub("", text)):
        raise ValueError(f"a number must come from a query, not from the text {text!r}")
    return text
