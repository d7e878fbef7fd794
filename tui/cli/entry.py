"""The command line `cai`: arguments in, exit code out. Nothing heavier than argparse is imported for --help.

Exit codes: 0 done, 1 error, 2 usage, 3 waiting for a decision, 4 a gate failed, 5 budget reached, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from store.errors import CaiError, StoreLocked
from tui import printed
from tui.cli import (
    calls,
    completion,
    evaluate,
    frame,
    label,
    look,
    machine,
    mcp,
    merge,
    plan,
    principles,
    report,
    review,
    run,
    train,
)
from tui.cli.parsing import Command, Commands, Parser
from tui.host.terminal import NO_TMUX, Terminal, log_path, part_head

NOUNS = (run, look, label, principles, train, evaluate, report, calls, merge, review, mcp, plan, machine, completion)

_DESCRIPTION = "Constitutional AI bootstrapping of a base model, steered and audited from one terminal."
_EPILOG = (
    "Without a command the control center opens. "
    "Exit codes: 0 done, 1 error, 2 usage, 3 waiting for a decision, 4 a gate failed, 5 budget reached, "
    "130 interrupted. The store is --store, else $CAI_STORE, else the configured one, else ./cai.duckdb; the log lies "
    "beside it."
)


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
        run.configure(args, terminal)
        action: Command = args.action
        return action(args, terminal)
    except SystemExit as leaving:  # --help and --version
        return leaving.code if isinstance(leaving.code, int) else 1
    except KeyboardInterrupt:
        return _fail(terminal, args, "interrupted", "What was committed is safe.", 130)
    except StoreLocked as error:
        from tui.host.busy import there

        return _fail(terminal, args, error.title, f"{error.hint} {there(args.command)}".strip(), error.exit_code)
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
    printed.tables.error_report(printed.tables.console_on(terminal.stderr), title, hint)
    return code


def _keep_traceback(args: argparse.Namespace, error: BaseException) -> Path:
    where = log_path(frame.store_path(args))
    text = part_head(where, f"cai {args.command or ''}") + "".join(traceback.format_exception(error))
    try:
        with where.open("a", encoding="utf-8", errors="replace") as log:
            log.write(text)
    except OSError:
        with tempfile.NamedTemporaryFile("w", prefix="cai-", suffix=".log", delete=False, encoding="utf-8") as own:
            own.write(text)
        where = Path(own.name)
    return where


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = Parser(prog="cai", description=_DESCRIPTION, epilog=_EPILOG, allow_abbrev=False)
    top.add_argument("--version", action=_ShowVersion, nargs=0, help="show the version and leave")
    top.add_argument("--store", metavar="PATH", help="the DuckDB file (default: $CAI_STORE or ./cai.duckdb)")
    top.add_argument(NO_TMUX, action="store_true", help="over SSH, do not offer to move into tmux")
    top.set_defaults(action=run.start, command="", json=False)
    commands = Commands(top)
    for noun in NOUNS:
        noun.add(commands)
    return top


if __name__ == "__main__":
    sys.exit(main())
