"""`cai config` and `cai doctor`: what is set, and what this machine has."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tui import printed
from tui.cli.frame import answer, store_path, with_log, write_json
from tui.cli.parsing import Commands, seconds
from tui.host.terminal import Terminal
from tui.words.text import one_line

if TYPE_CHECKING:
    from tui.config.settings import Config


def add(commands: Commands) -> None:
    commands.add("config", config, "show the configuration file and what is in force, and from where")
    own = commands.add("doctor", doctor, "check GPU, memory, disk, write access and every library, or one model")
    own.add_argument("--model", metavar="NAME_OR_PATH", help="load this model and check its scores and its tokenizer")
    own.add_argument("--time-limit", type=seconds, default=60.0, metavar="S", help="limit for a library (60)")


def doctor(args: argparse.Namespace, terminal: Terminal) -> int:
    """Exit code 1 where something failed or hung; what is absent is no error."""
    from engine.doctor.machine import examine

    if args.model:
        from engine.doctor.model import examine_model

        with_log(terminal, store_path(args), "cai doctor")  # what the model's libraries say
        report = examine_model(args.model)
    else:
        report = examine(store_path(args), time_limit_s=args.time_limit)
    code = 0 if report["healthy"] else 1
    return answer(args, terminal, {**report, "exit_code": code}, lambda: printed.tables.doctor_table(report), code)


def config(args: argparse.Namespace, terminal: Terminal) -> int:
    """The file, and each setting in force with where it comes from. Exit code 1 where something is wrong with it."""
    from tui.app.themes import unknown_theme
    from tui.config.settings import SETTINGS, shown

    found: Config = args.config
    problems = [*found.problems, *filter(None, [unknown_theme(found.theme)])]
    if found.keymap:
        from tui.app import keymap

        problems += keymap.complete(found.keymap, keymap.places())[1]
    code = 1 if problems else 0
    if args.json:
        told = {item.name: {"value": found.value(item.name), "from": found.origin(item.name)} for item in SETTINGS}
        told_all = {"path": str(found.path), "exists": found.path.exists(), "settings": told}
        told_all |= {"keymap": dict(found.keymap), "problems": problems, "exit_code": code}
        return write_json(terminal, told_all, code)

    there = "" if found.path.exists() else "  (not there: the defaults hold)"
    rows = [f"{found.path}{there}", ""]
    for item in SETTINGS:
        origin = found.origin(item.name)
        where = {"environment": f"${item.environment}", "command line": item.option}.get(origin, origin)
        rows.append(f"{item.name:<20} {one_line(shown(found.value(item.name)), 60):<28} {where}")
    rows += [f"keymap {name:<20} {one_line(keys, 60)}" for name, keys in found.keymap.items()]
    terminal.stdout.say("\n".join(rows))
    for text in problems:
        terminal.stderr.say(f"config: {one_line(text, 400)}")
    return code
