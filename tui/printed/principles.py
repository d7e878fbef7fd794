"""What `cai principles` and `cai ablate` print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from engine.core.figures import percent_of, percents_dashed, signed
from engine.stats.shares import wilson
from tui.printed.tables import fact, plain_table

Row = Mapping[str, Any]

FEW = 8  # values below which a bootstrap interval of their mean is far too narrow
_MEASURES = {"margin_nats": "margin", "useful": "useful"}
_AGAINST = {"without": "none", "irrelevant": "another"}


def principles_report(run_id: str, rows: Sequence[Row], tests: Sequence[Row], judges: Sequence[Row] = ()) -> Group:
    """One line a principle, the sums of all above; then what ablations there are."""
    table = plain_table("principle=", "drawn>", "names>", "useful>", "", "by rule>", "one order>", "margin, nats",
                   "pairs>", wrapped=False)  # fmt: skip
    category = ""
    for row in rows:
        if row["category"] != category:
            category = row["category"]
            table.add_row(Text(category, style="dim"))
        table.add_row(
            f"  {row['principle_id']}",
            str(row["drawn"]),
            _share(row, "named"),
            _share(row, "kept"),
            f"[{100 * row['kept_lo']:.0f}–{100 * row['kept_hi']:.0f} %]" if row["drawn"] else "",
            str(row["by_rule"]),
            str(row["one_order"]),
            _mean(row),
            f"{row['pairs_kept']}/{row['pairs']}",
        )
    drawn, kept = (sum(row[name] for row in rows) for name in ("drawn", "kept"))
    lo, hi = wilson(kept, drawn)
    share = f"{kept} of {drawn} revisions were useful"
    if drawn:
        share += f": {percent_of(kept, drawn)} {percents_dashed(lo, hi)}"
    told = (
        "names: critiques that use a word of the response which neither the instruction nor the request holds; useful: "
        "no rule spoke against it, and every pair critic preferred it, the comparison in both orders [95 % Wilson]; by "
        "rule: a rule stopped it; one order: preferred in one order only; margin: by how much the first pair critic "
        f"prefers the revisions that it compared to what they revise, on average [95 % bootstrap, from {FEW} on]; "
        "pairs: kept of those made"
    )
    said = [_judged_by(judges)] if judges else []
    notes = [Text(text, style="dim") for text in (told, *said)]
    parts: list[Any] = [fact("run", Text(run_id, style="bold")), Text(share), Text(), table, *notes]
    if tests:
        title = Text("Ablations: the same items revised with the principle, and without one or with another", "bold")
        parts += [Text(), title, ablation_report(tests, ())]
    return Group(*parts)


def ablation_report(rows: Sequence[Row], judges: Sequence[Row]) -> Group:
    """A table of paired differences for each principle, and what a reader must know to take them for what they are."""
    parts: list[Any] = []
    for name in dict.fromkeys(row["principle_id"] for row in rows):
        own = [row for row in rows if row["principle_id"] == name]
        parts += [Text(f"{name}, the same {own[0]['n']} items", style="bold"), _ablation_table(own)]
        parts += [*([_beside_table(own)] if any(row["p_corrected"] is not None for row in own) else []), Text()]
    return Group(*parts, *(Text(text, style="dim") for text in _ablation_notes(rows, judges)))


def _ablation_table(rows: Sequence[Row]) -> Table:
    table = plain_table("", "against", "with>", "other>", "gain>", "95 % interval", "p>", "effect>", wrapped=False)
    for row in rows:
        moved = row["p"] is not None  # where no item differs there is nothing to test and no interval
        table.add_row(
            _MEASURES.get(row["measure"], row["measure"]),
            _AGAINST.get(row["against"], row["against"]),
            _figure(row, "with_mean"),
            _figure(row, "against_mean"),
            signed(row["difference"]),
            f"[{signed(row['lo'])}, {signed(row['hi'])}]" if moved and row["lo"] is not None else "no item differs",
            _p(row["p"]),
            "–" if row["effect"] is None else signed(row["effect"], 2),
        )
    return table


def _tests_of(row: Row) -> str:
    told = f"{row['test']} test, effect: {row['effect_name']}"
    return told if row["beside"] is None else f"{told}; beside it {row['beside']}"


def _beside_table(rows: Sequence[Row]) -> Table:
    """What an ablation of an earlier version has not: corrected p values, intervals of effects, the second test."""
    table = plain_table("", "against", "corrected p>", "effect, 95 %", "beside: p>", "effect>", wrapped=False)
    for row in rows:
        lo, hi = row["effect_lo"], row["effect_hi"]
        table.add_row(
            _MEASURES.get(row["measure"], row["measure"]),
            _AGAINST.get(row["against"], row["against"]),
            _p(row["p_corrected"]),
            "–" if lo is None else f"[{signed(lo, 2)}, {signed(hi, 2)}]",
            _p(row["beside_p"]),
            "–" if row["beside_effect"] is None else signed(row["beside_effect"], 2),
        )
    return table


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if value >= 0.001 else "<0.001"


def _ablation_notes(rows: Sequence[Row], judges: Sequence[Row]) -> list[str]:
    tests = {row["measure"]: _tests_of(row) for row in rows}
    notes = []
    if "margin_nats" in tests:
        notes.append(
            "margin: by how many nats the first pair critic prefers the revision to its original, asked by the "
            f"principle under test, and 0 where nothing was changed; {tests['margin_nats']}"
        )
    if "useful" in tests:
        notes.append(
            "useful: share of revisions that no rule stopped and every pair critic preferred; " + tests["useful"]
        )
    notes.append(
        "gain: with the principle less without one, or less with one of another category, on the same items and "
        "seeds; interval: bootstrap over items, BCa; p: two-sided, not corrected for the number of tests, "
        f"{len(rows)} here; corrected p: by Holm over the tests of one ablation"
    )
    return notes + ([_judged_by(judges)] if judges else [])


def _judged_by(judges: Sequence[Row]) -> str:
    told: dict[str, list[str]] = {}
    for row in judges:
        auc = "none" if row["auc"] is None else f"{row['auc']:.2f}"
        told.setdefault(row["critic"], []).append(f"AUC {auc} on {row['part']} pairs")
    filters = {row["critic"] for row in judges if row["may_filter"]}
    each = "; ".join(
        f"{name} ({', '.join(said)}{'' if name in filters else ', not good enough to filter'})"
        for name, said in told.items()
    )
    warning = "" if filters else ". None passed its audit: a margin shows what such a critic likes, not what is better"
    return f"judged by: {each}{warning}"


def _share(row: Row, name: str) -> str:
    return f"{row[name]} ({100 * row[name] / row['drawn']:.0f} %)" if row["drawn"] else "–"


def _figure(row: Row, name: str) -> str:
    return f"{row[name]:.3f}" if row["measure"] == "useful" else signed(row[name])


def _mean(row: Row) -> str:
    if row["margin_nats"] is None:
        return "–"
    known = row["margin_lo"] is not None and row["compared"] >= FEW
    interval = f" [{signed(row['margin_lo'])}, {signed(row['margin_hi'])}]" if known else ""
    return f"{signed(row['margin_nats'])}{interval}"
