"""A run's samples as a person looks at them: filtered, sorted, and paged through, also when there are a million.

The filter and the sort are paid for once: they give the ids in their order, some twenty bytes a sample. A page is then
looked up by its ids, which are indexed, wherever it lies. A listing holds no reader and may outlive it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.compute

from store.console.statement import nodes
from store.encode import nearest
from store.errors import StoreError
from store.outcomes import LABELS_SQL
from store.query import Query

_JOINS = {
    "i": "LEFT JOIN instructions i ON i.run_id = s.run_id AND i.instruction_id = s.instruction_id",
    "v": "LEFT JOIN verdicts v ON v.run_id = s.run_id AND v.subject_kind = 'sample' AND v.subject_id = s.sample_id",
    "j": "LEFT JOIN (SELECT subject_id, score FROM judgements WHERE run_id = $run AND subject_kind = 'sample' "
    "AND critic = $critic) j ON j.subject_id = s.sample_id",
    "p": f"LEFT JOIN {LABELS_SQL} p ON p.run_id = s.run_id AND p.subject_kind = 'sample' "
    "AND p.subject_id = s.sample_id",
}
_SOURCES = {
    "ordinal": "s.ordinal",
    "sample_id": "s.sample_id",
    "instruction": "i.text",
    "response": "s.response",
    "verdict": "v.verdict",
    "basis": "v.basis",
    "flags": "v.flags",
    "split": "i.split",
    "stop_reason": "s.stop_reason",
    "n_tokens": "s.n_tokens",
    "score": "j.score",
    "person": "p.label",
}
COLUMNS = tuple(_SOURCES)
# Instructions are asked for apart, so that only those that match are joined and not all their texts.
_SAYS = (
    "(s.instruction_id IN (SELECT instruction_id FROM instructions WHERE run_id = $run "
    "AND contains(lower(text), $text)) OR contains(lower(s.response), $text))"
)
_UNKNOWN = re.compile(r'Referenced column "(?P<name>[^"]+)" not found')


@dataclass(frozen=True, slots=True)
class Selection:
    """Which samples, in which order. Empty fields choose nothing out.

    `flagged` asks for any flag, `label` for a person's label or "any"; `score` is that of `critic`; `where` is a
    condition in SQL over COLUMNS, as a person types it.
    """

    verdict: str | None = None
    flagged: bool = False
    flag: str | None = None
    split: str | None = None
    label: str | None = None
    text: str = ""
    critic: str = ""
    lowest: float | None = None
    highest: float | None = None
    where: str = ""
    order: str = "ordinal"
    descending: bool = False


class Listing:
    """The ids that a choice gave, in order; `len` is their number. Samples that came later are not in it."""

    def __init__(self, run_id: str, ids: Any) -> None:
        self.run_id = run_id
        self._ids = ids

    @classmethod
    def of(cls, reader: Query, run_id: str, choice: Selection) -> Listing:
        """What the choice gives now. Raises StoreError for a condition that cannot be understood."""
        if choice.order not in COLUMNS:
            raise StoreError(f"no column {choice.order!r} to sort by", nearest(choice.order, COLUMNS))
        typed = choice.where.strip()
        if typed:
            _require_condition(reader, typed)
        sql, params = _select(run_id, choice, typed)
        try:
            return cls(run_id, reader.column(sql, params, typed=bool(typed)))
        except StoreError as error:
            raise (_misunderstood(typed, error.title) if typed else error) from error

    @classmethod
    def of_ids(cls, run_id: str, ids: Sequence[str]) -> Listing:
        """Samples that somebody else chose, in their order."""
        return cls(run_id, pyarrow.array(ids, pyarrow.string()))

    def __len__(self) -> int:
        return len(self._ids)

    def ids(self, offset: int, limit: int) -> list[str]:
        found: list[str] = self._ids.slice(offset, limit).to_pylist()
        return found

    def position(self, sample_id: str) -> int | None:
        """Where a sample stands, None where the choice leaves it out."""
        # Not `index`, which wants a scalar, for which Arrow would import pandas: 40 MB and a third of a second.
        starting = pyarrow.compute.starts_with(self._ids, pattern=sample_id)
        places = pyarrow.compute.indices_nonzero(starting).to_pylist()
        return next((int(at) for at in places if self._ids[at].as_py() == sample_id), None)


def _select(run_id: str, choice: Selection, typed: str) -> tuple[str, dict[str, Any]]:
    """The statement that gives the ids; only the tables that the choice speaks of are joined."""
    params: dict[str, Any] = {"run": run_id}
    conditions = ["s.run_id = $run"]
    used = {_SOURCES[choice.order][0]}

    def need(condition: str, **values: object) -> None:
        conditions.append(condition)
        params.update(values)
        used.update(table for table in _JOINS if re.search(rf"\b{table}\.", condition))

    if choice.flagged:
        need("len(v.flags) > 0")
    if choice.label == "any":
        need("p.label IS NOT NULL")
    for name, value, condition in (
        ("verdict", choice.verdict, "v.verdict = $verdict"),
        ("flag", choice.flag, "list_contains(v.flags, $flag)"),
        ("split", choice.split, "i.split = $split"),
        ("label", None if choice.label == "any" else choice.label, "p.label = $label"),
        ("text", choice.text.lower() or None, _SAYS),
        ("lowest", choice.lowest if choice.critic else None, "j.score >= $lowest"),
        ("highest", choice.highest if choice.critic else None, "j.score <= $highest"),
    ):
        if value is not None:
            need(condition, **{name: value})
    words = set(re.findall(r"\w+", typed.lower()))
    used |= {source[0] for name, source in _SOURCES.items() if name in words}
    used &= set(_JOINS)
    if not choice.critic:
        used.discard("j")
    if "j" in used:
        params["critic"] = choice.critic
    listed = ", ".join(
        f"{source if source[0] == 's' or source[0] in used else 'NULL'} AS {name}" for name, source in _SOURCES.items()
    )
    joins = " ".join(join for table, join in _JOINS.items() if table in used)
    # The line break keeps a comment at the end of what was typed from hiding the bracket.
    extra = f"WHERE ({typed}\n)" if typed else ""
    direction = "DESC" if choice.descending else "ASC"
    return (
        f"SELECT sample_id FROM (SELECT {listed} FROM samples s {joins} WHERE {' AND '.join(conditions)}) {extra} "
        f"ORDER BY {choice.order} {direction} NULLS LAST, ordinal"
    ), params


def _require_condition(reader: Query, typed: str) -> None:
    """Raise StoreError unless what was typed is one condition that looks at nothing but the sample's own columns."""
    try:
        tree = reader.typed_tree(f"SELECT 1 WHERE ({typed}\n)")
    except StoreError as error:
        raise _misunderstood(typed, error.title) from error
    node = tree["statements"][0]["node"] if len(tree.get("statements", ())) == 1 else {}
    plain = node.get("type") == "SELECT_NODE" and not any(
        node.get(name) for name in ("modifiers", "group_expressions", "having", "qualify", "sample")
    )
    if not plain or any(item.get("class") in ("SUBQUERY", "PARAMETER", "WINDOW") for item in nodes(node)):
        raise StoreError(
            "only a condition on one sample can be typed here",
            "Sub-selects and whole statements belong into the SQL room. For example: n_tokens > 40 AND score < 0",
        )


def _misunderstood(typed: str, told: str) -> StoreError:
    unknown = _UNKNOWN.search(told)
    if unknown:
        return StoreError(f"no column {unknown['name']!r} in a condition", nearest(unknown["name"], COLUMNS))
    first = told.partition("failed: ")[2] or told
    first = first.strip().splitlines()[0] if first.strip() else "it is not a condition"
    return StoreError(f"the condition {typed!r} cannot be used: {first}", f"columns: {', '.join(COLUMNS)}")
