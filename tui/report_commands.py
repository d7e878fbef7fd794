"""`cai report`: a run as a report in a folder."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

from tui.commands import chosen_run, flushed, reading, require_store, store_path, with_log, write_json
from tui.terminal import Terminal


def report_run(args: argparse.Namespace, terminal: Terminal) -> int:
    """`cai report`: args.run, args.out (a folder that is not there yet), args.json."""
    store = store_path(args)
    require_store(store)
    with_log(terminal, store, "cai report")  # what a drawing library says belongs in the log
    with reading(args) as reader:
        from engine.report import build

        run_id = chosen_run(reader, args.run)
        price = args.config.price_per_gpu_hour
        files = build(reader, run_id, Path(args.out), price_per_hour=price, now=datetime.now(UTC))
    if args.json:
        out = Path(args.out).expanduser().absolute()
        write_json(terminal, {"run": run_id, "out": str(out), "files": [str(path) for path in files]})
        return 0
    terminal.stdout.write("".join(f"{path}\n" for path in files))
    return flushed(terminal)
