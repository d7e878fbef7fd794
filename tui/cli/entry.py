"""The command line `cai`: arguments in, exit code out. Nothing heavier than argparse is imported for --help.

Exit codes: 0 done, 1 error, 2 usage, 3 waiting for a decision, 4 a gate failed, 5 budget reached, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from engine.core.errors import UsageError
from store.errors import CaiError
from store.names import EXPORTS, FORMATS, PHASES, REPLAYED, TRAINING_PHASES, VERDICTS
from tui.cli import frame, look
from tui.cli import review as review_commands
from tui.cli import run as commands
from tui.host.terminal import Terminal, log_path, part_head

Command = Callable[[argparse.Namespace, Terminal], int]

_DESCRIPTION = "Constitutional AI bootstrapping of a base model, steered and audited from one terminal."
_EPILOG = (
    "Without a command the control center opens. "
    "Exit codes: 0 done, 1 error, 2 usage, 3 waiting for a decision, 4 a gate failed, 5 budget reached, "
    "130 interrupted. The store is --store, else $CAI_STORE, else the configured one, else ./cai.duckdb; the log lies "
    "beside it."
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"see: {self.prog} --help")


class _ShowVersion(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import PackageNotFoundError, version

        try:
            found = version("cai-control-center")
        except PackageNotFoundError:
            found = "(not installed)"
        parser.exit(message=f"cai {found}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Expected errors become a title and a hint, unexpected ones a line that names the log."""
    argv = list(sys.argv[1:] if argv is None else argv)
    args = argparse.Namespace(json="--json" in argv, command="")
    terminal = Terminal.standard()
    try:
        args = parser().parse_args(argv)
        args.argv = argv
        commands.configure(args, terminal)
        action: Command = args.action
        return action(args, terminal)
    except SystemExit as leaving:  # --help and --version
        return leaving.code if isinstance(leaving.code, int) else 1
    except KeyboardInterrupt:
        return _fail(terminal, args, "interrupted", "What was committed is safe.", 130)
    except CaiError as error:
        return _fail(terminal, args, error.title, error.hint, error.exit_code)
    except Exception as error:
        where = _keep_traceback(args, error)
        told = f"unexpected {type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
        return _fail(terminal, args, told, f"What was committed is safe. The traceback is in {where}", 1)


def _fail(terminal: Terminal, args: argparse.Namespace, title: str, hint: str, code: int) -> int:
    if args.json:
        frame.write_json(terminal, {"error": {"title": title, "hint": hint}, "exit_code": code})
        return code
    from tui.printed.tables import console_on, error_report

    error_report(console_on(terminal.stderr), title, hint)
    return code


def _keep_traceback(args: argparse.Namespace, error: BaseException) -> Path:
    where = log_path(frame.store_path(args))
    text = part_head(where, f"cai {args.command or ''}") + "".join(traceback.format_exception(error))
    try:
        with where.open("a", encoding="utf-8", errors="replace") as log:
            log.write(text)
    except OSError:
        with tempfile.NamedTemporaryFile("w", prefix="cai-", suffix=".log", delete=False, encoding="utf-8") as log:
            log.write(text)
        where = Path(log.name)
    return where


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = _Parser(prog="cai", description=_DESCRIPTION, epilog=_EPILOG, allow_abbrev=False)
    top.add_argument("--version", action=_ShowVersion, nargs=0, help="show the version and leave")
    top.add_argument("--store", metavar="PATH", help="the DuckDB file (default: $CAI_STORE or ./cai.duckdb)")
    top.add_argument(frame.NO_TMUX, action="store_true", help="over SSH, do not offer to move into tmux")
    top.set_defaults(action=commands.start, command="", json=False)
    found = top.add_subparsers(title="commands", metavar="COMMAND", dest="command")

    def command(name: str, action: Command, about: str, *, with_json: bool = True) -> argparse.ArgumentParser:
        own = found.add_parser(name, help=about, description=about, allow_abbrev=False)
        own.set_defaults(action=action)
        own.add_argument("--store", metavar="PATH", default=argparse.SUPPRESS, help="the DuckDB file")
        own.add_argument(frame.NO_TMUX, action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        if with_json:
            own.add_argument("--json", action="store_true", help="one JSON object on stdout, everything else on stderr")
        return own

    run = command("run", commands.run, "start a run, or go on with an unfinished one of the same settings")
    run.add_argument("spec", nargs="?", metavar="SPEC", help="name in specs/ or path (default: by the model)")
    run.add_argument(
        "--model",
        metavar="NAME_OR_PATH",
        help="base model: a name, a folder, or servers "
        "(http://host:8000/v1[#name],...; default: the configured or embedded one)",
    )
    size = run.add_mutually_exclusive_group()
    size.add_argument("--pilot", type=_positive, metavar="N", help="stop after a pilot of N accepted examples")
    size.add_argument("--target", type=_positive, metavar="N", help="go on to N accepted examples")
    run.add_argument("--seed", type=int, metavar="N", help="seed of the run (default: the spec's)")
    _add_set(run)
    run.add_argument("--new", action="store_true", help="begin another run even if the same one is there already")
    _add_running(run)

    resume = command("resume", commands.run, "go on with a run where it was left")
    _add_run(resume)
    _add_budget(resume)
    _add_running(resume)

    command("runs", look.runs, "list the runs in the store")
    _add_run(command("status", look.status, "show how far a run is, its gates and its counts"))

    samples = command("samples", look.samples, "show samples of a run with their verdicts")
    _add_run(samples)
    which = samples.add_mutually_exclusive_group()
    for verdict in VERDICTS:
        which.add_argument(f"--{verdict}", dest="verdict", action="store_const", const=verdict, help=f"only {verdict}")
    samples.add_argument("--limit", type=_positive, default=frame.SAMPLES_SHOWN, metavar="N", help="at most N (50)")

    recheck = command("recheck", look.recheck, "decide again from stored rows under other thresholds")
    _add_run(recheck)
    _add_set(recheck)

    export = command("export", look.export, "write a data set with its card")
    _add_run(export)
    export.add_argument("--what", choices=EXPORTS, default="sft", help="default: sft")
    export.add_argument("--format", choices=FORMATS, default="jsonl", help="default: jsonl")
    export.add_argument("--out", required=True, metavar="DIR", help="a folder that is not there yet")

    _add_run(command("principles", _principles, "what each principle of the constitution did in a run"))
    ablate = command(
        "ablate", _ablate, "revise the same items with a principle, without one, and with an irrelevant one"
    )
    _add_run(ablate)
    ablate.add_argument(
        "--principle", action="append", required=True, metavar="ID", help="a principle of constitution.yaml; repeatable"
    )
    ablate.add_argument("--items", type=_positive, default=40, metavar="N", help="samples to revise (40)")

    train = command("train", _train, "train a run's model on what passed its gates: SFT, then preferences")
    train.add_argument("what", choices=(*TRAINING_PHASES, "all"), help="dpo takes the loss that the spec names")
    _add_run(train)
    _add_set(train)
    train.add_argument("--plan", action="store_true", help="only say what would be trained and what locks it")
    train.add_argument("--accelerate", metavar="NAME", help="start it on many devices: fsdp_4, deepspeed_8, or a file")
    train.add_argument("--report-to", action="append", metavar="NAME", help="also tell trackio, wandb or tensorboard")
    train.add_argument("--headless", action="store_true", help="print progress instead of opening the control center")

    refresh = command(
        "refresh",
        _refresh,
        "train in rounds: the trained model writes new pairs and goes on from them",
        with_json=False,
    )
    _add_run(refresh)

    evaluate = command(
        "evaluate", _evaluate, "ask a run's models the held-out items: the gap before training, the difference after"
    )
    _add_run(evaluate)
    _add_set(evaluate)
    evaluate.add_argument("--plan", action="store_true", help="only say what would be asked")
    evaluate.add_argument("--batch-size", type=_positive, metavar="N", help="rows on the device at once")
    evaluate.add_argument(
        "--headless", action="store_true", help="print progress instead of opening the control center"
    )

    register = command("preregister", _preregister, "settle hypotheses and tests before results exist")
    _add_run(register)
    _add_set(register)
    register.add_argument(
        "--after", choices=TRAINING_PHASES, help="what is compared (default: the spec's last training)"
    )
    register.add_argument("--hypothesis", metavar="TEXT", help="the primary hypothesis in your words")
    register.add_argument("--show", action="store_true", help="only show what was registered")

    report = command("report", _report, "write a paper's appendix of a run: Markdown, HTML, figures, queries")
    _add_run(report)
    report.add_argument("--out", required=True, metavar="DIR", help="a folder that is not there yet")

    compare = command("compare", _compare, "compare runs item by item, as in an ablation")
    compare.add_argument("runs", nargs="+", metavar="RUN", help="two or more: all are compared with the first")
    compare.add_argument("--capability", metavar="NAME", help="instruction_following or conversation (default: all)")
    compare.add_argument("--condition", action="append", metavar="NAME", help="of each run (default: trained last)")
    compare.add_argument("--out", metavar="DIR", help="also write it there, a folder that is not there yet")

    replay = command("replay", _replay, "compute a slice of a phase again, and certify that it agrees")
    _add_run(replay)
    replay.add_argument("--phase", required=True, choices=REPLAYED, metavar="PHASE", help=", ".join(REPLAYED))
    replay.add_argument("--fraction", type=_share, default=0.05, metavar="F", help="of its model calls (0.05)")
    replay.add_argument("--batch-size", type=_positive, metavar="N", help="rows on the device at once")

    merge = command("merge", _merge, "write weights with a trained adapter merged into them")
    _add_run(merge)
    merge.add_argument("--what", default="dpo", metavar="NAME", help="sft, dpo or a training's id (default: dpo)")
    merge.add_argument(
        "--dtype", choices=("bfloat16", "float32"), help="of the written weights (default: the base's own)"
    )
    merge.add_argument("--out", required=True, metavar="DIR", help="a folder that is not there yet")

    review = command("review", review_commands.listed, "questions of methodology: list, show, answer, ask, verify")
    review_commands.add_parsers(review, _setting)
    command("mcp", _mcp, "serve the store's runs to an agent, over stdin and stdout", with_json=False)

    plan = command("plan", _plan, "what the rest costs, what an n can show, what best-of-k and an early stop are worth")
    _add_run(plan)
    _add_set(plan)
    plan.add_argument("--price", type=_dollars, metavar="USD", help="of a GPU hour (default: the configured one)")
    plan.add_argument(
        "--interim",
        type=int,
        nargs=4,
        metavar="N",
        help="gained, lost, items so far, items planned: stop for futility?",
    )

    budget = command("budget", _budget, "what was spent, by run, phase and kind; --budget raises the cap")
    _add_run(budget)
    _add_budget(budget)

    command("config", look.config, "show the configuration file and what is in force, and from where")

    doctor = command("doctor", look.doctor, "check GPU, memory, disk, write access and every library")
    doctor.add_argument("--time-limit", type=_seconds, default=60.0, metavar="S", help="limit for a library (60)")
    return top


def _mcp(args: argparse.Namespace, terminal: Terminal) -> int:
    from tui.cli.mcp_server import serve

    return serve(args, terminal)


def _principles(args: argparse.Namespace, terminal: Terminal) -> int:
    from tui.cli.principles import principles

    return principles(args, terminal)


def _train(args: argparse.Namespace, terminal: Terminal) -> int:
    from tui.cli.train import train

    return train(args, terminal)


def _evaluate(args: argparse.Namespace, terminal: Terminal) -> int:
    from tui.cli.evaluate import evaluate

    return evaluate(args, terminal)


def _preregister(args: argparse.Namespace, terminal: Terminal) -> int:
    from tui.cli.evaluate import preregister

    return preregister(args, terminal)


def _replay(args: argparse.Namespace, terminal: Terminal) -> int:
    from tui.cli.evaluate import replay

    return replay(args, terminal)


def _report(args: argparse.Namespace, terminal: Terminal) -> int:
    from tui.cli.report import report_run

    return report_run(args, terminal)


def _compare(args: argparse.Namespace, terminal: Terminal) -> int:
    from tui.cli.report import compare_runs

    return compare_runs(args, terminal)


def _plan(args: argparse.Namespace, terminal: Terminal) -> int:
    from tui.cli.plan import plan

    return plan(args, terminal)


def _budget(args: argparse.Namespace, terminal: Terminal) -> int:
    from tui.cli.plan import budget

    return budget(args, terminal)


def _refresh(args: argparse.Namespace, terminal: Terminal) -> int:
    from tui.cli.train import refresh

    return refresh(args, terminal)


def _merge(args: argparse.Namespace, terminal: Terminal) -> int:
    from tui.cli.train import merge

    return merge(args, terminal)


def _ablate(args: argparse.Namespace, terminal: Terminal) -> int:
    from tui.cli.principles import ablate

    return ablate(args, terminal)


def _add_run(own: argparse.ArgumentParser) -> None:
    own.add_argument("run", nargs="?", metavar="RUN", help="id, or the beginning of it (default: the latest)")


def _add_budget(own: argparse.ArgumentParser) -> None:
    own.add_argument(
        "--budget", type=_dollars, metavar="USD", help="raise what all runs of the store may cost, with a --reason"
    )
    own.add_argument("--reason", metavar="TEXT", help="why; it is kept with the decision")


def _add_set(own: argparse.ArgumentParser) -> None:
    own.add_argument("--set", action="append", type=_setting, metavar="KEY=VALUE", help="change a setting of the spec")


def _add_running(own: argparse.ArgumentParser) -> None:
    own.add_argument("--until", choices=PHASES, metavar="PHASE", help=f"stop after this phase: {', '.join(PHASES)}")
    own.add_argument("--batch-size", type=_positive, metavar="N", help="rows on the device at once (changes no result)")
    own.add_argument("--headless", action="store_true", help="print progress instead of opening the control center")


def _setting(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key.strip(), value


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above zero")
    return int(text)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share above 0 and at most 1")
    return value


def _dollars(text: str) -> float:
    try:
        value = float(text.removeprefix("$"))
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount of dollars")
    return value


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value


if __name__ == "__main__":
    sys.exit(main())
