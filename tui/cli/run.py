"""`cai`, `cai run` and `cai resume`: in the control center or headless."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from engine.core.errors import UsageError
from store.errors import CaiError
from store.names import PHASES
from tui.cli.frame import raise_budget, require_store, store_path, with_log, write_json
from tui.cli.machine import config
from tui.cli.parsing import Commands, add_batch_size, add_budget, add_headless, add_run, add_set, positive, seed
from tui.host.outside import Outside
from tui.host.terminal import Terminal, log_path
from tui.words.text import one_line

if TYPE_CHECKING:
    from engine.run.orders import Order
    from tui.config.settings import Config


def add(commands: Commands) -> None:
    own = commands.add("run", run, "start a run, or go on with an unfinished one of the same settings")
    own.add_argument("spec", nargs="?", metavar="SPEC", help="name in specs/ or path (default: by the model)")
    about = "base model: a name, a folder, or servers (http://host:8000/v1[#name],...; "
    own.add_argument("--model", metavar="NAME_OR_PATH", help=f"{about}default: the configured or embedded one)")
    size = own.add_mutually_exclusive_group()
    size.add_argument("--pilot", type=positive, metavar="N", help="stop after a pilot of N accepted examples")
    size.add_argument("--target", type=positive, metavar="N", help="go on to N accepted examples")
    own.add_argument("--seed", type=seed, metavar="N", help="seed of the run (default: the spec's)")
    add_set(own)
    own.add_argument("--new", action="store_true", help="begin another run even if the same one is there already")
    _add_running(own)

    resume = commands.add("resume", run, "go on with a run where it was left")
    add_run(resume)
    add_budget(resume)
    _add_running(resume)


def _add_running(own: argparse.ArgumentParser) -> None:
    own.add_argument("--until", choices=PHASES, metavar="PHASE", help=f"stop after this phase: {', '.join(PHASES)}")
    about = "ask the model on ray, ray://host:port, or write requests into FILE.jsonl (default: $CAI_ON, or here)"
    own.add_argument("--on", metavar="WHERE", help=about)
    add_batch_size(own, "rows on the device at once (changes no result)")
    add_headless(own)


class ScreenFailed(CaiError):
    """The control center ended with an error that is in the log."""


def configure(args: argparse.Namespace, terminal: Terminal) -> None:
    """Read the configuration into `args.config`; what is wrong with it is said on stderr, or on the screen to come."""
    from tui.config.settings import load

    args.config = load({name: getattr(args, name, None) for name in ("store", "model")})
    if args.config.problems and args.action is not config and not _opens_screen(args, terminal):
        for text in args.config.problems:
            terminal.stderr.say(f"config: {one_line(text, 400)}")


def _opens_screen(args: argparse.Namespace, terminal: Terminal) -> bool:
    if args.action is start:
        return True
    return args.action is run and terminal.interactive and not (args.headless or args.json)


def start(args: argparse.Namespace, terminal: Terminal) -> int:
    """`cai` alone: the control center on the store as it is, attached to the process that has it, if one has."""
    if reason := terminal.no_screen:
        raise UsageError(reason, "without one use: cai run --headless, or cai --help")
    store = store_path(args)
    offer_tmux(args, store, terminal)
    with_log(terminal, store, "cai")
    control_center(args.config, terminal, store, None)
    return 0


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    """`cai run` and `cai resume`."""
    from engine.models.where import ON, where
    from engine.run.orders import NewRun, Resume  # help and usage load nothing of the engine

    if args.on is not None:
        os.environ[ON] = args.on  # for all that this process does
    where()
    store = store_path(args)
    if args.command == "resume":
        require_store(store)
        if args.budget is not None:
            raise_budget(args)
        return carry_out(args, terminal, Resume(store, args.run or "", args.until, batch_size=args.batch_size))
    asked = {name: getattr(args, name) for name in ("spec", "seed", "pilot", "target", "until", "batch_size")}
    changed = dict(args.set or ())
    order = NewRun(store, model=args.config.model or None, overrides=changed, another=args.new, **asked)
    return carry_out(args, terminal, order)


def carry_out(args: argparse.Namespace, terminal: Terminal, order: Order) -> int:
    """Have an engine do what is ordered: in the control center where there is a screen, else headless."""
    store = order.store
    headless = args.headless or args.json or not terminal.interactive
    if not headless and not ready_for_a_screen(args, store, terminal):
        return 0
    with_log(terminal, store, f"cai {args.command}")
    if not headless:
        return control_center(args.config, terminal, store, order)
    from tui.live.opener import opener
    from tui.printed.headless import run_headless

    code, status = run_headless(
        opener(args.config), order, terminal, as_json=args.json, outside=Outside.of(args.config)
    )
    if args.json:
        write_json(terminal, {**status, "exit_code": code})
    return code


def ready_for_a_screen(args: argparse.Namespace, store: Path, terminal: Terminal) -> bool:
    """Ask in plain text what must be settled before a screen writes; False where the person leaves it at that."""
    from tui.host import busy

    offer_tmux(args, store, terminal)
    return busy.clear_the_way(store, terminal)


def offer_tmux(args: argparse.Namespace, store: Path, terminal: Terminal) -> None:
    """Over SSH, ask in plain text whether to move into tmux."""
    from tui.config.file import ConfigNotSaved, save
    from tui.host import tmux

    def remember(answer: str) -> None:
        try:
            save(args.config.path, "offer_tmux", answer)
        except ConfigNotSaved as error:
            terminal.stderr.say(f"This is not remembered: {error.title}. {error.hint}")

    if not args.no_tmux:
        tmux.offer(store, args.argv, args.config.offer_tmux, terminal, remember)


def control_center(config: Config, terminal: Terminal, store: Path, order: Order | None) -> int:
    from tui.app.app import ControlCenter
    from tui.host import priority
    from tui.host.hangup import Watch
    from tui.live.opener import opener
    from tui.printed import leaving
    from tui.printed.unattended import go_on

    watch = Watch(terminal)
    open_engine = watch.listening(opener(config, present=True))
    app = ControlCenter(store, order, open_engine, log_path(store))
    app.apply_config(config)
    # Textual keeps what Python code prints to itself while it draws (app.py, redirect_stdout): it belongs in the log.
    # Its own type for the two is its capture, though any stream does.
    app._capture_stdout = sys.stdout  # type: ignore[assignment]
    app._capture_stderr = sys.stderr  # type: ignore[assignment]

    def stop(*_: object) -> None:
        watch.stop.set()
        if not watch.happened.is_set():
            app.call_later(app.leave_now)

    for number in (signal.SIGTERM, signal.SIGINT):  # Ctrl+C is a key here; the signal comes from elsewhere
        signal.signal(number, stop)
    watch.begin(app.give_up_screen)
    state = app.run()
    priority.unsettle()
    if watch.end():
        state = go_on(app.session, app.bridge, app.state, watch, Outside.of(app.config))
    elif app.return_code:
        raise ScreenFailed(
            "the control center ended with an error",
            f"What was committed to {store} is safe. The traceback is in {log_path(store)}",
        )
    if app.state.owner:
        terminal.stdout.say(leaving.goes_on(app.state, leaving.again(config, store)))
        return 0
    if farewell := leaving.farewell(app.state, leaving.again(config, store), at_once=app.abandoned):
        terminal.stdout.say(farewell)
    from tui.printed.headless import EXIT_CODES

    left_open = ("running", "paused", "loading", "stopping", "pausing", "interrupted")
    not_begun = order is not None and not app.state.run_id
    code = EXIT_CODES.get(state or "", 130 if not_begun or state in left_open else 0)
    if app.abandoned:
        leaving.at_once(app.session.engine, app.state, code)
    return code
