"""`cai train`: SFT and preference training of a run, in the control center or without it."""

from __future__ import annotations

import argparse
from typing import Any

from engine.run.orders import Order, Resume, Round, Train
from store.names import TRAINING_PHASES
from tui.cli import run
from tui.cli.frame import chosen_run, flushed, reading, require_store, store_path, with_log, write_json
from tui.host.terminal import Terminal

KINDS = ("sft", "dpo")


def train(args: argparse.Namespace, terminal: Terminal) -> int:
    """Exit codes as of a run: 4 where a lock is shut, 130 where it was stopped and kept."""
    store = store_path(args)
    require_store(store)
    with reading(args) as reader:
        run_id = chosen_run(reader, args.run)
    kinds = TRAINING_PHASES if args.what == "all" else (args.what,)
    if args.plan:
        return _tell_plan(args, terminal, run_id, kinds)
    order = Train(store, run_id, kinds, dict(args.set or ()), args.accelerate, tuple(args.report_to or ()))
    return run.carry_out(args, terminal, order)


def _tell_plan(args: argparse.Namespace, terminal: Terminal, run_id: str, kinds: tuple[str, ...]) -> int:
    """What would be trained and what locks it; exit code 4 where a lock is shut. Nothing is started."""
    from engine.analyses.offers import training_plan

    price = args.config.price_per_gpu_hour
    with reading(args) as reader:
        plans = [training_plan(reader, run_id, kind, dict(args.set or ()), price_per_hour=price) for kind in kinds]
    code = 0 if all(lock["open"] for plan in plans for lock in plan["locks"]) else 4
    if args.json:
        write_json(terminal, {"run": run_id, "plans": plans, "exit_code": code})
        return code
    from tui.printed.tables import console_on
    from tui.printed.training import training_plan_report

    console = console_on(terminal.stdout)
    for plan in plans:
        console.print(training_plan_report(plan))
    flushed(terminal)
    return code


def refresh(args: argparse.Namespace, terminal: Terminal) -> int:
    """`cai refresh`: round after round, each a run with its own gate; ends with the first that does not pass."""
    from engine.run.refresh import rounds
    from tui.live.opener import opener
    from tui.printed.headless import run_headless

    store = store_path(args)
    require_store(store)
    with reading(args) as reader:
        first = chosen_run(reader, args.run)
    with_log(terminal, store, "cai refresh")
    while True:
        with reading(args) as reader:
            found = rounds(reader, first)
        left = next((one for one in found if not one.trained), None)
        if left is None:
            terminal.stdout.write(f"all {len(found)} rounds are trained; compare them in: cai runs\n")
            return flushed(terminal)
        terminal.stdout.write(f"round {left.number} of {len(found)}\n")
        terminal.stdout.flush()
        if left.run_id is None:
            order: Order = Round(store, left.before)
        elif not left.data_done:
            order = Resume(store, left.run_id)
        else:
            order = Train(store, left.run_id, ("dpo",))
        code, _ = run_headless(opener(args.config), order, terminal, as_json=False)
        if code:
            return code


def merge(args: argparse.Namespace, terminal: Terminal) -> int:
    """`cai merge`: weights with an adapter in them, for a server that knows no adapters."""
    from pathlib import Path

    store = store_path(args)
    require_store(store)
    with_log(terminal, store, "cai merge")
    with reading(args) as reader:
        run_id = chosen_run(reader, args.run)
        from engine.training.merge import merge_adapter

        found: dict[str, Any] = merge_adapter(reader, run_id, args.what, Path(args.out), dtype=args.dtype)
    if args.json:
        write_json(terminal, found)
        return 0
    from tui.printed.tables import console_on
    from tui.printed.training import merge_report

    console_on(terminal.stdout).print(merge_report(found))
    return flushed(terminal)
