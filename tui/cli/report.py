"""`cai report` and `cai compare`: a run as a report in a folder, and several runs item by item."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

from tui import printed
from tui.cli.frame import chosen_run, reading, require_store, show, store_path, with_log, write, write_json
from tui.cli.parsing import Commands, add_out, add_run
from tui.host.terminal import Terminal


def add(commands: Commands) -> None:
    own = commands.add("report", report_run, "write a paper's appendix of a run: Markdown, HTML, figures, queries")
    add_run(own)
    add_out(own)

    own = commands.add("compare", compare_runs, "compare runs item by item, as in an ablation")
    own.add_argument("runs", nargs="+", metavar="RUN", help="two or more: all are compared with the first")
    own.add_argument("--capability", metavar="NAME", help="instruction_following or conversation (default: all)")
    own.add_argument("--condition", action="append", metavar="NAME", help="of each run (default: trained last)")
    own.add_argument("--out", metavar="DIR", help="also write it there, a folder that is not there yet")


def report_run(args: argparse.Namespace, terminal: Terminal) -> int:
    """`cai report`: args.run, args.out (a folder that is not there yet), args.json."""
    store = store_path(args)
    require_store(store)
    with_log(terminal, store, "cai report")  # what a drawing library says belongs in the log
    with reading(args) as reader:
        from engine.report.build import build

        run_id = chosen_run(reader, args.run)
        price = args.config.price_per_gpu_hour
        files = build(reader, run_id, Path(args.out), price_per_hour=price, now=datetime.now(UTC))
    if args.json:
        out = Path(args.out).expanduser().absolute()
        return write_json(terminal, {"run": run_id, "out": str(out), "files": [str(path) for path in files]})
    return write(terminal, "".join(f"{path}\n" for path in files))


def compare_runs(args: argparse.Namespace, terminal: Terminal) -> int:
    """`cai compare`: args.runs, args.capability, args.json; optional args.condition, a list, and args.out, a folder."""
    from engine.report.comparison import compare_runs, require_two, write_comparison

    require_two(args.runs)
    with reading(args) as reader:
        conditions = getattr(args, "condition", None)
        found = compare_runs(reader, args.runs, capability=args.capability, conditions=conditions)
    out = getattr(args, "out", None)
    files = [str(path) for path in write_comparison(found, Path(out))] if out else []
    if args.json:
        return write_json(terminal, {**found, "files": files} if out else found)
    show(terminal, printed.comparison.comparison_report(found))
    return write(terminal, "".join(f"{path}\n" for path in files))
