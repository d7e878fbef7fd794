"""Answers without the condition that they are of, and the grades that readers gave them.

An answer's id is the hash of its instruction and its text, so it says nothing of the condition, a text that several
conditions gave is read once, and writing the file again changes no id.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from engine.spec.provenance import short_hash

GRADES = ("good", "pass", "bad")
COUNTS = {"good": ("good",), "good or passable": ("good", "pass")}  # what a measure counts as right

Key = dict[str, list[dict[str, Any]]]  # by id: seed (None: the base, which has none), condition and instruction_id
Outcomes = dict[tuple[int, str], dict[str, bool]]  # by seed and condition: whether an item or instruction went well


def blinded(answers: Iterable[Mapping[str, Any]]) -> tuple[list[dict[str, str]], Key]:
    """What is read, in an order that follows from nothing that a reader could know, and the key to it."""
    shown: dict[str, dict[str, str]] = {}
    key: Key = {}
    for answer in answers:
        name = short_hash("blind", answer["instruction"], answer["answer"], length=10)
        shown[name] = {"id": name, "instruction": answer["instruction"], "answer": answer["answer"]}
        place = {field: answer[field] for field in ("seed", "condition", "instruction_id")}
        key.setdefault(name, []).append(place)
    return [shown[name] for name in sorted(shown)], dict(sorted(key.items()))


def grades_of(lines: Iterable[str], known: Collection[str]) -> dict[str, str]:
    """The grades of a file that came back, one JSON object a line. Raises ValueError for a line that cannot count."""
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            name, grade = row["id"], row["grade"]
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"line {number} is no object with id and grade: {line.strip()[:80]}") from None
        if name not in known:
            raise ValueError(f"line {number} grades {name!r}, which is no answer of this folder")
        if grade not in GRADES:
            raise ValueError(f"line {number} has the grade {grade!r}; there are {', '.join(GRADES)}")
        if found.setdefault(name, grade) != grade:
            raise ValueError(f"line {number} grades {name} as {grade}, an earlier line as {found[name]}")
    return found


def outcomes_of(key: Key, grades: Mapping[str, str], seeds: Sequence[int], measure: str) -> Outcomes:
    """By seed and condition, which instructions were answered well; what was not read is left out.

    The base has no seed: its one answer stands beside each seed's.
    """
    found: Outcomes = {}
    for name, places in key.items():
        if name not in grades:
            continue
        well = grades[name] in COUNTS[measure]
        for place in places:
            for seed in seeds if place["seed"] is None else (place["seed"],):
                found.setdefault((seed, place["condition"]), {})[place["instruction_id"]] = well
    return found
