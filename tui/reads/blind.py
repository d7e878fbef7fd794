"""Reading answers without knowing whose they are: which are shown, what is kept, and how far the scorer agrees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engine.spec.provenance import derived_seed
from store.names import ANSWER, READERS
from store.salvage.clock import utc_now
from tui.words.evaluation import readers_words

if TYPE_CHECKING:
    from store.db import Store
    from store.read import Reader

READ_AT_ONCE = 20  # items, with two answers each


def to_read(reader: Reader, run_id: str, result: Mapping[str, Any], by: str) -> list[dict[str, Any]]:
    """Answers to items that changed sides in a comparison, in an order that tells neither condition nor verdict.

    Each {subject_id, item_type, history, prompt, reference, answer}; those that `by` this person were judged already
    are left out, so that the next reading goes on with other items. Empty where none is left. What another person said
    decides nothing: readers who begin anew are shown the same answers, so that they can be compared.
    """
    from engine.evaluation.needs.readers import judged
    from engine.evaluation.plan import answers_of  # not before the first frame: it brings DuckDB
    from engine.evaluation.scorer_audit import blinded

    items_sha256 = reader.items_asked(run_id, result["after"])
    if items_sha256 is None:
        return []
    answers = [
        row | ({"correct": None} if row["abstained"] else {})  # as the rules left it
        for row in answers_of(reader, run_id, items_sha256)
        if row["split"] == "test" and row["capability"] == result["capability"]
    ]
    seed = derived_seed(0, "blind", run_id, result["before"], result["after"])
    items = {row["item_id"]: row for row in answers}
    known = reader.query(
        'SELECT subject_id, "at" FROM person_labels WHERE run_id = ? AND subject_kind = ? AND reader = ?',
        [run_id, ANSWER, by],
    )
    labels = {row["subject_id"]: row for row in known}
    answers = [row for row in answers if row["condition"] in (result["before"], result["after"])]
    subjects = {f"{row['condition']}/{row['item_id']}": row for row in answers}
    read = {name for name, row in subjects.items() if name in labels and judged(labels[name], row)}
    left = {row["item_id"] for name, row in subjects.items() if name not in read}
    answers = [row for row in answers if row["item_id"] in left]
    before, after = ([row for row in answers if row["condition"] == result[name]] for name in ("before", "after"))
    found = []
    for one in blinded(before, after, seed=seed, k=READ_AT_ONCE):
        item = items[one.item_id]
        for text, subject in zip(one.texts, one.subjects, strict=True):
            if subject not in read:
                asked = {name: item[name] for name in ("item_type", "history", "prompt", "reference")}
                found.append({"subject_id": subject, **asked, "answer": text})
    return found


def keep_blind_label(store: Store, run_id: str, subject_id: str, label: str, by: str) -> None:
    """Keep what a person, `by` name, says of an answer: good, bad or unsure."""
    row = {"run_id": run_id, "subject_kind": ANSWER, "subject_id": subject_id, "reader": by, "label": label}
    store.put({"person_labels": [row | {"note": "", "at": utc_now()}]})


def settle_reading(store: Store, run_id: str) -> str:
    """Audit the scorer anew with all labels, and compare again; returns how far the scorer agrees, in words."""
    from engine.phases.evaluation import conclude

    conclude(store, run_id)
    with store.reader() as reader:
        rows = reader.query(
            "SELECT part, measured, lo, hi, n, passed, detail FROM scorer_audits WHERE run_id = ? AND part IN (?, ?) "
            "AND (part = 'person' OR n > 0) ORDER BY capability DESC, part",
            [run_id, "person", READERS],
        )
    told = [_words(row) if row["part"] == "person" else readers_words(row) for row in rows]
    return "; ".join(told) or "no answer was called right or wrong yet"


def _words(row: Mapping[str, Any]) -> str:
    if row["measured"] is None:
        return f"κ undefined over {row['n']} answers: both always said the same"
    interval = "" if row["lo"] is None else f" [{row['lo']:+.2f}, {row['hi']:+.2f}]"
    less = "" if row["passed"] else ": too little, no claim can be made"
    return f"the scorer agrees with you at κ {row['measured']:+.2f}{interval} over {row['n']} answers{less}"
