"""`cai plan` and `cai budget`: what the rest costs and what it can show, and what was spent."""

from __future__ import annotations

import argparse
from typing import Any

from engine.core.errors import UsageError
from tui import printed
from tui.cli.frame import answer, chosen_run, raise_budget, reading, run_of
from tui.cli.parsing import Commands, add_budget, add_run, add_set, count, dollars
from tui.host.terminal import Terminal


def add(commands: Commands) -> None:
    about = "what the rest costs, what an n can show, what best-of-k and an early stop are worth"
    own = commands.add("plan", plan, about)
    add_run(own)
    add_set(own)
    own.add_argument("--price", type=dollars, metavar="USD", help="of a GPU hour (default: the configured one)")
    interim = "gained, lost, items so far, items planned: stop for futility?"
    own.add_argument("--interim", type=count, nargs=4, metavar="N", help=interim)

    own = commands.add("budget", budget, "what was spent, by run, phase and kind; --budget raises the cap")
    add_run(own)
    add_budget(own)


def plan(args: argparse.Namespace, terminal: Terminal) -> int:
    """`cai plan [RUN]`: nothing is started or changed."""
    price = getattr(args, "price", None)
    if price is None:
        price = args.config.price_per_gpu_hour
    interim = getattr(args, "interim", None)
    with reading(args) as reader:
        from engine.planning.plan import plan_of
        from engine.spec.stage import settings_of

        run_id = chosen_run(reader, args.run)
        changed = dict(getattr(args, "set", None) or ())
        cap = getattr(args, "cap", None)
        found = plan_of(reader, run_id, price_per_hour=price, cap_usd=cap, overrides=changed)
        if interim is not None:
            spec = settings_of(reader.run(run_id), changed)
            found["futility"]["interim"] = _interim(spec.evaluation, [int(count) for count in interim])
    return answer(args, terminal, found, lambda: printed.plan.plan_report(found))


def _interim(settings: Any, counts: list[int]) -> dict[str, Any]:
    from engine.evaluation.levels import level_of_all
    from engine.planning.futility import futility

    if settings is None:
        raise UsageError("this run's spec has no section `evaluation`", "Its expected gain and loss are needed.")
    try:
        return futility(
            *counts, gain=settings.expected_gain, loss=settings.expected_loss, alpha=level_of_all(settings.alpha),
            power=settings.power,
        )  # fmt: skip
    except (ValueError, TypeError) as error:
        raise UsageError(str(error), "Wanted: gained, lost, items so far, items planned.") from error


def budget(args: argparse.Namespace, terminal: Terminal) -> int:
    """`cai budget [RUN]`: what was spent; with `args.budget` (US dollars) and `args.reason` a person raises the cap."""
    run_id = run_of(args)
    if getattr(args, "budget", None) is not None:
        raise_budget(args)
    with reading(args) as reader:
        from engine.planning.plan import budget_of

        found = budget_of(reader, run_id)
    return answer(args, terminal, found, lambda: printed.plan.budget_report(found))
