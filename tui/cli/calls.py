"""`cai replay`, `cai answer` and `cai import`: model calls that are computed again, or elsewhere."""

from __future__ import annotations

import argparse
from pathlib import Path

from store.names import REPLAYED
from store.text import json_ready
from tui import printed
from tui.cli.frame import answer, require_store, run_of, store_path, with_log
from tui.cli.parsing import Commands, add_batch_size, add_run, part, share
from tui.host.terminal import Terminal


def add(commands: Commands) -> None:
    own = commands.add("replay", replay, "compute a slice of a phase again, and certify that it agrees")
    add_run(own)
    own.add_argument("--phase", required=True, choices=REPLAYED, metavar="PHASE", help=", ".join(REPLAYED))
    own.add_argument("--fraction", type=share, default=0.05, metavar="F", help="of its model calls (0.05)")
    add_batch_size(own)

    own = commands.add("answer", answer_requests, "compute what another machine asked (cai resume --on FILE.jsonl)")
    own.add_argument("requests", metavar="REQUESTS", help="the file of requests")
    own.add_argument("--share", type=part, default=(1, 1), metavar="K/N", help="every N-th request from the K-th on")
    own.add_argument("--out", required=True, metavar="FILE", help="a file that is not there yet, for the answers")
    own.add_argument("--model", metavar="NAME_OR_PATH", help="where the same weights lie here (default: as asked)")
    add_batch_size(own)

    own = commands.add("import", import_files, "take answers that were computed elsewhere into the store")
    own.add_argument("files", nargs="+", metavar="ANSWERS", help="files of answers; each is taken whole or not at all")


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


def answer_requests(args: argparse.Namespace, terminal: Terminal) -> int:
    """Compute a share of a file of requests. No store is read or written; the log lies beside the answers."""
    out = Path(args.out).expanduser().absolute()
    with_log(terminal, out, "cai answer")
    from engine.phases.elsewhere import answer_share

    how = {"model": args.model, "batch_size": args.batch_size}
    found = answer_share(Path(args.requests), out, args.share, **how)
    told = f"{found['answers']:,} answers, share {found['share']}: {out}" if found["answers"] else "nothing to answer"
    return answer(args, terminal, found, lambda: told)


def import_files(args: argparse.Namespace, terminal: Terminal) -> int:
    """Take files of answers into the store. Exit code 1 where one was refused; the others are taken all the same."""
    path = store_path(args)
    require_store(path)
    from engine.phases.elsewhere import import_answers
    from store.db import Store

    with Store.open(path) as store:
        files = import_answers(store, [Path(name) for name in args.files])
    code = 1 if any(file["refused"] for file in files) else 0
    lines = [
        f"refused: {file['refused']}"
        if file["refused"]
        else f"{file['file']}: {file['answers']:,} answers, {file['new']:,} of them new"
        for file in files
    ]
    return answer(args, terminal, {"files": files, "exit_code": code}, lambda: "\n".join(lines), code)
