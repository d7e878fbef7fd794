"""`cai principles` and `cai ablate`: what each principle of the constitution did, and whether the model uses it."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from tui.commands import UsageError, chosen_run, flushed, reading, require_store, store_path, with_log, write_json
from tui.terminal import Terminal

Row = Mapping[str, Any]


def principles(args: argparse.Namespace, terminal: Terminal) -> int:
    """Times drawn, critiques that name something, useful revisions, margins and pairs, by principle."""
    from engine.principles import evidence

    with reading(args) as reader:
        run_id = chosen_run(reader, args.run)
        rows = evidence(reader, run_id)
        tests = reader.query("SELECT * FROM ablation_results WHERE run_id = ? ORDER BY 2, 3, 4", [run_id])
    if args.json:
        from store.progress import json_ready

        write_json(terminal, {"run": run_id, "principles": json_ready(rows), "ablations": json_ready(tests)})
        return 0
    from tui.report import console_on

    console_on(terminal.stdout).print(principles_report(run_id, rows, tests))
    return flushed(terminal)


def ablate(args: argparse.Namespace, terminal: Terminal) -> int:
    """Revise the same items with a principle, without one, and with an irrelevant one; exit code 130 when stopped."""
    from engine.ablation import run_ablation
    from engine.control import Control
    from engine.errors import Interrupted

    store = store_path(args)
    require_store(store)
    with reading(args) as reader:
        run_id = chosen_run(reader, args.run)
        made = bool((reader.run(run_id)["settings"] or {}).get("revisions"))
    if not made:
        raise UsageError(
            f"run {run_id} makes no revisions", "name a run of a spec with revisions, such as stage_6_small_model"
        )
    with_log(terminal, store, "cai ablate")
    control = Control()
    before = {number: signal.signal(number, lambda *_: control.stop()) for number in (signal.SIGINT, signal.SIGTERM)}

    def tell(text: str) -> None:
        terminal.stderr.write(f"{text}\n")
        terminal.stderr.flush()

    try:
        rows = run_ablation(store, run_id, args.principle, args.items, control, tell)
    except Interrupted:
        tell("Stopped. What was computed is kept: the same command goes on from there.")
        return 130
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if args.json:
        from store.progress import json_ready

        write_json(terminal, {"run": run_id, "items": args.items, "results": json_ready(rows)})
        return 0
    from tui.report import console_on

    console_on(terminal.stdout).print(ablation_table(rows))
    return flushed(terminal)


def principles_report(run_id: str, rows: Sequence[Row], tests: Sequence[Row]) -> Group:
    """One line a principle, the sums of all below; then what ablations there are."""
    from tui.report import fact

    table = _table("principle", "drawn>", "names>", "useful>", "", "by rule>", "one order>", "margin, nats",
                   "pairs>")  # fmt: skip
    for column in table.columns:
        column.no_wrap = True
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
    from tui.facts import wilson

    lo, hi = wilson(kept, drawn)
    share = f"{kept} of {drawn} revisions were useful"
    if drawn:
        share += f": {100 * kept / drawn:.1f} % [{100 * lo:.1f}–{100 * hi:.1f}]"
    told = (
        "useful: no rule spoke against it, and every pair critic preferred it, the comparison in both orders; one "
        "order: preferred in one order only; pairs: kept of those made"
    )
    parts: list[Any] = [fact("run", Text(run_id, style="bold")), Text(share), Text(), table, Text(told, style="dim")]
    if tests:
        parts += [Text(), Text("Ablations: revised with the principle, and with none or another in its place"),
                  ablation_table(tests)]  # fmt: skip
    return Group(*parts)


def ablation_table(rows: Sequence[Row]) -> Table:
    """Paired differences with interval, test and effect size."""
    table = _table("principle", "against", "measure", "n>", "with>", "against it>", "difference, 95 %", "p>", "effect")
    for row in rows:
        lo, hi = row["lo"], row["hi"]
        interval = "" if lo is None else f" [{lo:+.3f}, {hi:+.3f}]"
        effect = "–" if row["effect"] is None else f"{row['effect']:+.2f} {row['effect_name']}"
        table.add_row(
            row["principle_id"],
            row["against"],
            "margin, nats" if row["measure"] == "margin_nats" else "useful share",
            str(row["n"]),
            f"{row['with_mean']:+.3f}",
            f"{row['against_mean']:+.3f}",
            f"{row['difference']:+.3f}{interval}",
            "–" if row["p"] is None else f"{row['p']:.3g}",
            f"{effect} ({row['test']})",
        )
    return table


def _share(row: Row, name: str) -> str:
    return f"{row[name]} ({100 * row[name] / row['drawn']:.0f} %)" if row["drawn"] else "–"


def _mean(row: Row) -> str:
    if row["margin_nats"] is None:
        return "–"
    interval = "" if row["margin_lo"] is None else f" [{row['margin_lo']:+.2f}, {row['margin_hi']:+.2f}]"
    return f"{row['margin_nats']:+.2f}{interval}"


def _table(*columns: str) -> Table:
    from tui.report import plain_table

    return plain_table(*columns)
