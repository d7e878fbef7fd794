"""`cai train` and `cai refresh`: SFT and preference training of a run, in the control center or without it."""

from __future__ import annotations

import argparse

from store.names import TRAINED, TRAINING_PHASES
from tui import printed
from tui.cli import run
from tui.cli.frame import reading, run_of, show, store_path, with_log, write, write_json
from tui.cli.parsing import Commands, add_headless, add_run, add_set
from tui.host.outside import Outside
from tui.host.terminal import Terminal


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
        plans = [training_plan(reader, run_id, kind, dict(args.set or ()), price_per_hour=price) for kind in kinds]
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
