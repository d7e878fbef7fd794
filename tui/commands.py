"""What each command of `cai` does. Each returns its exit code; libraries are imported where they are needed."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tui.terminal import Terminal, log_path

if TYPE_CHECKING:
    from engine import RunOptions
    from store import Reader
    from tui.config import Config

SAMPLES_SHOWN = 50
EXPORTS = ("sft", "samples", "judgements", "pairs", "revisions")
NO_TMUX = "--no-tmux"


class UsageError(Exception):
    """The command line cannot be understood."""

    exit_code = 2

    def __init__(self, title: str, hint: str) -> None:
        super().__init__(title)
        self.title, self.hint = title, hint


class ScreenFailed(UsageError):
    """The control center ended with an error that is in the log."""

    exit_code = 1


def configure(args: argparse.Namespace, terminal: Terminal) -> None:
    """Read the configuration into `args.config`; what is wrong with it is said on stderr, or on the screen to come."""
    from tui.config import load

    args.config = load({name: getattr(args, name, None) for name in ("store", "model")})
    if args.config.problems and args.action is not config and not _opens_screen(args, terminal):
        from tui.text import one_line

        terminal.stderr.write("".join(f"config: {one_line(text, 400)}\n" for text in args.config.problems))
        terminal.stderr.flush()


def _opens_screen(args: argparse.Namespace, terminal: Terminal) -> bool:
    if args.action is start:
        return True
    return args.action is run and terminal.interactive and not (args.headless or args.json)


def store_path(args: argparse.Namespace) -> Path:
    """--store, else $CAI_STORE, else the configured one, else cai.duckdb in this folder."""
    found = getattr(args, "config", None)
    named = found.store if found is not None else getattr(args, "store", None) or os.environ.get("CAI_STORE")
    return Path(named or "cai.duckdb").expanduser().absolute()


def write_json(terminal: Terminal, value: Mapping[str, Any]) -> None:
    """One JSON object on stdout. ASCII only, so that no text of a model can reach the terminal as a control code."""
    terminal.stdout.write(json.dumps(value, allow_nan=False) + "\n")
    terminal.stdout.flush()


# -- runs -------------------------------------------------------------------------------------------------------------


def start(args: argparse.Namespace, terminal: Terminal) -> int:
    """`cai` alone: the control center on the store as it is."""
    if reason := terminal.no_screen:
        raise UsageError(reason, "without one use: cai run --headless, or cai --help")
    store = store_path(args)
    if not ready_for_a_screen(args, store, terminal):
        return 0
    with_log(terminal, store, "cai")
    control_center(args.config, terminal, store, None, new=False)
    return 0


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    """`cai run` and `cai resume`."""
    store = store_path(args)
    resume = getattr(args, "run", None) if args.command == "resume" else None
    if args.command == "resume":
        resume = resume or ""
        require_store(store)
        if args.budget is not None:
            from tui.plan_commands import raise_budget

            raise_budget(args)

    def options() -> RunOptions:
        from engine import RunOptions

        return RunOptions(
            store=store,
            spec=getattr(args, "spec", None),
            model=None if resume is not None else args.config.model or None,
            seed=getattr(args, "seed", None),
            pilot=getattr(args, "pilot", None),
            target=getattr(args, "target", None),
            until=args.until,
            batch_size=args.batch_size,
            overrides=dict(getattr(args, "set", None) or ()),
            resume=resume,
        )

    return carry_out(args, terminal, store, options, new=getattr(args, "new", False))


def carry_out(
    args: argparse.Namespace, terminal: Terminal, store: Path, options: Callable[[], RunOptions], *, new: bool = False
) -> int:
    """Have an engine do what `options` ask for: in the control center where there is a screen, else headless."""
    headless = args.headless or args.json or not terminal.interactive
    if not headless and not ready_for_a_screen(args, store, terminal):
        return 0
    with_log(terminal, store, f"cai {args.command}")
    if not headless:
        return control_center(args.config, terminal, store, options(), new=new)
    from tui.again import opener
    from tui.headless import run_headless

    code, status = run_headless(opener(new=new, config=args.config), options(), terminal, as_json=args.json)
    if args.json:
        write_json(terminal, {**status, "exit_code": code})
    return code


def ready_for_a_screen(args: argparse.Namespace, store: Path, terminal: Terminal) -> bool:
    """Ask in plain text what must be settled before a screen opens; False where the person leaves it at that."""
    from tui import busy, tmux
    from tui.config_file import ConfigNotSaved, save

    def remember(answer: str) -> None:
        try:
            save(args.config.path, "offer_tmux", answer)
        except ConfigNotSaved as error:
            terminal.stderr.write(f"This is not remembered: {error.title}. {error.hint}\n")

    if not args.no_tmux:
        tmux.offer(store, args.argv, args.config.offer_tmux, terminal, remember)
    return busy.clear_the_way(store, terminal)


def control_center(config: Config, terminal: Terminal, store: Path, options: RunOptions | None, *, new: bool) -> int:
    from tui import leaving, priority
    from tui.again import opener
    from tui.app import ControlCenter
    from tui.hangup import Watch, go_on

    watch = Watch(terminal)
    open_engine = watch.listening(opener(new=new, config=config, present=True))
    app = ControlCenter(store, options, open_engine, log_path(store))
    app.apply_config(config)
    # Textual keeps what Python code prints to itself while it draws (app.py, redirect_stdout): it belongs in the log.
    app._capture_stdout = sys.stdout
    app._capture_stderr = sys.stderr

    def stop(*_: object) -> None:
        watch.stop.set()
        if not watch.happened.is_set():
            app.call_later(app.leave_now)

    signal.signal(signal.SIGTERM, stop)
    watch.begin(app.give_up_screen)
    state = app.run()
    priority.unsettle()
    if watch.end():
        state = go_on(app.session, app.bridge, app.state, watch)
    elif app.return_code:
        raise ScreenFailed(
            "the control center ended with an error",
            f"What was committed to {store} is safe. The traceback is in {log_path(store)}",
        )
    leaving.say(terminal, leaving.farewell(app.state, leaving.again(config, store), at_once=app.abandoned))
    from tui.headless import EXIT_CODES

    left_open = {"running": 130, "paused": 130, "loading": 130, "stopping": 130, "pausing": 130, "interrupted": 130}
    code = EXIT_CODES.get(state or "", left_open.get(state or "", 0))
    if app.abandoned:
        leaving.at_once(app.session.engine, app.state, code)
    return code


def with_log(terminal: Terminal, store: Path, what: str) -> None:
    log = log_path(store)
    try:
        terminal.take_over(log, what)
    except OSError as error:
        from store.errors import StoreError

        raise StoreError(
            f"the log {log} cannot be written: {error.strerror or error}",
            "It lies beside the store. Choose a store in a folder that can be written, with --store; "
            "nothing was started and nothing was changed.",
        ) from error


# -- what the store holds ---------------------------------------------------------------------------------------------


def runs(args: argparse.Namespace, terminal: Terminal) -> int:
    with reading(args) as reader:
        found = reader.runs()
    if args.json:
        from store.progress import json_ready

        heavy = ("settings", "manifest")
        listed = [{"run" if k == "run_id" else k: v for k, v in row.items() if k not in heavy} for row in found]
        write_json(terminal, {"runs": json_ready(listed)})
        return 0
    from tui.report import console_on, runs_table

    console = console_on(terminal.stdout)
    console.print(runs_table(found) if found else "no runs yet; begin one with: cai run")
    return flushed(terminal)


def status(args: argparse.Namespace, terminal: Terminal) -> int:
    with reading(args) as reader:
        run_id = chosen_run(reader, args.run)
        found, checks = reader.status(run_id), reader.gates(run_id)
        from tui.query_training import training_accounts

        found["trainings"] = training_accounts(reader, run_id)
    if args.json:
        write_json(terminal, found)
        return 0
    from tui.report import console_on, status_report

    console_on(terminal.stdout).print(status_report(found, checks))
    return flushed(terminal)


def samples(args: argparse.Namespace, terminal: Terminal) -> int:
    with reading(args) as reader:
        run_id = chosen_run(reader, args.run)
        found = reader.samples(run_id, verdict=args.verdict, limit=args.limit + 1)
    more = len(found) > args.limit
    found = found[: args.limit]
    if args.json:
        from store.progress import json_ready

        write_json(terminal, {"run": run_id, "verdict": args.verdict, "samples": json_ready(found), "more": more})
        return 0
    from tui.report import console_on, samples_report

    console = console_on(terminal.stdout)
    console.print(samples_report(found))
    which = f" {args.verdict}" if args.verdict else ""
    console.print(f"{len(found):,} of >{len(found):,}{which} samples (--limit)" if more else f"{len(found):,} samples")
    return flushed(terminal)


def recheck(args: argparse.Namespace, terminal: Terminal) -> int:
    """Acceptance and gate again from stored rows. Exit code 4 where the gate would fail."""
    from engine import recheck as recheck_run

    with reading(args) as reader:
        run_id = chosen_run(reader, args.run)
        result = recheck_run(reader, run_id, dict(args.set or ()))
    code = 0 if result["after"]["passed"] else 4
    if args.json:
        from store.progress import json_ready

        write_json(terminal, {**json_ready(result), "exit_code": code})
        return code
    from tui.report import console_on, recheck_report

    console_on(terminal.stdout).print(recheck_report(result))
    terminal.stdout.flush()
    return code


def export(args: argparse.Namespace, terminal: Terminal) -> int:
    store = store_path(args)
    require_store(store)
    with_log(terminal, store, "cai export")  # the format hf imports a library that may print
    with reading(args) as reader:
        from store import export as export_run

        run_id = chosen_run(reader, args.run)
        paths = [str(path) for path in export_run(reader, run_id, args.what, args.format, Path(args.out))]
    if args.json:
        found = {"run": run_id, "what": args.what, "format": args.format, "out": str(Path(args.out).absolute())}
        write_json(terminal, {**found, "files": paths})
        return 0
    terminal.stdout.write("".join(f"{path}\n" for path in paths))
    return flushed(terminal)


def doctor(args: argparse.Namespace, terminal: Terminal) -> int:
    """Exit code 1 where something failed or hung; what is absent is no error."""
    from engine.doctor import examine

    report = examine(store_path(args), time_limit_s=args.time_limit)
    code = 0 if report["healthy"] else 1
    if args.json:
        write_json(terminal, {**report, "exit_code": code})
        return code
    from tui.report import console_on, doctor_table

    console_on(terminal.stdout).print(doctor_table(report))
    terminal.stdout.flush()
    return code


def config(args: argparse.Namespace, terminal: Terminal) -> int:
    """The file, and each setting in force with where it comes from. Exit code 1 where something is wrong with it."""
    from tui.config import SETTINGS, shown
    from tui.themes import unknown_theme

    found: Config = args.config
    problems = [*found.problems, *filter(None, [unknown_theme(found.theme)])]
    if found.keymap:
        from tui import keymap

        problems += keymap.complete(found.keymap, keymap.places())[1]
    code = 1 if problems else 0
    if args.json:
        told = {item.name: {"value": found.value(item.name), "from": found.origin(item.name)} for item in SETTINGS}
        answer = {"path": str(found.path), "exists": found.path.exists(), "settings": told}
        write_json(terminal, {**answer, "keymap": dict(found.keymap), "problems": problems, "exit_code": code})
        return code
    from tui.text import one_line

    there = "" if found.path.exists() else "  (not there: the defaults hold)"
    rows = [f"{found.path}{there}", ""]
    for item in SETTINGS:
        origin = found.origin(item.name)
        where = {"environment": f"${item.environment}", "command line": item.option}.get(origin, origin)
        rows.append(f"{item.name:<20} {one_line(shown(found.value(item.name)), 60):<28} {where}")
    rows += [f"keymap {name:<20} {one_line(keys, 60)}" for name, keys in found.keymap.items()]
    terminal.stdout.write("".join(f"{row}\n" for row in rows))
    terminal.stderr.write("".join(f"config: {one_line(text, 400)}\n" for text in problems))
    terminal.stderr.flush()
    flushed(terminal)
    return code


@contextmanager
def reading(args: argparse.Namespace) -> Iterator[Reader]:
    path = store_path(args)
    require_store(path)
    from store import Store

    with Store.open(path, read_only=True) as store, store.reader() as reader:
        yield reader


def require_store(path: Path) -> None:
    if not path.exists():
        from store.errors import NotFound

        raise NotFound(
            f"there is no store at {path}",
            "Begin a run with: cai run, or name a store with --store or $CAI_STORE",
        )


def chosen_run(reader: Reader, asked: str | None) -> str:
    run_id = reader.resolve(asked) if asked else reader.latest_run_id()
    if run_id is None:
        from store.errors import NotFound

        raise NotFound(f"there is no run in {reader.path} yet", "Begin one with: cai run")
    return run_id


def flushed(terminal: Terminal) -> int:
    terminal.stdout.flush()
    return 0
