"""`cai replay`: a slice of a phase computed again."""

from __future__ import annotations

import argparse

from store.names import REPLAYED
from store.text import json_ready
from tui import printed
from tui.cli.frame import answer, run_of, store_path, with_log
from tui.cli.parsing import Commands, add_batch_size, add_run, share
from tui.host.terminal import Terminal


def add(commands: Commands) -> None:
    own = commands.add("replay", replay, "compute a slice of a phase again, and certify that it agrees")
    add_run(own)
    own.add_argument("--phase", required=True, choices=REPLAYED, metavar="PHASE", help=", ".join(REPLAYED))
    own.add_argument("--fraction", type=share, default=0.05, metavar="F", help="of its model calls (0.05)")
    add_batch_size(own)


def replay(args: argparse.Namespace, terminal: Terminal) -> int:
    """Compute a slice of a phase again; exit code 4 where texts or verdicts differ from what is stored."""
    store = store_path(args)
    run_id = run_of(args)
    with_log(terminal, store, "cai replay")
    from engine.analyses.replay import replay as again

    found = again(store, run_id, args.phase, args.fraction, batch_size=args.batch_size)
    code = 0 if found["certified"] else 4
    told = {**json_ready(found), "exit_code": code}
    return answer(args, terminal, told, lambda: printed.evaluation.replay_report(found), code)
