"""`cai train`, `cai refresh` and `cai repeat`: SFT and preference training of a run, once, in rounds, by many seeds."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from engine.core.errors import UsageError
from store.names import TRAINED, TRAINING_PHASES
from tui import printed
from tui.cli import run
from tui.cli.frame import reading, run_of, show, store_path, with_log, write, write_json
from tui.cli.parsing import Commands, add_batch_size, add_headless, add_run, add_set, positive
from tui.host.outside import Outside
from tui.host.terminal import Terminal

if TYPE_CHECKING:
    from engine.run.repeats import RepeatSoFar


def add(commands: Commands) -> None:
    own = commands.add("train", train, "train a run's model on what passed its gates: SFT, then preferences")
    about = "dpo takes the loss that the spec names; sft_random and sft_length are controls, beside what all trains"
    own.add_argument("what", choices=(*TRAINED, "all"), help=about)
    add_run(own)
    add_set(own)
    own.add_argument("--plan", action="store_true", help="only say what would be trained and what locks it")
    own.add_argument("--accelerate", metavar="NAME", help="start it on many devices: fsdp_4, deepspeed_8, or a file")
    own.add_argument("--report-to", action="append", metavar="NAME", help="also tell trackio, wandb or tensorboard")
    add_headless(own)

    about = "train in rounds: the trained model writes new pairs and goes on from them"
    add_run(commands.add("refresh", refresh, about, with_json=False))

    about = "train and evaluate a run again with other seeds, for the spread between them"
    own = commands.add("repeat", repeat, about)
    add_run(own)
    own.add_argument("--seeds", type=positive, default=3, metavar="N", help="so many other seeds (3)")
    own.add_argument("--plan", action="store_true", help="only say what it would cost")
    own.add_argument("--yes", action="store_true", help="go on without asking whether it may cost that")
    add_batch_size(own)


def train(args: argparse.Namespace, terminal: Terminal) -> int:
    """Exit codes as of a run: 4 where a lock is shut, 130 where it was stopped and kept."""
    from engine.run.orders import Train  # help and usage load nothing of the engine

    store = store_path(args)
    run_id = run_of(args)
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
        plans = [
            training_plan(reader, run_id, kind, dict(args.set or ()), price_per_hour=price, accelerate=args.accelerate)
            for kind in kinds
        ]
    code = 0 if all(lock["open"] for plan in plans for lock in plan["locks"]) else 4
    if args.json:
        return write_json(terminal, {"run": run_id, "plans": plans, "exit_code": code}, code)
    for plan in plans:
        show(terminal, printed.training.training_plan_report(plan))
    return code


def refresh(args: argparse.Namespace, terminal: Terminal) -> int:
    """`cai refresh`: round after round, each a run with its own gate; ends with the first that does not pass."""
    from engine.run.orders import Order, Resume, Round, Train
    from engine.run.refresh import rounds
    from tui.live.opener import opener
    from tui.printed.headless import run_headless

    store = store_path(args)
    first = run_of(args)
    with_log(terminal, store, "cai refresh")
    while True:
        with reading(args) as reader:
            found = rounds(reader, first)
        left = next((one for one in found if not one.trained), None)
        if left is None:
            return write(terminal, f"all {len(found)} rounds are trained; compare them in: cai runs\n")
        write(terminal, f"round {left.number} of {len(found)}\n")
        if left.run_id is None:
            order: Order = Round(store, left.before)
        elif not left.data_done:
            order = Resume(store, left.run_id)
        else:
            order = Train(store, left.run_id, ("dpo",))
        code, _ = run_headless(opener(args.config), order, terminal, as_json=False, outside=Outside.of(args.config))
        if code:
            return code


def repeat(args: argparse.Namespace, terminal: Terminal) -> int:
    """`cai repeat`: what it costs first, then each repeat that is not through: trained, then evaluated.

    Ends with the first that was stopped or failed; the same command goes on there. Exit code 4 where the scorer's audit
    left a repeat without results.
    """
    from engine.planning.repeats import repeat_cost
    from engine.run.repeats import repeated_kinds, repeats
    from engine.spec.stage import settings_of

    store, run_id = store_path(args), run_of(args)
    with reading(args) as reader:
        run = reader.run(run_id)
        spec, kinds = settings_of(run), repeated_kinds(reader, run)
        left = [one for one in repeats(reader, run_id, args.seeds) if not one.evaluated]
        cost = repeat_cost(reader, run, spec, kinds, len(left), args.config.price_per_gpu_hour)
    told = {"run": run_id, "seeds": args.seeds, "trained": list(kinds), "cost": cost}
    if not args.json:
        show(terminal, printed.plan.repeat_report(told))
    if args.plan:
        return write_json(terminal, {**told, "exit_code": 0}) if args.json else 0
    if left and not _may_cost(args, terminal):
        return write(terminal, "Nothing was started.\n")
    with_log(terminal, store, "cai repeat")
    for one in left:
        if code := _carry_out(args, terminal, run_id, one, kinds):
            return _repeated(args, terminal, told, code)
    return _repeated(args, terminal, told, 0)


def _may_cost(args: argparse.Namespace, terminal: Terminal) -> bool:
    if args.yes:
        return True
    if args.json or not terminal.interactive:
        raise UsageError(
            "what repeats cost has to be agreed to", "Look at it with --plan, then add --yes. Nothing was started."
        )
    from tui.host.tmux import ask

    return (ask(terminal, "Train and evaluate these? [y/N] ") or "").lower() in ("y", "yes")


def _carry_out(
    args: argparse.Namespace, terminal: Terminal, run_id: str, one: RepeatSoFar, kinds: tuple[str, ...]
) -> int:
    """Train and evaluate one repeat; the code of what did not come to its end."""
    from engine.run.orders import Evaluate, Train
    from engine.run.repeats import begin_repeat
    from store.db import Store
    from tui.live.opener import opener
    from tui.printed.headless import EXIT_CODES, run_headless

    store, own = store_path(args), one.run_id
    if own is None:
        with Store.open(store) as opened:
            own = begin_repeat(opened, run_id, one.number)
    if not args.json:
        write(terminal, f"repeat {one.number} of {args.seeds}: run {own}\n")
    orders: list[Train | Evaluate] = [] if one.trained else [Train(store, own, kinds)]
    for order in [*orders, Evaluate(store, own, batch_size=args.batch_size)]:
        outside = Outside.of(args.config)
        code, _ = run_headless(opener(args.config), order, terminal, as_json=args.json, outside=outside)
        # An evaluation that no claim can be made of has its results all the same, unless the scorer itself failed.
        if code and (isinstance(order, Train) or code != EXIT_CODES["gate_failed"]):
            return code
    return 0


def _repeated(args: argparse.Namespace, terminal: Terminal, told: dict[str, Any], code: int) -> int:
    """What the repeats came to."""
    from dataclasses import asdict

    from engine.run.repeats import repeats
    from store.text import json_ready
    from tui.reads.evaluation import over_seeds

    with reading(args) as reader:
        found, rows = repeats(reader, told["run"], args.seeds), over_seeds(reader, told["run"])
    if not code and not all(one.evaluated for one in found):
        code = 4
    if args.json:
        whole = {**told, "repeats": [asdict(one) for one in found], "over_seeds": json_ready(rows), "exit_code": code}
        return write_json(terminal, whole, code)
    return show(terminal, printed.evaluation.repeats_report(told["run"], found, rows), code)
