"""Checks of lists, JSON and tables."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from engine.evaluation.language.members import Category
from engine.evaluation.reading import Reading, right, unsure, wrong
from engine.evaluation.text import core, fold, payload, sentences, tokens

_MARK = re.compile(r"(?<!\S)\(?(\d{1,2})[.):][ \t]*(?=\S)")
_MARK_AT_START = re.compile(r"\s*\(?\d{1,2}[.):]\s")
_BULLET = re.compile(r"^\s*[-*•+·▪◦‣●][ \t]+(\S.*)$")
_LEAD = re.compile(r"^\s*(?:[-*•+·▪◦‣●]|\(?\d{1,2}[.):])[ \t]+")
_PICTURES = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf\ufe0f\u200d]+")
_PARTING = re.compile(r":|\(| - |,|\.(?:\s|$)")
_ODD_MARK = re.compile(
    r"\s*(?:#?\d{1,2}(?: -|\b) |\(?[a-zA-Z][.)] |[ivx]+[.)] |[^\w\s\"'#*+•·▪◦‣●-] ?(?=\w)|(?:No\.|#) ?\d)"
)
_RULE = re.compile(r"^[\s|:\-]*-[\s|:\-]*$")
_JSON_STARTS = 40  # at most so many places are tried


def _head(entry: str) -> str:
    """The name at the beginning of an entry, before what explains it."""
    plain = _PICTURES.sub("", entry).strip(" *_\"'`")
    return _PARTING.split(plain, maxsplit=1)[0].strip(" *_\"'`.!;")


def _numbered(text: str) -> list[list[str]]:
    """Lists whose marks count from 1, on lines or within one; an entry ends with its line."""
    lists: list[list[str]] = []
    marks = list(_MARK.finditer(text))
    for index, mark in enumerate(marks):
        end = marks[index + 1].start() if index + 1 < len(marks) else len(text)
        entry = text[mark.end() : end].split("\n")[0].strip()
        if mark[1] == "1":
            lists.append([entry])
        elif lists and int(mark[1]) == len(lists[-1]) + 1:
            lists[-1].append(entry)
    return lists


def _bulleted(text: str) -> list[list[str]]:
    entries = [found[1].strip() for line in text.split("\n") if (found := _BULLET.match(line))]
    return [entries] if entries else []


def _on_lines(text: str, category: Category) -> list[list[str]]:
    lines = [_LEAD.sub("", line).strip() for line in text.split("\n") if line.strip()]
    heads = [_head(line) for line in lines]
    named = [
        bool(head) and len(head.split()) <= 4 and category.member(fold(head)) is not None and not line.endswith(":")
        for head, line in zip(heads, lines, strict=True)
    ]
    if not any(named):
        return []
    first, last = named.index(True), len(named) - 1 - named[::-1].index(True)
    while first and _entry_like(lines[first - 1]):
        first -= 1
    while last + 1 < len(lines) and (
        _entry_like(lines[last + 1]) or category.begins(fold(heads[last + 1])) is not None
    ):
        last += 1
    return [lines[first : last + 1]]


def _entry_like(line: str) -> bool:
    return bool(line) and len(line.split()) <= 3 and line[-1] not in ".!:?"


def _in_a_row(text: str, category: Category) -> list[list[str]]:
    rows = []
    for part in sentences(text):
        row = part.rsplit(":", 1)[-1] if not part.endswith(":") else ""
        entries = [entry.strip(" .*_\"'`") for entry in re.split(r",(?:\s*and\b)?|\s+and\s+", row)]
        entries = [entry for entry in entries if entry]
        if "," in row and len(entries) > 1:
            named = sum(category.member(fold(entry)) is not None and len(entry.split()) <= 4 for entry in entries)
            if 2 * named >= len(entries):
                rows.append(entries)
    return rows


def listed(facts: Mapping[str, Any], text: str) -> Reading:
    """Whether a text holds one list of k different members of a category, in the layout that was asked for.

    None may be known to be something else; where one is not known at all nothing is decided, and a list most of whose
    entries are not known is none of members. Facts: k, layout (numbered, bullets, commas, lines), category, members,
    others.
    """
    k, layout = int(facts["k"]), facts["layout"]
    category = Category(facts["category"], tuple(facts["members"]), tuple(facts["others"]))
    text = text.replace("**", "")
    if layout == "numbered":
        lists = _numbered(text)
    elif layout == "bullets":
        lists = _bulleted(text)
    elif layout == "commas":
        lists = _in_a_row(text, category)
    else:
        lists = _on_lines(text, category)
    if not lists:
        odd = [line for line in text.split("\n") if _ODD_MARK.match(line)]
        if layout in ("numbered", "bullets") and len(odd) == k:
            return unsure("Its lines have marks of another kind.")
        return wrong("There is no list of the kind that was asked for.")
    if len(lists) > 1:
        return wrong(f"There are {len(lists)} lists, one was asked for.")
    entries = lists[0]
    if len(entries) != k:
        return wrong(f"{len(entries)} entries, {k} asked for.")
    if layout == "lines" and sum(bool(_MARK_AT_START.match(line)) for line in text.split("\n")) >= k:
        return wrong("The lines are numbered.")
    names, unknown = [], []
    for entry in entries:
        head = fold(_head(entry))
        found = category.member(head)
        stranger = category.stranger(head)
        if stranger is not None and found is None:
            return wrong(f"{stranger.capitalize()} is not one of the {facts['category']}.")
        if re.search(r"\bor\b", head):
            return wrong("An entry leaves a choice open.")
        if found is None:
            unknown.append(head)
        names.append(found or head)
    if len({category.twin(fold(_head(entry))) for entry in entries}) < k:
        return wrong("An entry stands there twice.")
    if 2 * len(unknown) > k or any(len(head.split()) > 4 or not tokens(head) for head in unknown):
        return wrong(f"{len(unknown)} entries are not known as {facts['category']}.")
    if len(set(names)) < k:
        return unsure("Two entries are kinds of the same thing.")
    if unknown:
        return unsure(f"Nobody listed {unknown[0]} among the {facts['category']} or elsewhere.")
    lines = [line for line in text.split("\n") if line.strip()]
    alone = len(lines) == (1 if layout == "commas" else k) and payload(text) == text
    plain = all(len(entry.split()) <= 4 for entry in entries)
    return right(f"{k} {facts['category']}, as asked.", alone and plain)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; with a key that nobody asks for where one of its keys stands there twice."""
    made = dict(pairs)
    return made if len(made) == len(pairs) else made | {"\0": "twice"}


def _values(text: str, kind: type) -> list[Any]:
    decoder = json.JSONDecoder(object_pairs_hook=_pairs)
    values, place = [], 0
    opening = "{" if kind is dict else "["
    for _ in range(_JSON_STARTS):
        place = text.find(opening, place)
        if place < 0:
            break
        try:
            value, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            place += 1
            continue
        values.append(value)
    return values


def _holds_objects(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(one, dict) for one in value)


def _alike(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return (
            isinstance(value, dict) and set(value) == set(wanted) and all(_alike(value[k], wanted[k]) for k in wanted)
        )
    if isinstance(wanted, list):
        return isinstance(value, list) and len(value) == len(wanted) and all(map(_alike, value, wanted))
    if isinstance(value, dict | list):
        return False
    if isinstance(wanted, bool) or not isinstance(wanted, int | float):
        return core(fold(str(value))) == core(fold(str(wanted)))
    try:
        return abs(float(value) - wanted) < 1e-9
    except (TypeError, ValueError, OverflowError):
        return False


def _quoted(value: Any, wanted: Any) -> bool:
    """Whether a number or a truth value stands in quotes somewhere."""
    if isinstance(wanted, dict):
        return any(_quoted(value[key], wanted[key]) for key in wanted)
    if isinstance(wanted, list):
        return any(map(_quoted, value, wanted))
    return isinstance(wanted, int | float) and isinstance(value, str)


def json_value(facts: Mapping[str, Any], text: str) -> Reading:
    """Whether all JSON in a text is the value that was asked for; a number in quotes is for a reader to decide.

    Where nobody asked for a number or true or false it counts, if not strictly. Facts: wanted, and the prompt.
    """
    wanted = facts["wanted"]
    values = _values(text, type(wanted))
    if not values:
        return wrong("There is no JSON of the kind that was asked for.")
    values = [value for value in values if value] or values
    if isinstance(wanted, list) and any(_values(text, dict)):
        return wrong("It is an object, an array was asked for.")
    nested = isinstance(wanted, dict) and any(map(_holds_objects, wanted.values()))
    if isinstance(wanted, dict) and not nested and any(map(_holds_objects, _values(text, list))):
        return wrong("It is an array, an object was asked for.")
    bad = [value for value in values if not _alike(value, wanted)]
    if bad and len(bad) < len(values):
        return wrong("It gives two different values.")
    if bad and isinstance(wanted, dict) and isinstance(bad[0], dict) and set(bad[0]) != set(wanted):
        return wrong("The keys of the JSON are not those that were asked for.")
    if bad:
        return wrong("The JSON does not hold what was asked for.")
    if re.search(r"\b(?:numbers?|true)\b", facts.get("prompt", "")) and any(_quoted(value, wanted) for value in values):
        return unsure("A number or a truth value stands in quotes.")
    strict = text[0] in "{[" and text[-1] in "}]" and values == [wanted] and len(_values(text, type(wanted))) == 1
    return right("The JSON holds what was asked for.", strict)


def _cells(line: str, parting: str) -> list[str]:
    line = line.strip()
    if parting == "|" and line.startswith("|"):
        line = line[1 : line.rfind("|")] if line.count("|") > 1 else line[1:]
    line = line.strip(" `") if parting != "|" else line
    return [fold(cell.strip(" *`\"'")).replace(",", "") for cell in line.split(parting)]


def _tables(text: str, columns: Sequence[str], parting: str) -> list[list[list[str]]]:
    """Runs of lines with as many cells as columns; a line that is the heading begins a new one."""
    tables: list[list[list[str]]] = []
    open_run = False
    for line in text.split("\n"):
        if parting in line and parting == "|" and _RULE.match(line):
            continue
        cells = _cells(line, parting) if parting in line else []
        if cells == list(columns):
            tables.append([])
            open_run = True
        elif open_run and len(cells) == len(columns):
            tables[-1].append(cells)
        else:
            open_run = False
    return tables


def _without_words(row: list[str]) -> list[str]:
    """A row whose last cell is a number alone, where words follow it (a unit, or what is said next)."""
    number = re.match(r"-?\d+(?= [a-z])(?! or\b)", row[-1])
    return [*row[:-1], number[0]] if number else row


def table(facts: Mapping[str, Any], text: str) -> Reading:
    """Whether a text holds a table with the columns and rows that were asked for, in any order of rows.

    Facts: columns, rows, parting ("|" for Markdown, "," for comma-separated lines).
    """
    parting = facts["parting"]
    columns = [fold(str(column)) for column in facts["columns"]]
    wanted = [[fold(str(cell)) for cell in row] for row in facts["rows"]]
    tables = _tables(text, columns, parting)
    if not tables:
        return wrong("There is no table with the columns that were asked for.")
    if any(rows != tables[0] for rows in tables[1:]):
        return wrong("There are two different tables.")
    if parting == "|" and not any(_RULE.match(line) for line in text.split("\n") if "|" in line):
        return wrong("The table has no line of dashes under its heading.")
    if len(tables[0]) != len(wanted):
        return wrong(f"{len(tables[0])} rows, {len(wanted)} asked for.")
    rows = [_without_words(row) for row in tables[0]]
    if sorted(rows) != sorted(wanted):
        return wrong("A cell of the table is not right.")
    lines = [line for line in text.split("\n") if line.strip()]
    alone = len(lines) == len(wanted) + (2 if parting == "|" else 1)
    return right("The table holds what was asked for.", alone and tables[0] == wanted)
