"""`cai review`: questions of methodology listed, shown, answered, asked, and their record verified."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from engine.core.errors import ReviewError, UsageError
from store.errors import NotFound
from store.text import json_ready
from tui import printed
from tui.cli import frame
from tui.cli.frame import chosen_run, reading, run_of, store_path, with_log, write, write_json
from tui.cli.parsing import JSON, Command, Commands, add_run, add_set
from tui.host.terminal import Terminal
from tui.words.text import make_visible, one_line

if TYPE_CHECKING:
    from engine.core.events import Event

Row = dict[str, Any]
WORDS = ("approve", "reject", "override", "modify")


def add(commands: Commands) -> None:
    """`cai review`, which alone is its `list`, and what stands under it."""
    own = commands.add("review", listed, "questions of methodology: list, show, answer, ask, verify")
    own.set_defaults(run=None)
    found = own.add_subparsers(title="commands", metavar="COMMAND", dest="what")

    def command(name: str, action: Command, about: str) -> argparse.ArgumentParser:
        sub: argparse.ArgumentParser = found.add_parser(name, help=about, description=about, allow_abbrev=False)
        sub.set_defaults(action=action)
        add_run(sub)
        sub.add_argument("--store", metavar="PATH", default=argparse.SUPPRESS, help="the DuckDB file")
        sub.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help=JSON)
        return sub

    command("list", listed, "what was asked about a run, and how each question stands")
    show = command("show", shown, "one question with its answer, who decided and why")
    answer = command("answer", answered, "answer a question that waits, as a person; then: cai resume")
    for sub in (show, answer):
        sub.add_argument("id", metavar="ID", help="of a review, or the beginning of it")
    answer.add_argument("answer", choices=WORDS, help="override goes on against a No and wants a reason")
    answer.add_argument("--reason", default="", metavar="TEXT", help="kept with the decision")
    add_set(answer, "what modify changes")
    ask = command("ask", asked, "put a question to the configured reviewer; exit code 0 Yes, 4 No, 3 a person is asked")
    request = command("request", requested, "have files reviewed in full by the configured model")
    for sub in (ask, request):
        sub.add_argument("--topic", required=True, metavar="TEXT", help="a few words that name it")
        sub.add_argument("--question", required=True, metavar="TEXT")
        sub.add_argument("--file", action="append", type=Path, metavar="PATH", help="sent with it; repeatable")
    request.add_argument("--out", required=True, type=Path, metavar="FILE", help="a file that is not there yet")
    command("verify", verified, "check the record against tampering; exit code 1 where it was changed")


def listed(args: argparse.Namespace, terminal: Terminal) -> int:
    """`cai review list`."""
    with reading(args) as reader:
        from engine.review.listing import reviews

        run_id = chosen_run(reader, args.run)
        found = reviews(reader, run_id)
    none = f"nothing was asked about run {run_id} yet"
    told = {"run": run_id, "reviews": json_ready(found)}
    return frame.answer(args, terminal, told, lambda: printed.review.reviews_table(found) if found else none)


def shown(args: argparse.Namespace, terminal: Terminal) -> int:
    """`cai review show`."""
    with reading(args) as reader:
        from engine.review.listing import reviews

        run_id = chosen_run(reader, args.run)
        row = _the_one(reviews(reader, run_id), args.id, run_id)
    folder = store_path(args).parent
    row["files"] = [str(folder / path) for path in row["files"]]
    told = {"run": run_id, **json_ready(row)}
    return frame.answer(args, terminal, told, lambda: printed.review.review_report(run_id, row))


def answered(args: argparse.Namespace, terminal: Terminal) -> int:
    """`cai review answer`: exit code 0 where the answer was recorded, whatever it is."""
    changes = dict(args.set or ())
    if bool(changes) != (args.answer == "modify"):
        raise UsageError("modify wants --set, and nothing else takes it", "Nothing was recorded.")
    if args.answer == "override" and not any(character.isalnum() for character in args.reason):
        raise UsageError("an override wants a reason", "Say why with --reason. Nothing was recorded.")
    with reading(args) as reader:
        from engine.review.context import Decision
        from engine.review.listing import reviews

        run_id = chosen_run(reader, args.run)
        row = _the_one(reviews(reader, run_id), args.id, run_id)
    review_id = row["review_id"]
    runs_own = row["topic"] in get_args(Decision)
    if changes and not runs_own:
        raise UsageError("only a question that the run asked can be answered by modify", "Nothing was recorded.")
    from engine.core.control import Control
    from engine.core.key import find_key
    from engine.review.desk import Desk
    from engine.review.reviewers import PersonReviewer
    from store.db import Store
    from tui.config.reviewer import reviewer_options

    try:
        key = find_key(reviewer_options(args.config).key_file)
    except ReviewError:
        key = None  # nothing is sent, and a key that is none keeps nobody from deciding
    word = f"modify {json.dumps(changes)}" if changes else args.answer
    with Store.open(store_path(args)) as opened:
        person = PersonReviewer(Control(), _telling(terminal), present=False)
        outcome = Desk(opened, run_id, person, key=key, emit=_telling(terminal)).answer(review_id, word, args.reason)
    if args.json:
        told = {"state": outcome.state, "by": outcome.by, "reason": outcome.reason, "changes": dict(outcome.changes)}
        return write_json(terminal, {"run": run_id, "review_id": review_id, **told, "exit_code": 0})
    return write(terminal, printed.review.answered_line(run_id, review_id, outcome.state, runs_own=runs_own))


def asked(args: argparse.Namespace, terminal: Terminal) -> int:
    """`cai review ask`: the answer as Markdown on stdout, how it stands on stderr."""
    from engine.review.ask import ask, free_topic
    from tui.config.reviewer import reviewer_options

    store = store_path(args)
    run_id = run_of(args)
    _require_words(args)
    free_topic(args.topic)
    options = reviewer_options(args.config)
    with_log(terminal, store, "cai review ask")
    from store.db import Store

    with Store.open(store) as opened:
        files = tuple(args.file or ())
        found = ask(opened, run_id, options, args.topic, args.question, files, emit=_telling(terminal))
    code = int(found["exit_code"])
    if args.json:
        return write_json(terminal, found, code)
    terminal.stdout.write(make_visible(found["markdown"]))
    terminal.stdout.flush()
    terminal.stderr.write(printed.review.asked_lines(found))
    terminal.stderr.flush()
    return code


def requested(args: argparse.Namespace, terminal: Terminal) -> int:
    """`cai review request`: the document at --out, and its path on stdout."""
    from engine.review.ask import full_review
    from tui.config.reviewer import reviewer_options

    store = store_path(args)
    run_id = run_of(args)
    _require_words(args)
    options = reviewer_options(args.config)
    if options.reviewer not in ("model", "chain"):
        raise UsageError(
            f"a full review needs a model, and the reviewer is {options.reviewer}",
            "Set `reviewer` to model or chain, in the file that `cai config` names or as $CAI_REVIEWER.",
        )
    with_log(terminal, store, "cai review request")
    from store.db import Store

    out = args.out.expanduser().absolute()
    with Store.open(store) as opened:
        full_review(opened, run_id, options, args.topic, args.question, tuple(args.file or ()), out)
    if args.json:
        return write_json(terminal, {"run": run_id, "out": str(out), "exit_code": 0})
    return write(terminal, f"{out}\n")


def verified(args: argparse.Namespace, terminal: Terminal) -> int:
    """`cai review verify`: exit code 1, and each difference, where the record is not as it was written."""
    with reading(args) as reader:
        from engine.review.files import folder_of
        from engine.review.verify import verify

        run_id = chosen_run(reader, args.run)
        problems = verify(reader, run_id, folder_of(store_path(args), run_id))
        [row] = reader.query("SELECT count(*) AS n FROM review_entries WHERE run_id = ?", [run_id])
    code = 1 if problems else 0
    if args.json:
        return write_json(terminal, {"run": run_id, "entries": row["n"], "problems": problems, "exit_code": code}, code)
    return write(terminal, printed.review.verified_lines(run_id, row["n"], problems), code)


def _require_words(args: argparse.Namespace) -> None:
    if not args.topic.strip() or not args.question.strip():
        raise UsageError("a review wants a topic and a question", "Nothing was asked.")


def _the_one(rows: list[Row], asked: str, run_id: str) -> Row:
    """The review that an id, its beginning or the id of a question to a person names. Raises NotFound."""
    wanted = asked.partition(".")[0]
    found = [row for row in rows if wanted and row["review_id"].startswith(wanted)]
    if len(found) != 1:
        what = f"{len(found)} reviews" if found else "no review"
        known = ", ".join(row["review_id"] for row in found or rows) or "none yet"
        raise NotFound(f"{what} of run {run_id} begins with {one_line(asked, 40)!r}", f"Its reviews: {known}")
    return found[0]


def _telling(terminal: Terminal) -> Callable[[Event], None]:
    """What a desk reports, on stderr."""

    def tell(event: Event) -> None:
        from engine.core.events import Noted

        if isinstance(event, Noted):
            terminal.stderr.say(f"{event.level}: {one_line(event.text, 400)}")

    return tell
