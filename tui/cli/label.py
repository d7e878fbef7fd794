"""`cai label`: a person's labels, where they teach most or to be read blind, and the probe fitted on them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from engine.core.errors import UsageError
from store.headline import plain_readings, read_words, readings_of
from store.names import LABELS, READING
from store.text import json_ready
from tui import printed
from tui.cli.frame import answer, chosen_run, reading, run_of, store_path, with_log, write, write_json
from tui.cli.parsing import Commands, positive, reader_name
from tui.host.outside import Outside
from tui.host.terminal import Terminal
from tui.words.audits import agreement_words
from tui.words.wording import labelling

if TYPE_CHECKING:
    from engine.quality.queue import LabelStanding
    from store.read import Reader

AHEAD = 100  # places of the queue that are shown at most: a sample behind them was chosen by who labels it


def add(commands: Commands) -> None:
    own = commands.add("label", label, "label samples good or bad, those first that teach a run's probe most")
    own.add_argument("sample", nargs="?", metavar="ID", help="a sample; without one the next of the queue are shown")
    own.add_argument("label", nargs="?", choices=LABELS, help="what it is")
    own.add_argument("--run", metavar="RUN", help="id, or the beginning of it (default: the latest)")
    own.add_argument(
        "--reader", type=reader_name, metavar="NAME",
        help="who labels (default: the configured name, else the login); each reader's labels are kept",
    )  # fmt: skip
    own.add_argument("--note", metavar="TEXT", help="why; it is kept with the label")
    own.add_argument(
        "--read", action="store_true",
        help="of what was drawn at random to be read blind, accepted and rejected mixed, instead of the queue",
    )  # fmt: skip
    which = own.add_mutually_exclusive_group()
    which.add_argument("--next", type=positive, metavar="N", help=f"show so many of the queue (10; at most {AHEAD})")
    which.add_argument("--undo", metavar="ID", help="take the label of a sample away")
    which.add_argument("--refit", action="store_true", help="fit the probe on all labels, decide anew, with a --reason")
    own.add_argument("--reason", metavar="TEXT", help="why; it is kept with the decision")


def label(args: argparse.Namespace, terminal: Terminal) -> int:
    """The queue is shown blind: no verdicts, no scores, nor which of its places were drawn at random."""
    beside = args.undo is not None or args.refit or args.next is not None
    if (args.sample is not None) != (args.label is not None) or (args.sample is not None and beside):
        raise UsageError(
            "a label is given as ID good|bad|unsure, by itself", "see: cai label --help. Nothing was changed."
        )
    if args.read and (args.refit or args.undo is not None):
        raise UsageError("--read goes with a label or --next", "see: cai label --help. Nothing was changed.")
    if args.refit:
        return _refit(args, terminal)
    if args.undo is not None:
        return _undo(args, terminal)
    return _show(args, terminal) if args.sample is None else _keep(args, terminal)


def _show(args: argparse.Namespace, terminal: Terminal) -> int:
    from engine.quality.queue import places
    from engine.quality.readings import between, how_far, to_read

    with reading(args) as reader:
        run_id = chosen_run(reader, args.run)
        lots = to_read(reader, run_id, _by(args))
        waiting = [lot.sample_id for lot in lots if lot.label is None]
        agreed = between(reader, run_id)
        names = waiting if args.read else [place.sample_id for place in places(reader, run_id)]
        found = [_blind(reader.sample(run_id, name)) for name in names[: min(args.next or 10, AHEAD)]]
        told, read = _standing(reader, run_id), readings_of(reader, [run_id])[run_id]
    whole = {"run": run_id, "reader": _by(args), **asdict(told), "readings": plain_readings(read)}
    whole |= {"agreement": asdict(agreed), "next": json_ready(found)}
    head = f"{how_far(lots)} by {_by(args)} · {read_words(read)[0]}" if args.read else labelling(told)
    if args.read and agreed.n:
        head += f" · {agreement_words(asdict(agreed))}"
    keep = "cai label --read ID good|bad" if args.read else "cai label ID good|bad|unsure"
    return answer(args, terminal, whole, lambda: printed.tables.queue_report(found, head, keep))


def _keep(args: argparse.Namespace, terminal: Terminal) -> int:
    from engine.quality.labels import mark
    from engine.quality.queue import drawn_of, places
    from engine.quality.readings import to_read
    from store.db import Store
    from store.errors import NotFound

    run_id = run_of(args)
    with Store.open(store_path(args)) as store, store.reader() as reader:
        name = str(reader.sample(run_id, args.sample)["sample_id"])
        drawn = drawn_of(places(reader, run_id)[:AHEAD], name)
        if args.read:
            if all(lot.sample_id != name for lot in to_read(reader, run_id, _by(args))):
                raise NotFound(f"sample {name} was not drawn to be read", "Nothing was changed. See: cai label --read")
            drawn = READING
        mark(store, run_id, name, args.label, args.note, drawn, by=_by(args))
        return _told(args, terminal, reader, run_id, name, args.label)


def _undo(args: argparse.Namespace, terminal: Terminal) -> int:
    from engine.quality.labels import put_back, stored_label
    from store.db import Store
    from store.errors import NotFound

    run_id = run_of(args)
    with Store.open(store_path(args)) as store, store.reader() as reader:
        name = str(reader.sample(run_id, args.undo)["sample_id"])
        if stored_label(reader, run_id, name, _by(args)) is None:
            raise NotFound(f"sample {name} has no label of {_by(args)}", "Nothing was changed.")
        put_back(store, run_id, name, None, _by(args))
        return _told(args, terminal, reader, run_id, name, None)


def _refit(args: argparse.Namespace, terminal: Terminal) -> int:
    """Exit codes as of a run; the status has the outcome."""
    from engine.run.orders import Refit
    from tui.live.opener import opener
    from tui.printed.headless import run_headless

    if not (args.reason or "").strip():
        raise UsageError("a refit needs a --reason", "It is stored with the decision. Nothing was changed.")
    run_id = run_of(args)
    with_log(terminal, store_path(args), "cai label --refit")
    order = Refit(store_path(args), run_id, args.reason)
    code, status = run_headless(
        opener(args.config), order, terminal, as_json=args.json, outside=Outside.of(args.config)
    )
    return write_json(terminal, {**status, "exit_code": code}, code) if args.json else code


def _told(
    args: argparse.Namespace, terminal: Terminal, reader: Reader, run_id: str, name: str, given: str | None
) -> int:
    told, read = _standing(reader, run_id), readings_of(reader, [run_id])[run_id]
    if args.json:
        kept = {"run": run_id, "sample": name, "reader": _by(args), "label": given, **asdict(told)}
        kept["readings"] = plain_readings(read)
        return write_json(terminal, kept)
    far = read_words(read)[0] if args.read else labelling(told)
    return write(terminal, f"{name}: {given or 'its label is taken away'} · {far}\n")


def _by(args: argparse.Namespace) -> str:
    return str(args.reader or args.config.reads_as)


def _standing(reader: Reader, run_id: str) -> LabelStanding:
    from engine.quality.queue import standing

    return standing(reader, run_id)


def _blind(sample: dict[str, Any], names: Sequence[str] = ("sample_id", "instruction", "response")) -> dict[str, Any]:
    return {name: sample[name] for name in names}
