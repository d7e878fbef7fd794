"""A run's samples as a person looks at them: filtered, sorted, and paged through, also when there are a million.

The filter and the sort are paid for once: they give the ids in their order, which take some 20 bytes a sample. A page
is then looked up by its ids, wherever it lies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from store.errors import StoreError

if TYPE_CHECKING:
    from store.read import Reader, Row

COLUMNS = (
    "ordinal",
    "sample_id",
    "instruction",
    "response",
    "verdict",
    "basis",
    "flags",
    "split",
    "stop_reason",
    "n_tokens",
    "score",
)

_FROM_INSTRUCTIONS = "LEFT JOIN instructions i ON i.run_id = s.run_id AND i.instruction_id = s.instruction_id"
_FROM_VERDICTS = (
    "LEFT JOIN verdicts v ON v.run_id = s.run_id AND v.subject_kind = 'sample' AND v.subject_id = s.sample_id"
)
_FROM_JUDGEMENTS = (
    "LEFT JOIN (SELECT subject_id, score FROM judgements WHERE run_id = $run AND subject_kind = 'sample' "
    "AND critic = $critic) j ON j.subject_id = s.sample_id"
)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which samples, in which order. Empty fields choose nothing out.

    `score` is that of `critic`; `where` is a condition in SQL over COLUMNS, as a person types it.
    """

    verdict: str | None = None
    flag: str | None = None
    split: str | None = None
    text: str = ""
    critic: str = ""
    lowest: float | None = None
    highest: float | None = None
    where: str = ""
    order: str = "ordinal"
    descending: bool = False


class Listing:
    """The ids that a choice gives, in order; `len` is their number. Later samples are not in it."""

    def __init__(self, reader: Reader, run_id: str, choice: Choice) -> None:
        self._reader = reader
        self._run_id = run_id
        sql, params = _select(run_id, choice)
        self._ids = reader.column(sql, params)

    def __len__(self) -> int:
        return len(self._ids)

    def page(self, offset: int, limit: int) -> list[Row]:
        """Rows as Reader.samples gives them, in the order of the choice."""
        wanted: list[str] = self._ids.slice(offset, limit).to_pylist()
        by_id = {row["sample_id"]: row for row in self._reader.samples_by_id(self._run_id, wanted)}
        return [by_id[name] for name in wanted if name in by_id]


def _select(run_id: str, choice: Choice) -> tuple[str, dict[str, Any]]:
    """The statement that gives the ids; only the tables that the choice speaks of are joined."""
    if choice.order not in COLUMNS:
        raise StoreError(f"no column {choice.order!r} to sort by", f"there are: {', '.join(COLUMNS)}")
    typed = choice.where.strip()
    scored = bool(choice.critic) and (
        choice.order == "score" or choice.lowest is not None or choice.highest is not None or bool(typed)
    )
    params: dict[str, Any] = {"run": run_id}
    conditions = ["s.run_id = $run"]
    for name, column, value in (
        ("verdict", "v.verdict", choice.verdict),
        ("split", "i.split", choice.split),
        ("flag", "list_contains(v.flags, $flag)", choice.flag),
    ):
        if value is not None:
            conditions.append(column if "$" in column else f"{column} = ${name}")
            params[name] = value
    if choice.text:
        conditions.append("(contains(lower(i.text), $text) OR contains(lower(s.response), $text))")
        params["text"] = choice.text.lower()
    if scored:
        params["critic"] = choice.critic
        for name, sign, bound in (("lowest", ">=", choice.lowest), ("highest", "<=", choice.highest)):
            if bound is not None:
                conditions.append(f"j.score {sign} ${name}")
                params[name] = bound
    of_instruction = bool(typed or choice.split or choice.text) or choice.order in ("instruction", "split")
    of_verdict = bool(typed or choice.verdict or choice.flag) or choice.order in ("verdict", "basis", "flags")
    columns = {
        "ordinal": "s.ordinal",
        "sample_id": "s.sample_id",
        "instruction": "i.text" if of_instruction else "NULL",
        "response": "s.response",
        "verdict": "v.verdict" if of_verdict else "NULL",
        "basis": "v.basis" if of_verdict else "NULL",
        "flags": "v.flags" if of_verdict else "NULL",
        "split": "i.split" if of_instruction else "NULL",
        "stop_reason": "s.stop_reason",
        "n_tokens": "s.n_tokens",
        "score": "j.score" if scored else "NULL::DOUBLE",
    }
    listed = ", ".join(f"{source} AS {name}" for name, source in columns.items())
    joins = " ".join(
        join
        for join, needed in (
            (_FROM_INSTRUCTIONS, of_instruction),
            (_FROM_VERDICTS, of_verdict),
            (_FROM_JUDGEMENTS, scored),
        )
        if needed
    )
    direction = "DESC" if choice.descending else "ASC"
    # The line break keeps a comment at the end of what was typed from hiding the bracket.
    extra = f"WHERE ({typed}\n)" if typed else ""
    sql = (
        f"SELECT sample_id FROM (SELECT {listed} FROM samples s {joins} WHERE {' AND '.join(conditions)}) {extra} "
        f"ORDER BY {choice.order} {direction} NULLS LAST, ordinal"
    )
    return sql, params
