"""Commands that look at what the store holds, and at this machine."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from store.text import json_ready
from tui.cli.frame import chosen_run, flushed, reading, require_store, store_path, with_log, write_json
from tui.host.terminal import Terminal

if TYPE_CHECKING:
    from tui.config.settings import Config


def runs(args: argparse.Namespace, terminal: Terminal) -> int:
    with reading(args) as reader:
        found = reader.runs()
    if args.json:
        heavy = ("settings", "manifest")
        listed = [{"run" if k == "run_id" else k: v for k, v in row.items() if k not in heavy} for row in found]
        write_json(terminal, {"runs": json_ready(listed)})
        return 0
    from tui.printed.tables import console_on, runs_table

    console = console_on(terminal.stdout)
    console.print(runs_table(found) if found else "no runs yet; begin one with: cai run")
    return flushed(terminal)


def status(args: argparse.Namespace, terminal: Terminal) -> int:
    with reading(args) as reader:
        run_id = chosen_run(reader, args.run)
        found, checks = reader.status(run_id), reader.gates(run_id)
        from tui.reads.training import training_accounts

        found["trainings"] = training_accounts(reader, run_id)
    if args.json:
        write_json(terminal, found)
        return 0
    from tui.printed.tables import console_on, status_report

    console_on(terminal.stdout).print(status_report(found, checks))
    return flushed(terminal)


def samples(args: argparse.Namespace, terminal: Terminal) -> int:
    with reading(args) as reader:
        run_id = chosen_run(reader, args.run)
        found = reader.samples(run_id, verdict=args.verdict, limit=args.limit + 1)
    more = len(found) > args.limit
    found = found[: args.limit]
    if args.json:
        write_json(terminal, {"run": run_id, "verdict": args.verdict, "samples": json_ready(found), "more": more})
        return 0
    from tui.printed.tables import console_on, samples_report

    console = console_on(terminal.stdout)
    console.print(samples_report(found))
    which = f" {args.verdict}" if args.verdict else ""
    console.print(f"{len(found):,} of >{len(found):,}{which} samples (--limit)" if more else f"{len(found):,} samples")
    return flushed(terminal)


def recheck(args: argparse.Namespace, terminal: Terminal) -> int:
    """Acceptance and gate again from stored rows. Exit code 4 where the gate would fail."""
    from engine.analyses.offers import recheck as recheck_run

    with reading(args) as reader:
        run_id = chosen_run(reader, args.run)
        result = recheck_run(reader, run_id, dict(args.set or ()))
    code = 0 if result["after"]["passed"] else 4
    if args.json:
        write_json(terminal, {**json_ready(result), "exit_code": code})
        return code
    from tui.printed.tables import console_on, recheck_report

    console_on(terminal.stdout).print(recheck_report(result))
    terminal.stdout.flush()
    return code


def export(args: argparse.Namespace, terminal: Terminal) -> int:
    store = store_path(args)
    require_store(store)
    with_log(terminal, store, "cai export")  # the format hf imports a library that may print
    with reading(args) as reader:
        from store.export import export as export_run

        run_id = chosen_run(reader, args.run)
        paths = [str(path) for path in export_run(reader, run_id, args.what, args.format, Path(args.out))]
    if args.json:
        found = {"run": run_id, "what": args.what, "format": args.format, "out": str(Path(args.out).absolute())}
        write_json(terminal, {**found, "files": paths})
        return 0
    terminal.stdout.write("".join(f"{path}\n" for path in paths))
    return flushed(terminal)


def doctor(args: argparse.Namespace, terminal: Terminal) -> int:
    """Exit code 1 where something failed or hung; what is absent is no error."""
    from engine.doctor import examine

    report = examine(store_path(args), time_limit_s=args.time_limit)
    code = 0 if report["healthy"] else 1
    if args.json:
        write_json(terminal, {**report, "exit_code": code})
        return code
    from tui.printed.tables import console_on, doctor_table

    console_on(terminal.stdout).print(doctor_table(report))
    terminal.stdout.flush()
    return code


def config(args: argparse.Namespace, terminal: Terminal) -> int:
    """The file, and each setting in force with where it comes from. Exit code 1 where something is wrong with it."""
    from tui.config.settings import SETTINGS, shown
    from tui.config.themes import unknown_theme

    found: Config = args.config
    problems = [*found.problems, *filter(None, [unknown_theme(found.theme)])]
    if found.keymap:
        from tui.app import keymap

        problems += keymap.complete(found.keymap, keymap.places())[1]
    code = 1 if problems else 0
    if args.json:
        told = {item.name: {"value": found.value(item.name), "from": found.origin(item.name)} for item in SETTINGS}
        answer = {"path": str(found.path), "exists": found.path.exists(), "settings": told}
        write_json(terminal, {**answer, "keymap": dict(found.keymap), "problems": problems, "exit_code": code})
        return code
    from tui.words.text import one_line

    there = "" if found.path.exists() else "  (not there: the defaults hold)"
    rows = [f"{found.path}{there}", ""]
    for item in SETTINGS:
        origin = found.origin(item.name)
        where = {"environment": f"${item.environment}", "command line": item.option}.get(origin, origin)
        rows.append(f"{item.name:<20} {one_line(shown(found.value(item.name)), 60):<28} {where}")
    rows += [f"keymap {name:<20} {one_line(keys, 60)}" for name, keys in found.keymap.items()]
    terminal.stdout.write("".join(f"{row}\n" for row in rows))
    terminal.stderr.write("".join(f"config: {one_line(text, 400)}\n" for text in problems))
    terminal.stderr.flush()
    flushed(terminal)
    return code
