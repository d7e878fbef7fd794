"""Which pairs a judge is asked about: the same items for all comparisons, spread over types and templates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from engine.evaluation import Item
from engine.evaluation.judging import COMPARED, HARMFUL_TYPES, HARMLESS, HELPFUL, QUESTIONS, JudgedPair
from engine.spec.provenance import short_hash


def chosen_items(items: Sequence[Item], each: int) -> dict[str, list[str]]:
    """Ids of at most `each` test items for each question.

    One item of every type in turn, each of another template as long as there are any; which comes first is by hash, so
    that nobody chose them and answers have no say.
    """
    found: dict[str, list[str]] = {}
    for question in QUESTIONS:
        of = [
            item
            for item in items
            if item.split == "test" and (item.item_type in HARMFUL_TYPES) == (question == HARMLESS)
        ]
        found[question] = [item.item_id for item in sorted(of, key=_turns(of))][:each]
    return found


def _turns(items: Sequence[Item]) -> Callable[[Item], tuple[int, int, str]]:
    """The order by item within its template, then by template within its type."""
    of_template: dict[tuple[str, str], list[str]] = {}
    for item in sorted(items, key=lambda one: short_hash("judged item", one.item_id)):
        of_template.setdefault((item.item_type, item.template), []).append(item.item_id)
    of_type: dict[str, list[tuple[str, str]]] = {}
    for template in sorted(of_template, key=lambda one: short_hash("judged template", *one)):
        of_type.setdefault(template[0], []).append(template)

    def turn(item: Item) -> tuple[int, int, str]:
        template = item.item_type, item.template
        return of_template[template].index(item.item_id), of_type[item.item_type].index(template), item.item_type

    return turn


def judged_pairs(chosen: Mapping[str, Sequence[str]], answers: Iterable[Mapping[str, Any]]) -> list[JudgedPair]:
    """The pairs of answers to the chosen items, by question and comparison; an item without both answers has none."""
    by: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in answers:
        by.setdefault(row["condition"], {})[row["item_id"]] = row
    return [
        JudgedPair(question, by[before][item_id], by[after][item_id])
        for question in (HELPFUL, HARMLESS)
        for before, after in COMPARED
        for item_id in chosen[question]
        if item_id in by.get(before, {}) and item_id in by.get(after, {})
    ]


def calls_planned(chosen: Mapping[str, Sequence[str]], conditions: Iterable[str]) -> int:
    """How often a judge is asked at most: both orders of each pair of the conditions that there are."""
    there = set(conditions)
    comparisons = sum(before in there and after in there for before, after in COMPARED)
    return 2 * comparisons * sum(map(len, chosen.values()))
