"""`cai completion`: what a shell needs to complete commands, options, runs, specs and settings."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from store.errors import CaiError
from tui.cli.frame import reading, write
from tui.cli.parsing import Commands
from tui.host.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

SHELLS = ("bash", "zsh", "fish")
LISTS = ("runs", "specs", "settings")
RUNS_AT_MOST = 200
_HOW = (
    'in the file that your shell reads at its start: eval "$(cai completion zsh)"; fish: cai completion fish | source'
)
_LISTED = "cai completion --list {} 2>/dev/null"
# What an argument takes, by its name in the parsed arguments; whatever has choices is completed by them.
_TAKES = {
    "run": "runs",
    "runs": "runs",
    "spec": "specs",
    "set": "settings",
    "store": "file",
    "damaged": "file",
    "out": "directory",
}


def add(commands: Commands) -> None:
    about = "print what makes a shell complete cai: bash, zsh or fish"
    own = commands.add("completion", completion, about, with_json=False)
    own.add_argument("shell", nargs="?", choices=SHELLS, help=_HOW)
    own.add_argument("--list", choices=LISTS, help="print the names that can be completed, one a line")
    own.set_defaults(commands=commands)


def completion(args: argparse.Namespace, terminal: Terminal) -> int:
    """`cai completion SHELL`; with --list the names themselves, which that script asks for. Never an error then."""
    from engine.core.errors import UsageError

    if args.list:
        return write(terminal, "".join(f"{name}\n" for name in _names(args)))
    if args.shell is None:
        raise UsageError(f"which shell? one of {', '.join(SHELLS)}", _HOW)
    return write(terminal, script(args.commands.above, args.shell))


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The shell's script for a whole command line."""
    import shtab

    for action in _actions(parser):
        takes = _TAKES.get(action.dest)
        if takes in LISTS:
            action.complete = _asked(shtab.cmd(_LISTED.format(takes)), takes)  # type: ignore[attr-defined]
        elif takes is not None:
            action.complete = shtab.FILE if takes == "file" else shtab.DIRECTORY  # type: ignore[attr-defined]
    return f"{shtab.complete(parser, shell)}\n"


def _asked(known: dict[str, Any], what: str) -> dict[str, Any]:
    """The names, asked for when they are to be completed; in zsh by a function: what shtab has asks at its start."""
    name = f"_cai_{what}"
    behind = "-S '' " if what == "settings" else ""  # the value follows at once
    function = f'{name}() {{ local -a names; names=(${{(f)"$({_LISTED.format(what)})"}}); compadd {behind}-a names }}'
    return {**known, "zsh": name, "preamble": {**known["preamble"], "zsh": function}}


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Every argument of a parser and of the commands below it."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _actions(below)


def _names(args: argparse.Namespace) -> list[str]:
    if args.list == "runs":
        try:
            with reading(args) as reader:
                return [str(run["run_id"]) for run in reader.runs()[:RUNS_AT_MOST]]
        except CaiError:  # no store, or one that nobody can read now: there is nothing to complete
            return []
    from engine.spec.stage import available, keys

    return available() if args.list == "specs" else [f"{key}=" for key in keys()]
