"""Runs compared item by item on the same held-out items: for ablations, each run against the first."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.core.errors import UsageError
from engine.core.text import without_secrets
from engine.evaluation import BASE_CONDITIONS, CAPABILITIES, TUNED_CONDITIONS
from engine.evaluation.inference import ENOUGH_CLUSTERS
from engine.evaluation.inference.differences import clustered_test, decided
from engine.report.build import require_free, write
from engine.report.document import col, markdown_table
from engine.stats.clusters import clusters_of
from engine.stats.paired import cohen_h, holm, mcnemar, newcombe, pairs
from engine.stats.shares import wilson
from store.errors import CaiError, NotFound
from store.inert.markdown import inline
from store.outcomes import FAILING_SQL, NOT_TESTED, RESULT_SQL
from store.read import Reader
from store.text import json_ready

ALPHA = 0.05

_ANSWERS = """
    SELECT a.run_id, a.condition, a.item_id, a.items_sha256, a.scorer_sha256, a.fingerprint, a.correct, i.capability,
           i.item_type, i.template
    FROM evaluation_answers a
    JOIN evaluation_items i ON i.items_sha256 = a.items_sha256 AND i.item_id = a.item_id
    WHERE a.run_id IN (SELECT unnest(?::VARCHAR[])) AND i.split = 'test'
    ORDER BY a.run_id, a.condition, a.item_id
"""
# Figures of a run that have no pairs of items, and so no test here.
_FIGURES = f"""
    SELECT r.run_id, r.spec, r.model, r.seed, r.state, r.overrides,
           (SELECT count(*) FROM samples s WHERE s.run_id = r.run_id) AS samples,
           (SELECT count(*) FROM verdicts v WHERE v.run_id = r.run_id AND v.subject_kind = 'sample'
            AND v.verdict = 'accepted') AS accepted,
           (SELECT count(*) FROM pairs p WHERE p.run_id = r.run_id) AS pairs,
           (SELECT count(*) FROM verdicts v WHERE v.run_id = r.run_id AND v.subject_kind = 'pair'
            AND v.verdict = 'accepted') AS pairs_kept,
           (SELECT count(*) FROM gates g WHERE g.run_id = r.run_id AND g.gate NOT IN ('guard', 'gap')) AS checks,
           (SELECT count(*) FROM gates g WHERE g.run_id = r.run_id AND g.gate NOT IN ('guard', 'gap')
            AND {RESULT_SQL} IN {FAILING_SQL}) AS checks_failed,
           (SELECT count(*) FROM gates g WHERE g.run_id = r.run_id AND g.gate NOT IN ('guard', 'gap')
            AND {RESULT_SQL} = '{NOT_TESTED}') AS checks_untested,
           r.elapsed_s
    FROM runs r WHERE r.run_id IN (SELECT unnest(?::VARCHAR[]))
"""

Row = dict[str, Any]


def _decided(rows: Sequence[Row], capability: str) -> list[Row]:
    return [row for row in rows if row["capability"] == capability and row["correct"] is not None]


def compare_runs(
    reader: Reader,
    run_ids: Sequence[str],
    *,
    capability: str | None = None,
    conditions: Sequence[str] | None = None,
    alpha: float = ALPHA,
) -> dict[str, Any]:
    """Each run after the first against the first, on the test items that both answered; shares from 0 to 1.

    `conditions` are compared with the same one of the first run; without them the last tuned condition of each run is.
    Returns {baseline, runs, alpha, correction, family, comparisons, notes}: `runs` with figures that carry no test, and
    `comparisons` a row for each run, condition and capability: n, templates, right and Wilson interval in both, gained,
    lost, difference with interval and p that take templates as clusters, p_corrected by Holm over all rows that have
    enough templates (else None), Cohen's h, as descriptions McNemar's p and Newcombe's interval, `only_before` and
    `only_after`, which count items that one of the two has not answered.

    Raises NotFound for an unknown run; UsageError for fewer than two runs or a run named twice; CaiError for a
    condition that a run was not asked under, other items or another scorer, a failed audit of the scorer, answers of
    two adapters under one condition, and no items in common.
    """
    require_two(run_ids)
    ids = [reader.resolve(run_id) for run_id in run_ids]
    require_two(ids)
    if capability is not None and capability not in CAPABILITIES:
        raise CaiError(f"there is no capability {capability!r}", f"One of {', '.join(CAPABILITIES)}.")
    answers = [row for row in reader.query(_ANSWERS, [ids]) if capability in (None, row["capability"])]
    by_run: dict[str, list[Row]] = {run_id: [] for run_id in ids}
    for row in answers:
        by_run[row["run_id"]].append(row)
    for run_id, rows in by_run.items():
        if not rows:
            of = f" of {capability}" if capability else ""
            raise NotFound(f"run {run_id} has no answers to test items{of}", f"Evaluate it: cai evaluate {run_id}")
    _require_audited(reader, ids, capability)
    first = ids[0]
    comparisons: list[Row] = []
    notes: list[str] = []
    for run_id, before, after in _conditions(ids, by_run, conditions):
        old = [row for row in by_run[first] if row["condition"] == before]
        new = [row for row in by_run[run_id] if row["condition"] == after]
        _require_same(first, old, run_id, new)
        for name in CAPABILITIES:
            one: dict[str, Row] = {row["item_id"]: row for row in _decided(old, name)}
            two = {row["item_id"]: row for row in _decided(new, name)}
            both = sorted(one.keys() & two.keys())
            if both:
                facts = {"run": run_id, "capability": name, "before": before, "after": after}
                left = {"only_before": len(one) - len(both), "only_after": len(two) - len(both)}
                made: Row = facts | _compared([two[i] for i in both], [one[i] for i in both]) | left
                comparisons.append(made)
                if made["clusters"] < ENOUGH_CLUSTERS:
                    notes.append(
                        f"{run_id}: {name} has items of {made['clusters']} templates; a test needs {ENOUGH_CLUSTERS}, "
                        "so its difference is described and not tested"
                    )
            elif one or two:
                notes.append(f"{run_id}: no item of {name} was answered in both runs, so it is not compared")
    if not comparisons:
        raise CaiError(
            "these runs have answered no test item in common", "Evaluate them on the same items: cai evaluate"
        )
    tested = [row for row in comparisons if row["clusters"] >= ENOUGH_CLUSTERS]
    corrected = holm([row["p"] for row in tested], alpha)
    for row, p, shown in zip(tested, corrected.adjusted, corrected.rejected, strict=True):
        row["p_corrected"], row["shown"] = p, shown
    return {
        "baseline": first,
        "runs": _figures(reader, ids),
        "alpha": alpha,
        "correction": "Holm",
        "family": len(tested),
        "comparisons": comparisons,
        "notes": notes,
    }


def require_two(run_ids: Sequence[str]) -> None:
    """Raises UsageError for fewer than two runs or a run named twice."""
    if len(run_ids) < 2 or len(set(run_ids)) < len(run_ids):
        raise UsageError(
            "a comparison needs at least two different runs", "Name them: cai compare RUN RUN. See: cai runs"
        )


def _conditions(
    ids: Sequence[str], by_run: dict[str, list[Row]], wanted: Sequence[str] | None
) -> list[tuple[str, str, str]]:
    """(run, condition of the first run, condition of this run) for each comparison."""
    asked = {run_id: {row["condition"] for row in rows} for run_id, rows in by_run.items()}
    if wanted:
        for name in wanted:
            for run_id in ids:
                if name not in asked[run_id]:
                    raise CaiError(
                        f"run {run_id} was not asked under the condition {name!r}",
                        f"It has: {', '.join(sorted(asked[run_id]))}.",
                    )
        return [(run_id, name, name) for run_id in ids[1:] for name in wanted]
    last: dict[str, str] = {}
    for run_id in ids:
        tuned = [name for name in TUNED_CONDITIONS if name in asked[run_id]]
        if not tuned:
            raise CaiError(
                f"no tuned model of run {run_id} was evaluated",
                f"Train and evaluate it, or compare the bases with --condition: {', '.join(BASE_CONDITIONS)}.",
            )
        last[run_id] = tuned[-1]
    return [(run_id, last[ids[0]], last[run_id]) for run_id in ids[1:]]


def _require_audited(reader: Reader, ids: Sequence[str], capability: str | None) -> None:
    failed = reader.query(
        "SELECT run_id, string_agg(part || ' ' || subject, ', ' ORDER BY part, subject) AS parts FROM scorer_audits "
        "WHERE run_id IN (SELECT unnest(?::VARCHAR[])) AND passed IS FALSE AND capability = coalesce(?, capability) "
        "GROUP BY 1 ORDER BY 1",
        [list(ids), capability],
    )
    if failed:
        raise CaiError(
            f"the scorer's audit failed in run {failed[0]['run_id']} ({failed[0]['parts']}), so no verdict counts",
            "Read what it found: cai report RUN --out DIR. Nothing was changed.",
        )


def _require_same(first: str, old: Sequence[Row], other: str, new: Sequence[Row]) -> None:
    for run_id, rows in ((first, old), (other, new)):
        if len({row["fingerprint"] for row in rows}) > 1:
            raise CaiError(
                f"answers of {rows[0]['condition']} in run {run_id} are of more than one model",
                f"An evaluation was stopped. Finish it: cai evaluate {run_id}. Nothing was changed.",
            )
    for name, words in (("items_sha256", "other items"), ("scorer_sha256", "another scorer")):
        one, two = ({row[name] for row in rows} for rows in (old, new))
        if one != two or len(one) > 1:
            raise CaiError(
                f"runs {first} and {other} were evaluated with {words}, so they cannot be compared item by item "
                f"({_short(one)} and {_short(two)})",
                "Evaluate both with this version of the program; what was answered is not asked again. "
                "Nothing was changed.",
            )


def _short(hashes: set[str]) -> str:
    return " or ".join(sorted(name[:12] for name in hashes)) or "none"


def _compared(after: Sequence[Row], before: Sequence[Row]) -> Row:
    a, b = ([bool(row["correct"]) for row in rows] for rows in (after, before))
    table = pairs(a, b)
    differences = [int(one) - int(other) for one, other in zip(a, b, strict=True)]
    clusters = clusters_of(differences, [row["template"] for row in after], [row["item_type"] for row in after])
    items, effect = newcombe(table), cohen_h(table)
    (before_lo, before_hi), (after_lo, after_hi) = (wilson(right, table.n) for right in (table.b_right, table.a_right))
    found = decided(table, clusters, clustered_test(clusters))
    return {
        "n": table.n, "before_right": table.b_right, "before_lo": before_lo, "before_hi": before_hi,
        "after_right": table.a_right, "after_lo": after_lo, "after_hi": after_hi, "gained": table.gained,
        "lost": table.lost, "difference": table.difference,
        **{name: found[name] for name in ("clusters", "lo", "hi", "interval_method", "test", "p")},
        "mcnemar_p": mcnemar(table).p, "newcombe_lo": items.lo, "newcombe_hi": items.hi, "p_corrected": None,
        "shown": False, "effect": effect.value, "effect_name": effect.name,
    }  # fmt: skip


def _figures(reader: Reader, ids: Sequence[str]) -> list[Row]:
    found = {row["run_id"]: row for row in reader.query(_FIGURES, [list(ids)])}
    rows = []
    for run_id in ids:
        row = json_ready(found[run_id])
        rows.append({"run": row.pop("run_id"), **row, "overrides": json.loads(row["overrides"])})
    return rows


def write_comparison(found: Mapping[str, Any], out: Path) -> list[Path]:
    """Write compare.json and compare.md into a new folder. Raises CaiError where it is there, StoreWriteFailed."""
    out = Path(out).expanduser().absolute()
    require_free(out)
    text = json.dumps(found, indent=1, allow_nan=False, ensure_ascii=True) + "\n"
    files = {"compare.json": text, "compare.md": _markdown(found)}
    return write(out, {name: without_secrets(content) for name, content in files.items()})


def _markdown(found: Mapping[str, Any]) -> str:
    """The same as tables."""
    runs = [
        col("run", "text"), col("spec", "code"), col("model", "code"), col("seed", "code"), col("samples", "count"),
        col("accepted", "count"), col("pairs", "count"), col("pairs kept", "count", "pairs_kept"),
        col("QC checks", "count", "checks"), col("failed", "count", "checks_failed"),
        col("not tested", "count", "checks_untested"),
    ]  # fmt: skip
    compared = [
        col("run", "text"), col("capability", "words"), col("before", "words"), col("after", "words"),
        col("test items", "count", "n"), col("right before", "count", "before_right"),
        col("right after", "count", "after_right"),
        col("gained", "count"), col("lost", "count"), col("difference, points", "points", "difference"),
        col("95 % interval", "points_interval", "lo", "hi"), col("p", "p"), col("corrected p", "p", "p_corrected"),
        col("Cohen's h", "decimals", "effect"), col("templates", "count", "clusters"),
        col("McNemar's p", "p", "mcnemar_p"),
        col("Newcombe's interval", "points_interval", "newcombe_lo", "newcombe_hi"),
    ]  # fmt: skip
    said = [
        f"# Runs compared with {inline(str(found['baseline']))}",
        "Figures of each run by itself, without tests:",
        markdown_table(runs, found["runs"], ["---"] * len(runs)),
        "Each run less the first on the test items that both answered. Interval and p take templates as clusters "
        f"(CR2), {found['correction']}'s correction over all rows that have enough of them; McNemar's p and Newcombe's "
        "interval take items for independent and only describe:",
        markdown_table(compared, found["comparisons"], ["---"] * len(compared)),
        *(inline(note) for note in found["notes"]),
    ]
    return "\n\n".join(said) + "\n"
