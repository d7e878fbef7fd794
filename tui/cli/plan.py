"""`cai plan`, `cai fit`, `cai budget`: what the rest costs and can show, what fits a GPU, what was spent."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from engine.core.errors import SpecError, UsageError
from tui import printed
from tui.cli.frame import answer, chosen_run, raise_budget, reading, run_of, store_path
from tui.cli.parsing import Commands, add_budget, add_run, add_set, count, did_you_mean, dollars, positive
from tui.host.terminal import Terminal

if TYPE_CHECKING:
    from store.read import Reader


def add(commands: Commands) -> None:
    about = "what an experiment costs before it runs, what the rest of a run costs and can show, and when to stop"
    own = commands.add("plan", plan, about)
    wanted = "a run's id, or a spec that none has begun (default: the latest run; without one the shipped pipeline)"
    own.add_argument("run", nargs="?", metavar="RUN_OR_SPEC", help=wanted)
    add_set(own)
    own.add_argument("--price", type=dollars, metavar="USD", help="of a GPU hour (default: the configured one)")
    own.add_argument("--gpu", metavar="KIND", help="H200, H100, ... or CPU (default: the run's, else the cheapest)")
    own.add_argument("--model", metavar="NAME", help="of an experiment that has no run (default: the spec's)")
    own.add_argument("--parameters", type=weights, metavar="N", help="how many weights it has, such as 32B or 270M")
    own.add_argument("--seeds", type=positive, metavar="N", help="trainings and evaluations of the last stage (3)")
    own.add_argument("--ablations", type=count, metavar="N", help="principles ablated (all of the constitution)")
    interim = "gained, lost, items so far, items planned: stop for futility?"
    own.add_argument("--interim", type=count, nargs=4, metavar="N", help=interim)

    about = "whether a model fits GPUs: memory by part, micro-batch, engines, hours and dollars; needs no weights"
    own = commands.add("fit", fit, about)
    own.add_argument("model", metavar="MODEL", help="a folder with config.json, a known model's name, or Qwen2.5-32B")
    own.add_argument("--gpus", type=positive, default=1, metavar="N", help="how many (1)")
    own.add_argument("--kind", default="H100", metavar="KIND", help="H200, H100 or h100-80, A100, ... (H100)")
    own.add_argument("--price", type=dollars, metavar="USD", help="of a GPU hour (default: the configured one)")

    own = commands.add("budget", budget, "what was spent, by run, phase and kind; --budget raises the cap")
    add_run(own)
    add_budget(own)


def weights(text: str) -> float:
    """How many weights, from 32B, 270M or a number with such a letter."""
    from engine.planning.priors import parameters_of

    try:
        return parameters_of(text)
    except SpecError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of weights, such as 32B or 270M") from None


def plan(args: argparse.Namespace, terminal: Terminal) -> int:
    """`cai plan [RUN_OR_SPEC]`: nothing is started or changed; of a spec it needs neither a store nor a model."""
    interim = getattr(args, "interim", None)
    changed = dict(getattr(args, "set", None) or ())
    given = _asked_for(args) | {"cap_usd": getattr(args, "cap", None)}
    spec = _spec_of(args)
    if spec is not None:
        from engine.planning.experiment import experiment_of, pipeline_of

        if interim is not None:
            raise UsageError("--interim is about a run", "Name the run. Nothing was started.")
        if getattr(args, "price", None) is not None and given["kind"] is None:
            raise UsageError("--price is of one kind of GPU", "Say which, such as --gpu H100. Nothing was started.")
        stages = pipeline_of(spec, changed)
        with _reading_if_there(args) as reader:
            told = experiment_of(stages, model=getattr(args, "model", None), reader=reader, **given)
        return answer(args, terminal, told, lambda: printed.experiment.experiment_report(told))
    if getattr(args, "model", None):
        raise UsageError("--model is of an experiment that has no run", "A run has its own. Name a spec instead.")
    with reading(args) as reader:
        from engine.planning.experiment import experiment_of_run
        from engine.planning.plan import plan_of
        from engine.spec.stage import settings_of

        run_id = chosen_run(reader, args.run)
        price, cap = given["usd_per_hour"], given["cap_usd"]
        found = plan_of(reader, run_id, price_per_hour=price, cap_usd=cap, overrides=changed)
        found["experiment"] = experiment_of_run(reader, run_id, changed, **given)
        if interim is not None:
            settings = settings_of(reader.run(run_id), changed)
            found["futility"]["interim"] = _interim(settings.evaluation, [int(count) for count in interim])
    return answer(args, terminal, found, lambda: printed.plan.plan_report(found))


def fit(args: argparse.Namespace, terminal: Terminal) -> int:
    """`cai fit MODEL`: nothing is started, loaded or downloaded."""
    from engine.budget.gpus import KINDS, kind_named, prices_of

    kind = kind_named(args.kind)
    if kind is None:
        near = did_you_mean(args.kind.upper(), tuple(KINDS))
        raise UsageError(f"no kind of GPU {args.kind!r}{near}", f"There are: {', '.join(KINDS)}.")
    from engine.planning.fit import fit_of, shape_named

    price = args.config.price_per_gpu_hour if args.price is None else args.price
    shape = shape_named(args.model)
    with _reading_if_there(args) as reader:
        found = fit_of(
            shape, args.model, kind, args.gpus, usd_per_hour=price, prices=prices_of(args.config.gpu_prices),
            reader=reader,
        )  # fmt: skip
    return answer(args, terminal, found, lambda: printed.fit.fit_report(found))


def _asked_for(args: argparse.Namespace) -> dict[str, Any]:
    """What of an experiment a person set, on the command line or in the configuration."""
    from engine.budget.gpus import CPU, KINDS, prices_of

    kind = getattr(args, "gpu", None)
    if kind is not None and kind not in (*KINDS, CPU):
        near = did_you_mean(kind, (*KINDS, CPU))
        raise UsageError(f"no kind of GPU {kind!r}{near}", f"There are: {', '.join((*KINDS, CPU))}.")
    price = getattr(args, "price", None)
    return {
        "kind": kind,
        "usd_per_hour": args.config.price_per_gpu_hour if price is None else price,
        "prices": prices_of(args.config.gpu_prices),
        "parameters": getattr(args, "parameters", None),
        "seeds": getattr(args, "seeds", None) or 3,
        "ablations": getattr(args, "ablations", None),
    }


def _spec_of(args: argparse.Namespace) -> str | None:
    """The spec that is asked for: one by its name or path; without a store or a run in it the shipped pipeline."""
    from engine.planning.experiment import PIPELINE
    from engine.spec.stage import available

    if args.run:
        return args.run if args.run in available() or args.run.endswith(".md") else None
    if not store_path(args).exists():
        return PIPELINE
    with reading(args) as reader:
        return None if reader.latest_run_id() else PIPELINE


@contextmanager
def _reading_if_there(args: argparse.Namespace) -> Iterator[Reader | None]:
    if not store_path(args).exists():
        yield None
        return
    with reading(args) as reader:
        yield reader


def _interim(settings: Any, counts: list[int]) -> dict[str, Any]:
    from engine.evaluation.inference.levels import level_of_all
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
