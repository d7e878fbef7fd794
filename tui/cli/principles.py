"""`cai principles` and `cai ablate`: what each principle of the constitution did, and whether the model uses it."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engine.core.errors import Interrupted, UsageError
from store.text import json_ready
from tui import printed
from tui.cli.frame import answer, chosen_run, reading, store_path, with_log
from tui.cli.parsing import Commands, add_run, positive
from tui.host.terminal import Terminal

if TYPE_CHECKING:
    from store.read import Reader

Row = Mapping[str, Any]

_ORDER = "ORDER BY principle_id, measure, against DESC"


def add(commands: Commands) -> None:
    add_run(commands.add("principles", principles, "what each principle of the constitution did in a run"))

    about = "revise the same items with a principle, without one, and with an irrelevant one"
    own = commands.add("ablate", ablate, about)
    add_run(own)
    own.add_argument(
        "--principle", action="append", required=True, metavar="ID", help="a principle of constitution.yaml; repeatable"
    )
    own.add_argument("--items", type=positive, default=40, metavar="N", help="samples to revise (40)")


def principles(args: argparse.Namespace, terminal: Terminal) -> int:
    """Times drawn, critiques that name something, useful revisions, margins and pairs, by principle."""
    from engine.analyses.principles import evidence

    with reading(args) as reader:
        run_id = chosen_run(reader, args.run)
        rows = evidence(reader, run_id)
        tests = reader.query(f"SELECT * FROM ablation_results WHERE run_id = ? {_ORDER}", [run_id])
        judges = pair_critics(reader, run_id)
    told = {"principles": json_ready(rows), "ablations": json_ready(tests), "pair_critics": json_ready(judges)}
    return answer(
        args,
        terminal,
        {"run": run_id, **told},
        lambda: printed.principles.principles_report(run_id, rows, tests, judges),
    )


def ablate(args: argparse.Namespace, terminal: Terminal) -> int:
    """Revise the same items with a principle, without one, and with an irrelevant one; exit code 130 when stopped."""
    from engine.analyses.ablation import run_ablation
    from engine.core.control import Control

    store = store_path(args)
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

    try:
        rows = run_ablation(store, run_id, args.principle, args.items, control, terminal.stderr.say)
    except Interrupted:
        terminal.stderr.say("Stopped. What was computed is kept: the same command goes on from there.")
        return 130
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    with reading(args) as reader:
        judges = pair_critics(reader, run_id)
    told = {"run": run_id, "items": args.items, "results": json_ready(rows)}
    return answer(args, terminal, told, lambda: printed.principles.ablation_report(rows, judges))


def pair_critics(reader: Reader, run_id: str) -> list[Row]:
    """The run's critics of two responses in the order of its spec, with what their audits say."""
    found = [row for row in reader.audits(run_id) if row["subject_kind"] == "pair"]
    names = (reader.run(run_id)["settings"].get("critics") or {}).get("pair") or []
    return sorted(found, key=lambda row: names.index(row["critic"]) if row["critic"] in names else len(names))
