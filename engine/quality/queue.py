"""Which samples of a run a person labels next: those that its critic is least sure of, every tenth drawn at random.

A tenth of the run is set apart by lot, and the places at random are filled from it alone, in the order of the lots. So
they are a random sample of what the rules let through, whatever else was labelled; the others only teach.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.quality.teaching import unlearnt
from store.names import CHOSEN, DRAWN, QUEUED, RANDOM, preferred
from store.outcomes import LABELS_SQL
from store.read import Reader

EVERY = 10  # of so many places the last is drawn at random

_WAITING = f"""
    SELECT s.sample_id, p.label IS NOT NULL AS labelled, md5($1 || ' ' || s.sample_id) AS lot,
           abs(CASE WHEN j.critic = 'probe' THEN j.margin_nats ELSE j.score END) AS sure
    FROM samples s
    JOIN verdicts v ON v.run_id = s.run_id AND v.subject_kind = 'sample' AND v.subject_id = s.sample_id
    LEFT JOIN judgements j ON j.run_id = s.run_id AND j.subject_kind = 'sample' AND j.subject_id = s.sample_id
         AND j.critic = $2
    LEFT JOIN {LABELS_SQL} p ON p.run_id = s.run_id AND p.subject_kind = 'sample' AND p.subject_id = s.sample_id
    WHERE s.run_id = $1 AND NOT (v.verdict = 'rejected' AND v.basis = 'rules')
    ORDER BY lot
"""
_COUNTS = f"""
    SELECT count(*) AS labels, count(*) FILTER (WHERE drawn = 'random') AS at_random,
           count(*) FILTER (WHERE drawn IN ('random', 'queue')) AS queued
    FROM {LABELS_SQL} WHERE run_id = ? AND subject_kind = 'sample'
"""


@dataclass(frozen=True, slots=True)
class Queued:
    """A sample in the queue, and how it came there: RANDOM or QUEUED."""

    sample_id: str
    drawn: str


@dataclass(frozen=True, slots=True)
class LabelStanding:
    """How far labelling is: a run's labels, those of them at random, and the AUC of its critic on those alone.

    `auc` is None where they are none or all of one kind, `half` where there are too few for an interval. `unlearnt`
    counts the labels that the run's probe was not fitted on, None where a run has no probe of samples.
    """

    labels: int
    at_random: int
    critic: str | None
    auc: float | None
    half: float | None
    unlearnt: int | None


def places(reader: Reader, run_id: str) -> list[Queued]:
    """The queue of a run's samples that no person labelled; those that rules reject are not in it.

    The same labels give the same queue. Samples that no critic judged stand last, in the order of their lots.
    """
    settings = reader.run(run_id)["settings"]
    rows = reader.query(_WAITING, [run_id, _critic(reader, run_id, settings) or ""])
    apart = -(-len(rows) // EVERY)
    lots = deque(row["sample_id"] for row in rows[:apart] if not row["labelled"])
    rest = [row for row in rows[apart:] if not row["labelled"]]
    rest.sort(key=lambda row: (row["sure"] is None, row["sure"] or 0.0))  # stable: of equals by lot
    unsure = deque(row["sample_id"] for row in rest)
    at = int(_counts(reader, run_id)["queued"])
    found = []
    while lots or unsure:
        at += 1
        by_lot = bool(lots) and (at % EVERY == 0 or not unsure)
        found.append(Queued(lots.popleft(), RANDOM) if by_lot else Queued(unsure.popleft(), QUEUED))
    return found


def drawn_of(queue: Sequence[Queued], sample_id: str) -> str:
    """How a sample comes to be labelled: by its place in the queue, CHOSEN where it has none."""
    return next((place.drawn for place in queue if place.sample_id == sample_id), CHOSEN)


def standing(reader: Reader, run_id: str) -> LabelStanding:
    """How far labelling of a run's samples is."""
    run, counts = reader.run(run_id), _counts(reader, run_id)
    critic = _critic(reader, run_id, run["settings"])
    rows = reader.query(
        "SELECT auc, auc_lo, auc_hi FROM audits WHERE run_id = ? AND subject_kind = 'sample' AND part = ? "
        "AND critic = ?",
        [run_id, DRAWN, critic or ""],
    )
    audit = rows[0] if rows else {"auc": None, "auc_lo": None, "auc_hi": None}
    half = None if audit["auc_lo"] is None else (audit["auc_hi"] - audit["auc_lo"]) / 2
    newer = unlearnt(reader, run) if critic == "probe" else None
    return LabelStanding(int(counts["labels"]), int(counts["at_random"]), critic, audit["auc"], half, newer)


def _critic(reader: Reader, run_id: str, settings: Mapping[str, Any]) -> str | None:
    """The sample critic whose doubt orders the queue: the probe, else the first that the spec names, else any."""
    found = reader.query(
        "SELECT DISTINCT critic FROM judgements WHERE run_id = ? AND subject_kind = 'sample' ORDER BY 1", [run_id]
    )
    judged = [row["critic"] for row in found]
    named = preferred((settings.get("critics") or {}).get("sample") or [])
    return next((name for name in ["probe", *named, *judged] if name in judged), None)


def _counts(reader: Reader, run_id: str) -> dict[str, Any]:
    return reader.query(_COUNTS, [run_id])[0]
