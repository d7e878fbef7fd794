"""What every command needs: the store, a run in it, JSON or a table as its answer."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.errors import NotFound, StoreError
from tui import printed
from tui.host.terminal import Terminal, log_path

if TYPE_CHECKING:
    from rich.console import RenderableType

    from store.read import Reader


def store_path(args: argparse.Namespace) -> Path:
    """--store, else $CAI_STORE, else the configured one, else cai.duckdb in this folder."""
    found = getattr(args, "config", None)
    named = found.store if found is not None else getattr(args, "store", None) or os.environ.get("CAI_STORE")
    return Path(named or "cai.duckdb").expanduser().absolute()


def write_json(terminal: Terminal, value: Mapping[str, Any], code: int = 0) -> int:
    """One JSON object on stdout. ASCII only, so that no text of a model can reach the terminal as a control code."""
    return write(terminal, json.dumps(value, allow_nan=False) + "\n", code)


def write(terminal: Terminal, text: str, code: int = 0) -> int:
    terminal.stdout.write(text)
    terminal.stdout.flush()
    return code


def show(terminal: Terminal, told: RenderableType, code: int = 0) -> int:
    """A table or a text on stdout, for a person."""
    printed.tables.console_on(terminal.stdout).print(told)
    terminal.stdout.flush()
    return code


def answer(
    args: argparse.Namespace,
    terminal: Terminal,
    found: Mapping[str, Any],
    told: Callable[[], RenderableType],
    code: int = 0,
) -> int:
    """What was found, as JSON where that is asked for, else as `told` puts it for a person."""
    return write_json(terminal, found, code) if args.json else show(terminal, told(), code)


def with_log(terminal: Terminal, store: Path, what: str) -> None:
    log = log_path(store)
    try:
        terminal.take_over(log, what)
    except OSError as error:
        raise StoreError(
            f"the log {log} cannot be written: {error.strerror or error}",
            "It lies beside the store. Choose a store in a folder that can be written, with --store; "
            "nothing was started and nothing was changed.",
        ) from error


@contextmanager
def reading(args: argparse.Namespace) -> Iterator[Reader]:
    """A reader of the store, also while another process works on it."""
    path = store_path(args)
    require_store(path)
    from store import db

    with db.reading(path) as store, store.reader() as reader:
        yield reader


def require_store(path: Path) -> None:
    if not path.exists():
        hint = "Begin a run with: cai run, or name a store with --store or $CAI_STORE"
        raise NotFound(f"there is no store at {path}", hint)


def chosen_run(reader: Reader, asked: str | None) -> str:
    run_id = reader.resolve(asked) if asked else reader.latest_run_id()
    if run_id is None:
        raise NotFound(f"there is no run in {reader.path} yet", "Begin one with: cai run")
    return run_id


def run_of(args: argparse.Namespace) -> str:
    """The id of the run that is asked for. Raises NotFound where there is no store or no such run."""
    with reading(args) as reader:
        return chosen_run(reader, args.run)


def raise_budget(args: argparse.Namespace) -> None:
    """Raise the cap of the store to `args.budget` US dollars, as a person's decision with `args.reason`."""
    from engine.budget.ledger import raise_cap
    from store.db import Store

    run_id = run_of(args)
    with Store.open(store_path(args)) as store:
        raise_cap(store, run_id, args.budget, args.reason or "", "person")
