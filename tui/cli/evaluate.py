"""`cai evaluate` and `cai preregister`: held-out items, with or without the control center."""

from __future__ import annotations

import argparse
from typing import Any

from engine.run.orders import Evaluate
from store.text import json_ready
from tui.cli import run
from tui.cli.frame import chosen_run, flushed, reading, require_store, store_path, with_log, write_json
from tui.host.terminal import Terminal


def evaluate(args: argparse.Namespace, terminal: Terminal) -> int:
    """Exit codes as of a run: 4 where the scorer's audit or the gap gate failed, 130 where it was stopped and kept."""
    store = store_path(args)
    require_store(store)
    with reading(args) as reader:
        run_id = chosen_run(reader, args.run)
    if args.plan:
        return _tell_plan(args, terminal, run_id)
    return run.carry_out(args, terminal, Evaluate(store, run_id, dict(args.set or ()), batch_size=args.batch_size))


def _tell_plan(args: argparse.Namespace, terminal: Terminal, run_id: str) -> int:
    from engine.analyses.offers import evaluation_offer

    with reading(args) as reader:
        offer = evaluation_offer(reader, run_id, dict(args.set or ()))
    if args.json:
        write_json(terminal, {**json_ready(offer), "exit_code": 0})
        return 0
    from tui.printed.evaluation import offer_report
    from tui.printed.tables import console_on

    console_on(terminal.stdout).print(offer_report(offer))
    return flushed(terminal)


def preregister(args: argparse.Namespace, terminal: Terminal) -> int:
    """Settle what will be tested and how, before results exist; `--show` only shows what was settled."""
    store = store_path(args)
    require_store(store)
    with reading(args) as reader:
        run_id = chosen_run(reader, args.run)
    found: dict[str, Any] | None
    if args.show:
        from engine.evaluation.registration import current

        with reading(args) as reader:
            found = current(reader, run_id)
    else:
        from engine.analyses.offers import preregister as settle
        from store.db import Store

        with Store.open(store) as opened:
            found = settle(opened, run_id, after=args.after, hypothesis=args.hypothesis, overrides=dict(args.set or ()))
    if args.json:
        write_json(terminal, {"run": run_id, "registration": json_ready(found), "exit_code": 0})
        return 0
    from tui.printed.evaluation import registration_report
    from tui.printed.tables import console_on

    console_on(terminal.stdout).print(registration_report(run_id, found))
    return flushed(terminal)


def replay(args: argparse.Namespace, terminal: Terminal) -> int:
    """Compute a slice of a phase again; exit code 4 where texts or verdicts differ from what is stored."""
    store = store_path(args)
    require_store(store)
    with reading(args) as reader:
        run_id = chosen_run(reader, args.run)
    with_log(terminal, store, "cai replay")
    from engine.analyses.replay import replay as again

    found = again(store, run_id, args.phase, args.fraction, batch_size=args.batch_size)
    code = 0 if found["certified"] else 4
    if args.json:
        write_json(terminal, {**json_ready(found), "exit_code": code})
        return code
    from tui.printed.evaluation import replay_report
    from tui.printed.tables import console_on

    console_on(terminal.stdout).print(replay_report(found))
    flushed(terminal)
    return code
