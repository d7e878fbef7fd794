"""`cai evaluate` and `cai preregister`: held-out items, with or without the control center."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from engine.core.errors import UsageError
from engine.evaluation.suites import KNOWN
from store.text import json_ready
from tui import printed
from tui.cli import run
from tui.cli.frame import answer, reading, run_of, store_path, with_log
from tui.cli.parsing import Commands, add_batch_size, add_headless, add_run, add_set
from tui.host.terminal import Terminal


def add(commands: Commands) -> None:
    about = "ask a run's models the held-out items: the gap before training, the difference after"
    own = commands.add("evaluate", evaluate, about)
    add_run(own)
    add_set(own)
    own.add_argument("--suite", action="append", metavar="NAME", help=f"ask benchmarks instead: {', '.join(KNOWN)}, "
                     "any other task of the lm-evaluation-harness, or a file .yaml that describes one")  # fmt: skip
    own.add_argument("--plan", action="store_true", help="only say what would be asked")
    add_batch_size(own)
    add_headless(own)

    own = commands.add("preregister", preregister, "settle hypotheses and tests before results exist")
    add_run(own)
    add_set(own)
    own.add_argument("--after", choices=("sft", "dpo"), help="what is compared (default: the spec's last training)")
    own.add_argument("--controls", action="store_true", help="also what SFT is worth beyond the spec's controls")
    own.add_argument("--hypothesis", metavar="TEXT", help="the primary hypothesis in your words")
    own.add_argument("--show", action="store_true", help="only show what was registered")


def evaluate(args: argparse.Namespace, terminal: Terminal) -> int:
    """Exit codes as of a run: 4 where the scorer's audit or the gap gate failed, 130 where it was stopped and kept."""
    from engine.run.orders import Evaluate  # help and usage load nothing of the engine

    store = store_path(args)
    run_id = run_of(args)
    suites = tuple(name.strip() for one in args.suite or () for name in one.split(",") if name.strip())
    if args.suite and not suites:
        raise UsageError("--suite names no benchmark", f"Nothing was started. Name one, such as {next(iter(KNOWN))}.")
    if args.plan:
        return _tell_plan(args, terminal, run_id, suites)
    order = Evaluate(store, run_id, dict(args.set or ()), suites, batch_size=args.batch_size)
    return run.carry_out(args, terminal, order)


def _tell_plan(args: argparse.Namespace, terminal: Terminal, run_id: str, suites: Sequence[str]) -> int:
    from engine.analyses.offers import evaluation_offer, suite_offer
    from tui.config.reviewer import reviewer_options

    if suites:
        with_log(terminal, store_path(args), "cai evaluate")  # the harness fetches data, and says so
        with reading(args) as reader:
            offer = suite_offer(reader, run_id, suites)
        return answer(args, terminal, {**offer, "exit_code": 0}, lambda: printed.suites.offer_report(offer))
    with reading(args) as reader:
        offer = evaluation_offer(reader, run_id, dict(args.set or ()), review=reviewer_options(args.config))
    told = {**json_ready(offer), "exit_code": 0}
    return answer(args, terminal, told, lambda: printed.evaluation.offer_report(offer))


def preregister(args: argparse.Namespace, terminal: Terminal) -> int:
    """Settle what will be tested and how, before results exist; `--show` only shows what was settled."""
    store = store_path(args)
    run_id = run_of(args)
    found: dict[str, Any] | None
    if args.show:
        from engine.evaluation.registration import current

        with reading(args) as reader:
            found = current(reader, run_id)
    else:
        from engine.analyses.offers import preregister as settle
        from store.db import Store

        with Store.open(store) as opened:
            found = settle(opened, run_id, after=args.after, hypothesis=args.hypothesis, controls=args.controls,
                           overrides=dict(args.set or ()))  # fmt: skip
    told = {"run": run_id, "registration": json_ready(found), "exit_code": 0}
    return answer(args, terminal, told, lambda: printed.evaluation.registration_report(run_id, found))
