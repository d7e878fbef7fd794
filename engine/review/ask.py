"""How a reviewer is asked a question that no run asks by itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from engine.budget.ledger import TOPIC, Ledger, cap_of
from engine.core.control import Control
from engine.core.errors import UsageError
from engine.core.events import Emit
from engine.review.consultant import reviewer_of
from engine.review.context import Decision, context_of
from engine.review.desk import Desk
from engine.review.document import ALL_BYTES_AT_MOST, FILE_BYTES_AT_MOST, document, read_texts
from engine.review.form import Review
from engine.review.options import ReviewOptions
from engine.review.prompt import Context, Section
from engine.spec.provenance import new_session_id
from engine.spec.stage import settings_of
from store.db import Store

Row = dict[str, Any]


def ask(
    store: Store,
    run_id: str,
    options: ReviewOptions,
    topic: str,
    question: str,
    paths: Sequence[Path] = (),
    *,
    control: Control | None = None,
    emit: Emit = lambda event: None,
) -> Row:
    """Have one question about a run answered by the configured reviewer, with files; returns a JSON-ready account.

    What is sent of the run are its figures, samples and settings as for a question of its own; the answer is bound to
    them and to the files. A call of a model is in the ledger. Raises UsageError for a topic of the run's own and for
    files that cannot be sent, BudgetReached where the call could pass the cap, Interrupted where `control` is stopped,
    ReviewError and StoreError.
    """
    topic = free_topic(topic)
    control = control or Control()
    sections, hashes, notes = read_files(paths, options.key_file)
    with store.reader() as reader:
        run_id = reader.resolve(run_id)
        run = reader.run(run_id)
        spec = settings_of(run)
        cap = cap_of(reader, spec)
        evaluated = reader.query("SELECT 1 FROM evaluation_results WHERE run_id = ? LIMIT 1", [run_id])
        context = context_of(reader, run, spec, "claim" if evaluated else "override", sections)
    # `asked` keeps the answer from ever being one to a question that the run asks by itself.
    context = Context(context.sections, {**context.evidence, "files": hashes, "asked": "directly"})
    with Ledger(store, run_id, new_session_id(), cap) as ledger:
        reviewer = reviewer_of(options, control, emit, ledger=ledger, stage=spec.stage)
        desk = Desk(store, run_id, reviewer, control=control, emit=emit)
        review = desk.review(topic, question, context)
    return {"run": run_id, "topic": topic, "question": question.strip(), **account(review), "notes": notes}


def full_review(
    store: Store, run_id: str, options: ReviewOptions, topic: str, question: str, paths: Sequence[Path], out: Path
) -> None:
    """Have files reviewed in full by the configured model, and write the document to `out`, which is not there yet.

    Raises ReviewError where the files cannot be sent, nobody answers in form or `out` exists, UsageError for the key's
    file, and BudgetReached.
    """
    for path in paths:
        if path.exists():
            _require_other(path, options.key_file)
    with store.reader() as reader:
        spec = settings_of(reader.run(run_id))
        cap = cap_of(reader, spec)
    control = Control()
    with Ledger(store, run_id, new_session_id(), cap) as ledger:
        reviewer = reviewer_of(options, control, lambda event: None, ledger=ledger, stage=spec.stage)
        document(topic, question, paths, desk=Desk(store, run_id, reviewer, control=control), save=out)


def free_topic(topic: str) -> str:
    """The topic, stripped. Raises UsageError for one of the run's own, whose decisions have a meaning."""
    own = (*get_args(Decision), TOPIC, "thresholds", "judging")
    if topic.strip().lower() in own:
        raise UsageError(
            f"the topic {topic.strip()!r} is one of the run's own", f"Name another one than {', '.join(own)}."
        )
    return topic.strip()


def account(review: Review) -> Row:
    """A review and its outcome as plain values; its exit code is 0 for Yes, 4 for No, 3 where a person is asked."""
    outcome = review.outcome
    assert outcome is not None
    said_no = outcome.state != "waiting" or (review.reviewer != "nobody" and not review.approval)
    return {
        "review_id": outcome.review_id,
        "state": outcome.state,
        "by": outcome.by,
        "reason": outcome.reason,
        "reviewer": review.reviewer,
        **review.fields,
        "markdown": review.markdown,
        "exit_code": 0 if outcome.proceed else 4 if said_no else 3,
    }


def read_files(
    paths: Sequence[Path], key_file: Path | None
) -> tuple[tuple[Section, ...], list[tuple[str, str]], list[str]]:
    """Files as quoted data, (name, hash) of each, and what was taken out of them. Raises UsageError.

    A name is the path from this folder, or the last part of one that leads elsewhere.
    """
    here = Path.cwd()
    sections, hashes, notes = [], [], []

    def fits(path: Path, before: int) -> int:
        if not path.is_file():
            raise UsageError(f"{path} is no file", "Nothing was sent.")
        _require_other(path, key_file)
        size = path.stat().st_size
        if size > FILE_BYTES_AT_MOST or before + size > ALL_BYTES_AT_MOST:
            limits = f"{FILE_BYTES_AT_MOST:,} bytes a file and {ALL_BYTES_AT_MOST:,} in all are allowed"
            raise UsageError(f"{path} is too much: {limits}", "Nothing was sent. Give a part of it.")
        return before + size

    for path, text, sha256, removed in read_texts(paths, fits, UsageError):
        if removed:
            notes.append(f"what looked like a secret in {path} was not sent ({removed} times)")
        whole = path.absolute()
        name = str(whole.relative_to(here)) if whole.is_relative_to(here) else path.name
        sections.append(Section(f"File {name}", text))
        hashes.append((name, sha256))
    return tuple(sections), hashes, notes


def _require_other(path: Path, key_file: Path | None) -> None:
    """Raise UsageError where the path leads to the file with the reviewer's key."""
    if key_file is not None and key_file.exists() and path.samefile(key_file):
        raise UsageError(f"{path} holds the reviewer's key", "Nothing was sent.")
