"""Which candidates of a run a person reads blind, and how many of them are read.

They are a random sample of all that the run decided on, accepted or not, in the order of a lot that the run's id and
the sample's give: the same after a restart, whoever reads and whatever else was labelled. Where a run went on after its
pilot, the lots of the candidates that are there now decide, so that the draw stays a fair sample of the whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.stats.agreement import ReaderAgreement, agreement
from store.names import BLIND, READ_AT_LEAST, READ_AT_MOST
from store.outcomes import labels_by
from store.query import Query
from store.read import Reader

_DRAW = """
    SELECT s.sample_id, CASE WHEN p.drawn IN {blind} THEN p.label END AS label
    FROM samples s
    JOIN verdicts v ON v.run_id = s.run_id AND v.subject_kind = 'sample' AND v.subject_id = s.sample_id
    LEFT JOIN {labels} p ON p.run_id = s.run_id AND p.subject_kind = 'sample' AND p.subject_id = s.sample_id
    WHERE s.run_id = $1 ORDER BY md5('reading ' || $1 || ' ' || s.sample_id), s.sample_id LIMIT $2
"""


@dataclass(frozen=True, slots=True)
class Lot:
    """A candidate that was drawn, and what a person said of it blind; None where nobody has yet."""

    sample_id: str
    label: str | None


def draw(reader: Query, run_id: str, at_most: int = READ_AT_MOST, by: str | None = None) -> list[Lot]:
    """The first `at_most` candidates of a run in the order of their lots.

    Labels are what all say who read them, or, where `by` names a person, that person's own: one reader is shown
    nothing of another's.

    A label counts where it was given as a reading or by the queue, which hide the verdict; one that somebody chose to
    give, with the verdict on the screen, does not.
    """
    found = reader.query(_DRAW.format(blind=BLIND, labels=labels_by(by)), [run_id, at_most])
    return [Lot(row["sample_id"], row["label"]) for row in found]


def to_read(reader: Reader, run_id: str, by: str | None = None) -> list[Lot]:
    """The draw of a run, as many as its spec asks for; what is read already, of all or `by` a person, stays in it."""
    return draw(reader, run_id, asked_of(reader.run(run_id)), by)


def between(reader: Query, run_id: str) -> ReaderAgreement:
    """How far persons agree who read the same candidates of a run blind and called them good or bad."""
    rows = reader.query(
        f"SELECT subject_id, reader, label = 'good' AS good FROM person_labels WHERE run_id = ? AND reader != '' "
        f"AND subject_kind = 'sample' AND label IN ('good', 'bad') AND drawn IN {BLIND} ORDER BY subject_id, reader",
        [run_id],
    )
    called: dict[str, dict[str, bool]] = {}
    for row in rows:
        called.setdefault(row["subject_id"], {})[row["reader"]] = row["good"]
    return agreement(list(called.values()))


def asked_of(run: Mapping[str, Any]) -> int:
    """How many candidates the spec of a run has a person read; earlier versions kept no such setting."""
    return int((run["settings"].get("gate") or {}).get("read_at_least", READ_AT_LEAST))


def how_far(lots: Sequence[Lot]) -> str:
    """How many of a draw are read, in words that tell nothing of what was decided on them."""
    return f"{sum(lot.label is not None for lot in lots):,} of {len(lots):,} read"
