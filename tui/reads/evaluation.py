"""What the Evaluation room reads: how an evaluation stands, its results, and the items that changed sides."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from engine.evaluation.judging.frontier import POINTS
from engine.stats.shares import wilson_columns
from store.outcomes import FAILING
from store.text import json_ready
from tui.words.evaluation import guard_words

if TYPE_CHECKING:
    from store.read import Reader

SHOWN_AT_MOST = 500


@dataclass(frozen=True, slots=True)
class EvaluationRead:
    """Items with their answers; `total` counts all, `items` are the first ones."""

    total: int
    items: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Standing:
    """How the evaluation of a run stands. All rows are as stored; `conditions` are counts of right answers by split."""

    conditions: Sequence[Mapping[str, Any]]  # capability, condition, split, n, n_right, share, lo, hi
    audits: Sequence[Mapping[str, Any]]
    gap: Sequence[Mapping[str, Any]]
    registration: Mapping[str, Any] | None
    repeats: Sequence[Mapping[str, Any]]  # condition, n, texts, verdicts: how many differ; splits
    items_sha256: str | None  # of the frozen set that was asked last
    results: Sequence[Mapping[str, Any]]
    scores: Sequence[Mapping[str, Any]]  # rows of evaluation_scores: what is no yes or no
    guard: Sequence[Mapping[str, Any]]  # check_id and passed, of all its checks
    suite_means: Sequence[Mapping[str, Any]] = ()  # of benchmarks, by task, metric and condition
    suite_results: Sequence[Mapping[str, Any]] = ()
    seeds: Sequence[Mapping[str, Any]] = ()  # rows of evaluation_seeds: comparisons over repeats with other seeds
    judged: Sequence[Mapping[str, Any]] = ()  # rows of judge_results
    frontier: Sequence[Mapping[str, Any]] = ()  # what engine.evaluation.judging.frontier.POINTS gives

    @property
    def begun(self) -> bool:
        """Whether anything was answered: held-out items, or benchmarks."""
        return bool(self.conditions or self.suite_means)

    @property
    def guard_blocks(self) -> str:
        """Why the contamination guard lets no claim be made, "" where it does."""
        return guard_words(self.guard)

    @property
    def failed_audits(self) -> list[str]:
        return [f"{row['part']} {row['subject']}" for row in self.audits if row["passed"] is False]

    @property
    def failed_gap(self) -> list[str]:
        return [str(row["check_name"]) for row in self.gap if row["result"] in FAILING]


@dataclass(frozen=True, slots=True)
class Rates:
    """The test items that a run's conditions have right, by type: capability, item_type, condition, split, n, n_right.

    Of another run `place` is that among the runs that were asked the same items, `of` how many these are;
    `same_scorer` is whether both were verified by the same code.
    """

    run_id: str
    rows: Sequence[Mapping[str, Any]]
    place: int = 0
    of: int = 0
    same_scorer: bool = True


def rates(reader: Reader, run_id: str, items_sha256: str | None) -> Rates:
    """Read them, of one frozen set of items; all types of a capability together as type "all"."""
    return Rates(
        run_id,
        reader.query(
            "SELECT i.capability, coalesce(i.item_type, 'all') AS item_type, a.condition, 'test' AS split, "
            "count(a.correct) AS n, count(*) FILTER (a.correct) AS n_right, "
            "count(*) - count(a.correct) AS undecided FROM evaluation_answers a "
            "JOIN evaluation_items i USING (items_sha256, item_id) "
            "WHERE a.run_id = ? AND a.items_sha256 = ? AND i.split = 'test' "
            "GROUP BY GROUPING SETS ((i.capability, a.condition), (i.capability, i.item_type, a.condition)) "
            "ORDER BY 1, 2, 3",
            [run_id, items_sha256],
        ),
    )


def rates_beside(reader: Reader, run_id: str, items_sha256: str | None, last: Rates | None) -> Rates | None:
    """Those of the next run after `last` that was asked the same items, None behind the last one."""
    others = reader.query(
        "SELECT run_id, list_sort(list(DISTINCT scorer_sha256)) = (SELECT list_sort(list(DISTINCT scorer_sha256)) "
        "FROM evaluation_answers WHERE run_id = $1 AND items_sha256 = $2) AS same_scorer FROM evaluation_answers "
        'WHERE items_sha256 = $2 AND run_id != $1 GROUP BY run_id ORDER BY max("at") DESC, run_id LIMIT 50',
        [run_id, items_sha256],
    )
    names = [str(row["run_id"]) for row in others]
    at = names.index(last.run_id) + 1 if last is not None and last.run_id in names else 0
    if at == len(names):
        return None
    found = rates(reader, names[at], items_sha256)
    return Rates(names[at], found.rows, at + 1, len(names), bool(others[at]["same_scorer"]))


def standing(reader: Reader, run_id: str) -> Standing:
    """Read it; every part is empty where nothing was evaluated."""
    items_sha256 = reader.items_asked(run_id)
    k, n = "count(*) FILTER (a.correct)", "count(a.correct)"
    return Standing(
        reader.query(
            f"SELECT i.capability, a.condition, i.split, {n} AS n, {k} AS n_right, {k} / nullif({n}, 0)::DOUBLE "
            f"AS share, "
            f"count(*) - {n} AS undecided, "
            f"{wilson_columns(k, n, 'lo', 'hi')} "
            "FROM evaluation_answers a JOIN evaluation_items i USING (items_sha256, item_id) WHERE a.run_id = ? "
            "AND a.items_sha256 = ? GROUP BY ALL ORDER BY 1 DESC, 2, 3",
            [run_id, items_sha256],
        ),
        reader.query("SELECT * FROM scorer_audits WHERE run_id = ? ORDER BY capability, part, subject", [run_id]),
        [row for row in reader.gates(run_id) if row["gate"] == "gap"],
        reader.registration(run_id),
        reader.query(
            "SELECT condition, count(*) AS n, count(*) FILTER (NOT same_text) AS texts, "
            "count(*) FILTER (NOT same_verdict) AS verdicts, "
            "string_agg(DISTINCT i.split, ' ' ORDER BY i.split) AS splits FROM evaluation_repeats r "
            "JOIN (SELECT DISTINCT item_id, split FROM evaluation_items WHERE items_sha256 = ?) i USING (item_id) "
            "WHERE r.run_id = ? GROUP BY 1 ORDER BY 1",
            [items_sha256, run_id],
        ),
        items_sha256,
        results(reader, run_id),
        reader.query("SELECT * FROM evaluation_scores WHERE run_id = ? ORDER BY capability DESC, measure", [run_id]),
        reader.query("SELECT check_id, passed FROM guard_checks WHERE run_id = ? ORDER BY check_id", [run_id]),
        suite_means=_of_suites(reader, "suite_means", run_id),
        suite_results=_of_suites(reader, "suite_results", run_id),
        seeds=over_seeds(reader, run_id),
        judged=reader.query(
            "SELECT * FROM judge_results WHERE run_id = ? "
            "ORDER BY judge, question DESC, before NOT LIKE 'base%', after = 'dpo'",
            [run_id],
        ),
        frontier=reader.query(POINTS, [run_id]),
    )  # fmt: skip


def _of_suites(reader: Reader, table: str, run_id: str) -> list[dict[str, Any]]:
    return reader.query(f"SELECT * FROM {table} WHERE run_id = ? ORDER BY suite, NOT whole, task, metric", [run_id])


def over_seeds(reader: Reader, run_id: str) -> list[dict[str, Any]]:
    """A run's comparisons over its repeats with other seeds, those of the primary comparison first."""
    return reader.query(
        "SELECT s.* FROM evaluation_seeds s JOIN evaluation_results r USING (run_id, capability, before, after) "
        "WHERE run_id = ? AND r.item_type = 'all' ORDER BY r.role != 'primary', capability DESC, before, after",
        [run_id],
    )


def evaluation_account(reader: Reader, run_id: str) -> dict[str, Any]:
    """The same as one JSON-ready object: {conditions, audits, gap, registration, repeats, results, scores, guard, ...}.

    Benchmarks are `suite_means` and `suite_results`; `seeds` are the comparisons over repeats, `judged` and
    `frontier` are a judge's.
    """
    ready: dict[str, Any] = json_ready(asdict(standing(reader, run_id)))
    return ready


def results(reader: Reader, run_id: str) -> list[dict[str, Any]]:
    """All comparisons of a run; within each the whole set first, then the types by name."""
    return reader.query(
        "SELECT *, 'test' AS split FROM evaluation_results WHERE run_id = ? "
        "ORDER BY role != 'primary', capability DESC, before, after, item_type != 'all', item_type",
        [run_id],
    )


def discordant(reader: Reader, result: Mapping[str, Any], gained: bool) -> EvaluationRead:
    """The items of one result that were wrong before and are right after, or (not `gained`) the reverse."""
    of_type = "" if result["item_type"] == "all" else "AND i.item_type = ?"
    params: list[object] = [result["run_id"], result["before"], result["after"], not gained, gained]
    params.append(result["capability"])
    params += [result["item_type"]] if of_type else []
    source = (
        "FROM evaluation_answers b JOIN evaluation_answers a ON a.run_id = b.run_id AND a.item_id = b.item_id "
        "AND a.items_sha256 = b.items_sha256 "
        "JOIN evaluation_items i ON i.items_sha256 = b.items_sha256 AND i.item_id = b.item_id "
        f"WHERE b.run_id = ? AND b.condition = ? AND a.condition = ? AND b.correct = ? AND a.correct = ? "
        f"AND i.capability = ? AND i.split = 'test' {of_type}"
    )
    total = reader.query(f"SELECT count(*) AS n {source}", params)[0]["n"]
    items = reader.query(
        "SELECT i.item_id, i.item_type, i.history, i.prompt, i.reference, b.answer AS before_answer, "
        "b.why AS before_why, a.answer AS after_answer, a.why AS after_why "
        f"{source} ORDER BY i.item_type, i.item_id LIMIT {SHOWN_AT_MOST}",
        params,
    )
    return EvaluationRead(total, [{**item, "history": json.loads(item["history"])} for item in items])


def answered(reader: Reader, run_id: str, condition: Mapping[str, Any], right: bool) -> EvaluationRead:
    """The test items of a capability that one condition has right, or (not `right`) wrong."""
    source = (
        "FROM evaluation_answers a JOIN evaluation_items i USING (items_sha256, item_id) "
        "WHERE a.run_id = ? AND a.condition = ? AND i.capability = ? AND a.correct = ? AND i.split = 'test'"
    )
    params: list[object] = [run_id, condition["condition"], condition["capability"], right]
    total = reader.query(f"SELECT count(*) AS n {source}", params)[0]["n"]
    items = reader.query(
        "SELECT i.item_id, i.item_type, i.history, i.prompt, i.reference, a.answer AS after_answer, "
        f"a.why AS after_why {source} ORDER BY i.item_type, i.item_id LIMIT {SHOWN_AT_MOST}",
        params,
    )
    return EvaluationRead(total, [{**item, "history": json.loads(item["history"])} for item in items])
