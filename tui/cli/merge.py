"""`cai merge`: weights with an adapter in them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from engine.core.errors import UsageError
from tui import printed
from tui.cli.frame import answer, chosen_run, reading, require_store, store_path, with_log
from tui.cli.parsing import Commands, add_out, add_run
from tui.host.terminal import Terminal


def add(commands: Commands) -> None:
    own = commands.add("merge", merge, "write weights with a trained adapter merged into them")
    add_run(own)
    own.add_argument("--what", default="dpo", metavar="NAME", help="sft, dpo or a training's id (default: dpo)")
    own.add_argument(
        "--dtype", choices=("bfloat16", "float32"), help="of the written weights (default: the base's own)"
    )
    own.add_argument("--drift", action="store_true", help="measure the drift of what was written to --out before")
    add_out(own)


def merge(args: argparse.Namespace, terminal: Terminal) -> int:
    """`cai merge`: weights with an adapter in them, for a server that knows no adapters."""
    store = store_path(args)
    require_store(store)
    with_log(terminal, store, "cai merge")
    with reading(args) as reader:
        run_id = chosen_run(reader, args.run)
        from engine.training.merge import measure_drift, merge_adapter

        found: dict[str, Any]
        if args.drift:
            if args.dtype:
                raise UsageError("--drift measures what is written already", "Leave --dtype out. Nothing was changed.")
            found = measure_drift(reader, run_id, args.what, Path(args.out))
        else:
            found = merge_adapter(reader, run_id, args.what, Path(args.out), dtype=args.dtype)
    return answer(args, terminal, found, lambda: printed.training.merge_report(found))
