"""Commands that look at what the store holds."""

from __future__ import annotations

import argparse
from pathlib import Path

from engine.core.errors import UsageError
from store.outcomes import FAILED
from store.text import json_ready
from tui import printed
from tui.cli.frame import answer, chosen_run, reading, require_store, show, store_path, with_log, write, write_json
from tui.cli.parsing import Commands, add_out, add_run, add_set, positive
from tui.host.terminal import Terminal

EXPORTS = ("sft", "samples", "judgements", "pairs", "revisions")


def add(commands: Commands) -> None:
    commands.add("runs", runs, "list the runs in the store")
    own = commands.add("status", status, "show how far a run is, its gates and its counts")
    add_run(own)
    own.add_argument("--prometheus", action="store_true", help="as Prometheus text, for a scraper; also while it works")

    own = commands.add("samples", samples, "show samples of a run with their verdicts")
    add_run(own)
    which = own.add_mutually_exclusive_group()
    for verdict in ("accepted", "rejected", "unsure"):
        which.add_argument(f"--{verdict}", dest="verdict", action="store_const", const=verdict, help=f"only {verdict}")
    own.add_argument("--limit", type=positive, default=50, metavar="N", help="at most N (50)")

    own = commands.add("recheck", recheck, "decide again from stored rows under other thresholds")
    add_run(own)
    add_set(own)

    own = commands.add("export", export, "write a data set with its card")
    add_run(own)
    own.add_argument("--what", choices=EXPORTS, default="sft", help="default: sft")
    own.add_argument("--format", choices=("jsonl", "parquet", "hf"), default="jsonl", help="default: jsonl")
    where = own.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", metavar="DIR", help="a folder that is not there yet")
    where.add_argument(
        "--snapshot", metavar="FILE", help="instead, the whole store as it is now, also while a run works: a new file"
    )

    own = commands.add("salvage", salvage, "save what can be read of a damaged store, and count what cannot")
    own.add_argument("damaged", nargs="?", metavar="STORE", help="the damaged file (default: --store)")
    add_out(own)


def runs(args: argparse.Namespace, terminal: Terminal) -> int:
    with reading(args) as reader:
        from store.headline import with_headlines
        from tui.reads.runs import listed

        found = with_headlines(reader, reader.runs())
    none = "no runs yet; begin one with: cai run"
    told = {"runs": json_ready(listed(found))}
    return answer(args, terminal, told, lambda: printed.tables.runs_table(found) if found else none)


def status(args: argparse.Namespace, terminal: Terminal) -> int:
    if args.prometheus and args.json:
        raise UsageError("--prometheus and --json are two forms of one answer", "Ask for one of them.")
    with reading(args) as reader:
        run_id = chosen_run(reader, args.run)
        found, checks = reader.status(run_id), reader.gates(run_id)
        from tui.reads.training import training_accounts

        found["trainings"] = training_accounts(reader, run_id)
        if args.prometheus:
            from tui.reads.scrape import scraped

            return write(terminal, printed.prometheus.exposition(found, scraped(reader, run_id)))
    return answer(args, terminal, found, lambda: printed.tables.status_report(found, checks))


def samples(args: argparse.Namespace, terminal: Terminal) -> int:
    with reading(args) as reader:
        run_id = chosen_run(reader, args.run)
        found = reader.samples(run_id, verdict=args.verdict, limit=args.limit)
        total = reader.count_samples(run_id, args.verdict)
    which = f" {args.verdict}" if args.verdict else ""
    how_many = f"{total:,}{which} samples"
    if total > len(found):
        how_many = f"{len(found):,} of {how_many}; --limit N shows more"
    if args.json:
        if total > len(found):
            terminal.stderr.say(how_many)
        told = {"run": run_id, "verdict": args.verdict, "samples": json_ready(found)}
        return write_json(terminal, {**told, "shown": len(found), "total": total, "more": total > len(found)})
    show(terminal, printed.tables.samples_report(found))
    return show(terminal, how_many)


def recheck(args: argparse.Namespace, terminal: Terminal) -> int:
    """Acceptance and gate again from stored rows. Exit code 4 where the gate would fail."""
    from engine.analyses.offers import recheck as recheck_run

    with reading(args) as reader:
        run_id = chosen_run(reader, args.run)
        result = recheck_run(reader, run_id, dict(args.set or ()))
    code = 4 if result["after"]["result"] == FAILED else 0
    told = {**json_ready(result), "exit_code": code}
    return answer(args, terminal, told, lambda: printed.tables.recheck_report(result), code)


def export(args: argparse.Namespace, terminal: Terminal) -> int:
    store = store_path(args)
    require_store(store)
    if args.snapshot is not None:
        return _copy(args, terminal)
    with_log(terminal, store, "cai export")  # the format hf imports a library that may print
    with reading(args) as reader:
        from store.export import export as export_run

        run_id = chosen_run(reader, args.run)
        paths = [str(path) for path in export_run(reader, run_id, args.what, args.format, Path(args.out))]
    if args.json:
        found = {"run": run_id, "what": args.what, "format": args.format, "out": str(Path(args.out).absolute())}
        return write_json(terminal, {**found, "files": paths})
    return write(terminal, "".join(f"{path}\n" for path in paths))


def _copy(args: argparse.Namespace, terminal: Terminal) -> int:
    if args.run is not None:
        raise UsageError("a snapshot has all runs of the store", "Name none, or write one run's data with --out.")
    out = Path(args.snapshot).expanduser().absolute()
    with reading(args) as reader:
        from store.serving.snapshot import snapshot

        counts = snapshot(reader, out)
    if args.json:
        return write_json(terminal, {"snapshot": str(out), "rows": counts})
    return write(terminal, f"{out}\n")


def salvage(args: argparse.Namespace, terminal: Terminal) -> int:
    """A new store of what can be read of a damaged one. Exit code 1 where something is lost."""
    from store.salvage.rescue import salvage as save

    found = save(Path(args.damaged) if args.damaged else store_path(args), Path(args.out))
    return answer(args, terminal, found, lambda: printed.salvage.salvage_report(found), 0 if found["whole"] else 1)
