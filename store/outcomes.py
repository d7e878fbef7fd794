"""What a gate's check came to: passed, failed, not tested or empty. Derived from a row's figures, old rows alike.

A check that could not have failed, or that too few items decide, shows nothing: it is not tested, and no face may
tell it as a pass. A part of a stage that yielded nothing is empty, which fails its gate.
"""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from store.names import READERS

PASSED, FAILED, NOT_TESTED, EMPTY = "passed", "failed", "not tested", "empty"
RESULTS = (PASSED, FAILED, NOT_TESTED, EMPTY)
FAILING = frozenset({FAILED, EMPTY})

Row = Mapping[str, Any]
OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
}

# Counts and shares of what a stage is to yield: where one is nothing, the stage did nothing.
YIELDS = (
    "instruction acceptance",
    "pair acceptance",
    "preference pairs",
    "kept revisions",
    "kept best-of pairs",
    "pairs decided by an audited critic",
)
_ASKED = "_right"  # of a condition of the gap gate: without an answer it was not asked
_MAY_BE_NEGATIVE = ("smallest margin",)  # a threshold of 0 can be missed
_DECIDES = ("guard passed",)  # not measured is not passed
# Of what a person read blind: how many, and once all are read the share of good ones by what the run decided.
READ = "read by a person"
READ_GOOD = {True: "accepted, read as good", False: "not accepted, read as good"}
READ_NAMES = (READ, *READ_GOOD.values())
LEAST = 5  # fewer items decide nothing
_Z2 = 1.959963984540054**2  # of Wilson's interval at 95 %


def holds(measured: float | None, op: str, threshold: float) -> bool:
    """Whether the figure meets its threshold; False where nothing was measured."""
    return measured is not None and OPERATORS[op](measured, threshold)


def result_of(row: Row) -> str:
    """The result of a check, from a row with check_name, measured, lo, n, op and threshold.

    A row that was stored as not passed is never read as passed.
    """
    if why_untested(row):
        return NOT_TESTED
    if holds(row["measured"], row["op"], row["threshold"]) and row.get("passed", True):
        return PASSED
    return EMPTY if _is_empty(row) else FAILED


def beyond(row: Row) -> float:
    """How far a figure is beyond its threshold, as a share of how far it could be; below 0 where it holds.

    What was not measured is 1. A count has no end, and is told as a share of itself.
    """
    measured, threshold = row["measured"], row["threshold"]
    if measured is None:
        return 1.0
    above = measured > threshold
    gap = measured - threshold if row["op"] in ("<", "<=") else threshold - measured
    room = threshold if not above else measured if row["lo"] is None else 1 - threshold
    share: float = gap / room if room > 0 else math.copysign(1.0, gap) if gap else 0.0
    return min(1.0, max(-1.0, share))


def why_untested(row: Row) -> str:
    """Why a check shows nothing; empty where it shows something. What misses its threshold has always shown it."""
    name, measured, n, op, threshold = (row[key] for key in ("check_name", "measured", "n", "op", "threshold"))
    share = row["lo"] is not None
    if op == ">=" and threshold <= 0 and name not in _MAY_BE_NEGATIVE:
        return f"needs {threshold:g} or more, which cannot fail"
    if name == READ and measured is not None and measured < threshold:
        return f"{measured:,.0f} of {threshold:,.0f} read" if measured else "not read by a person"
    if op == "<=" and threshold >= 1 and share:
        return "allows every share, so it cannot fail"
    if measured is None:
        return "" if n or name in _DECIDES or _is_empty(row) else "there was nothing to measure"
    counts = op == ">=" and not share and name not in _MAY_BE_NEGATIVE
    if counts or not holds(measured, op, threshold):
        return ""
    return _TOO_FEW.format(n=n) if n < _least(op, threshold, share=share) else ""


_TOO_FEW = "n = {n:,} is too small to decide"


def _least(op: str, threshold: float, *, share: bool) -> float:
    """The fewest items of which a faultless outcome would show that the threshold is met, by Wilson's interval.

    Where no fault at all is allowed, no number shows it of items to come, and the check is about those that are there.
    """
    room = 1 - threshold if op == ">=" else threshold  # the share of faults that is allowed
    if not share or not 0 < room < 1:
        return LEAST
    return max(LEAST, _Z2 * (1 - room) / room)


def _is_empty(row: Row) -> bool:
    name = row["check_name"]
    return not row["measured"] and (name in YIELDS or (name.endswith(_ASKED) and not row["n"]))


def with_result(row: Row) -> dict[str, Any]:
    """A row of `gates` with its `result`, and with `passed` true of a check that was tested and passed alone.

    One of the gap gate names the `split` of its items.
    """
    result = result_of(row)
    of_items = {"split": "dev"} if row.get("gate") == GAP else {}
    return {**row, **of_items, "passed": result == PASSED, "result": result, "untested": why_untested(row)}


GAP = "gap"  # the gate that is decided on development items
SPLIT_TITLES = {"dev": "development", "test": "test"}


def items_of(split: str, n: int) -> str:
    """Which items a figure of an evaluation is of, and how many: `development, 84 items`."""
    return f"{SPLIT_TITLES.get(split, split)}, {n:,} item{'' if n == 1 else 's'}"


def rate_of(right: int | float, n: int, lo: float, hi: float, split: str) -> str:
    """A rate of an evaluation in the one form that it has: `2.4 % [0.7, 8.3] of test, 84 items`."""
    share = f"{100 * right / n:.1f} % [{100 * lo:.1f}, {100 * hi:.1f}]" if n else "no share"
    return f"{share} of {items_of(split, n)}"


def title_of(row: Row) -> str:
    """A check's name in words; of the gap gate with the split that it is about."""
    name = str(row["check_name"]).replace("_", " ")
    return f"{name}, {SPLIT_TITLES['dev']}" if row.get("gate") == GAP else name


def in_percent(row: Row) -> tuple[str, str, str] | None:
    """What the gap gate measured as a share, its interval and its threshold; None of any other check."""
    if row.get("gate") != GAP or not row["check_name"].endswith(_ASKED):
        return None
    needs = f"{row['op']} {100 * row['threshold']:g} %"
    if row["measured"] is None or row["lo"] is None:
        told = "–" if row["measured"] is None else f"{100 * row['measured']:.1f} %"
        return told, "", needs
    return f"{100 * row['measured']:.1f} %", f"[{100 * row['lo']:.1f}, {100 * row['hi']:.1f}]", needs


def gap_figure(row: Row) -> str:
    """One figure of the gap gate with its items: a share in per cent with its interval, a p value as such."""
    told = in_percent(row)
    if told is None:
        value = "not measured" if row["measured"] is None else f"{row['measured']:.2g}"
        return f"{value} of {items_of('dev', row['n'])}"
    share, interval, _ = told
    return f"{share} {interval} of {items_of('dev', row['n'])}".replace("  ", " ") if row["n"] else "not measured"


def gate_result(rows: Iterable[Row]) -> str:
    """What a gate came to, from rows with their `result`: failed where one failed or is empty, else passed.

    It is not tested where nothing was, or where too few items decide one of its checks.
    """
    found = list(rows)
    if any(row["result"] in FAILING for row in found):
        return FAILED
    if any(row["result"] == PASSED for row in found) and not any(too_few(row) for row in found):
        return PASSED
    return NOT_TESTED


def opens(rows: Iterable[Row]) -> bool:
    """Whether a gate holds nothing up: nothing failed, and no check waits for more items."""
    return not any(row["result"] in FAILING or too_few(row) for row in rows)


def too_few(row: Row) -> bool:
    """Whether a check is not tested because too few items decide it."""
    return bool(row["untested"]) and row["untested"] == _TOO_FEW.format(n=row["n"])


def tally(rows: Iterable[Row]) -> str:
    """How many checks of those that were tested passed, in words: `7 of 9 passed (1 failed, 1 empty), 2 not tested`."""
    results = [row["result"] for row in rows]
    untested = results.count(NOT_TESTED)
    tested = len(results) - untested
    told = f"{results.count(PASSED)} of {tested} passed" if tested else "none tested"
    missed = [f"{results.count(name)} {name}" for name in (FAILED, EMPTY) if name in results]
    told += f" ({', '.join(missed)})" if missed else ""
    return told + (f", {untested} not tested" if tested and untested else "")


def _listed(names: Iterable[str]) -> str:
    return "(" + ", ".join(f"'{name}'" for name in names) + ")"


_HOLDS = (
    "coalesce(CASE op WHEN '<' THEN measured < threshold WHEN '<=' THEN measured <= threshold "
    "WHEN '==' THEN measured = threshold ELSE measured >= threshold END, false)"
)
_ROOM = "(CASE op WHEN '>=' THEN 1 - threshold ELSE threshold END)"
FAILING_SQL = _listed(sorted(FAILING))
# The same in SQL, over the columns of `gates`, for queries that count.
RESULT_SQL = f"""CASE
    WHEN op = '>=' AND threshold <= 0 AND check_name NOT IN {_listed(_MAY_BE_NEGATIVE)} THEN '{NOT_TESTED}'
    WHEN check_name = '{READ}' AND measured < threshold THEN '{NOT_TESTED}'
    WHEN op = '<=' AND threshold >= 1 AND lo IS NOT NULL THEN '{NOT_TESTED}'
    WHEN measured IS NULL AND n = 0 AND check_name NOT IN {_listed((*_DECIDES, *YIELDS))}
        AND NOT ends_with(check_name, '{_ASKED}') THEN '{NOT_TESTED}'
    WHEN NOT {_HOLDS} THEN CASE WHEN coalesce(measured, 0) = 0 AND (check_name IN {_listed(YIELDS)}
        OR (n = 0 AND ends_with(check_name, '{_ASKED}'))) THEN '{EMPTY}' ELSE '{FAILED}' END
    WHEN NOT (op = '>=' AND lo IS NULL AND check_name NOT IN {_listed(_MAY_BE_NEGATIVE)}) AND (n < {LEAST} OR (
        lo IS NOT NULL AND {_ROOM} > 0 AND {_ROOM} < 1 AND n * {_ROOM} < {_Z2!r} * (1 - {_ROOM}))) THEN '{NOT_TESTED}'
    WHEN passed THEN '{PASSED}' ELSE '{FAILED}' END"""


# Whether a registered comparison is shown: its corrected p is within the level of its look. Where an earlier version
# decided by McNemar's test, which takes items for independent, the p with templates as clusters must be within it, too.
SHOWN_SQL = "coalesce(p_corrected <= alpha AND (test NOT LIKE 'McNemar%' OR coalesce(clustered_p, 1) <= alpha), false)"


def shown(row: Mapping[str, Any]) -> bool:
    """The same of a row of `evaluation_results`."""
    if row["p_corrected"] is None or row["p_corrected"] > row["alpha"]:
        return False
    by_items = str(row["test"]).startswith("McNemar")
    return not by_items or (row["clustered_p"] is not None and bool(row["clustered_p"] <= row["alpha"]))


# Whether an interval over seeds lets the claim of a difference stand: it lies on the difference's side of zero, or too
# few seeds were tried for one. Columns of `evaluation_results` as r and of `evaluation_seeds` as s.
HOLDS_OVER_SEEDS_SQL = "(s.lo IS NULL OR (r.difference > 0 AND s.lo > 0) OR (r.difference < 0 AND s.hi < 0))"


def holds_over_seeds(result: Mapping[str, Any], over: Mapping[str, Any]) -> bool:
    """The same of a row of either."""
    if over["lo"] is None:
        return True
    return bool(over["lo"] > 0) if result["difference"] > 0 else bool(result["difference"] < 0 and over["hi"] < 0)


# One label of each thing that persons labelled, in the place of `person_labels`: what all say who saw least of the
# verdict, "unsure" where they differ. A label of nobody's name counts where no other is.
_NAMED = "rank() OVER (PARTITION BY run_id, subject_kind, subject_id ORDER BY reader = '', drawn_at) = 1"
LABELS_SQL = f"""(
    SELECT run_id, subject_kind, subject_id, CASE WHEN count(DISTINCT label) = 1 THEN any_value(label) ELSE 'unsure' END
           AS label, arg_max(note, "at") AS note, any_value(drawn) AS drawn, max("at") AS "at"
    FROM (SELECT *, coalesce(list_position(['reading', 'random', 'queue'], drawn), 9) AS drawn_at FROM person_labels
          QUALIFY {_NAMED})
    GROUP BY run_id, subject_kind, subject_id)"""


def labels_by(reader: str | None) -> str:
    """The labels of one person in the place of `person_labels`, or, of None, what all say; each thing once."""
    if reader is None:
        return LABELS_SQL
    name = reader.replace("'", "''")
    return (
        f"(SELECT * FROM person_labels WHERE reader IN ('{name}', '') QUALIFY row_number() OVER "
        "(PARTITION BY run_id, subject_kind, subject_id ORDER BY reader DESC) = 1)"
    )


READ_BY_TWO = 10  # answers that two persons read, before the scorer that judged them can carry a claim


def unread(audits: Iterable[Mapping[str, Any]], capability: str) -> str:
    """Why the scorer of a capability can carry no claim as far as persons have read it, "" where it can."""
    row = next((one for one in audits if one["part"] == READERS and one["capability"] == capability), None)
    detail = {} if row is None else row["detail"]
    names = (json.loads(detail) if isinstance(detail, str) else detail).get("readers", {})
    if not names:
        return "not read: nobody has judged verdicts of the scorer, and a claim needs two who did"
    if len(names) < 2:
        return f"not read by two: only {next(iter(names))} has judged verdicts of the scorer"
    if row is not None and row["n"] < READ_BY_TWO:
        return f"not read by two: only {row['n']} answers were judged by two persons, {READ_BY_TWO} are wanted"
    return ""
