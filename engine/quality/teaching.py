"""What persons' labels teach a probe: all of one model's in the store, and those that a run's probe was fitted on.

A run's manifest keeps the labels of its fit, so that whoever goes on with it fits the same probe, whatever was labelled
or taken away since. A run that was never refitted has none: its probe knows the shipped texts alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from engine.critics import Subject
from engine.critics.probed import SAME_AT, Taught
from engine.stats.similarity import NearDuplicateIndex
from store.outcomes import LABELS_SQL
from store.query import Query

TAUGHT = "taught"  # in a manifest: {at, probe, labels: [{run, sample, good, at_random, held_out}]}

# The newest label of a text, in whichever runs it stands.
_LABELLED = f"""
    SELECT p.run_id AS run, p.subject_id AS sample, p.label = 'good' AS good,
           coalesce(p.drawn, '') = 'random' AS at_random, i.text AS instruction, s.response
    FROM {LABELS_SQL} p
    JOIN runs r USING (run_id)
    JOIN samples s ON s.run_id = p.run_id AND s.sample_id = p.subject_id
    JOIN instructions i ON i.run_id = s.run_id AND i.instruction_id = s.instruction_id
    WHERE p.subject_kind = 'sample' AND p.label IN ('good', 'bad') AND r.fingerprint = ?
          AND p.drawn IS DISTINCT FROM 'reading'  -- what measures a run's quality may not teach its critic
    QUALIFY row_number() OVER (PARTITION BY i.text, s.response ORDER BY p."at" DESC, p.run_id) = 1
    ORDER BY sample, run
"""
_TEXTS = """
    SELECT s.run_id AS run, s.sample_id AS sample, i.text AS instruction, s.response
    FROM samples s JOIN instructions i USING (run_id, instruction_id)
    WHERE s.run_id IN (SELECT unnest(?::VARCHAR[])) AND s.sample_id IN (SELECT unnest(?::VARCHAR[]))
"""
_KEPT = ("run", "sample", "good", "at_random")


@dataclass(frozen=True)
class Lessons:
    """Labels of samples in the order of a fit: as a probe takes them, and as rows that a manifest can keep."""

    taught: tuple[Taught, ...]
    rows: tuple[dict[str, Any], ...]

    def kept(self, probe: str, held_out: Sequence[float], at: datetime) -> dict[str, Any]:
        """What a manifest keeps of a fit on them; `held_out` are their log-odds by probes fitted without them."""
        labels = [row | {"held_out": value} for row, value in zip(self.rows, held_out, strict=True)]
        return {"at": at.isoformat(), "probe": probe, "labels": labels}


def lessons(reader: Query, fingerprint: str | None) -> Lessons:
    """Every label good or bad that a person gave a sample of the model, in all runs of the store, readings left out."""
    return _lessons(reader.query(_LABELLED, [fingerprint]))


def lessons_of(reader: Query, manifest: Mapping[str, Any]) -> Lessons:
    """The labels that the run of a manifest was fitted on last, as they were then."""
    kept = _labels(manifest)
    if not kept:
        return _lessons([])
    found = reader.query(_TEXTS, [[row["run"] for row in kept], [row["sample"] for row in kept]])
    texts = {(row["run"], row["sample"]): row for row in found}
    return _lessons([{**texts[row["run"], row["sample"]], **row} for row in kept])


def unlearnt(reader: Query, run: Mapping[str, Any]) -> int:
    """How many labels were given, changed or taken away since the run's probe was fitted."""

    def told(rows: Sequence[Mapping[str, Any]]) -> set[tuple[Any, ...]]:
        return {tuple(row[name] for name in _KEPT) for row in rows}

    differing = told(lessons(reader, run["fingerprint"]).rows) ^ told(_labels(run["manifest"]))
    return len({row[:2] for row in differing})


class HeldOut:
    """What a run's probe says of samples that it was fitted on, by probes that were fitted without them."""

    def __init__(self, reader: Query, manifest: Mapping[str, Any]) -> None:
        self._log_odds = {row["sample"]: float(row["held_out"]) for row in _labels(manifest)}
        self._near = NearDuplicateIndex(SAME_AT)
        for number, one in enumerate(lessons_of(reader, manifest).taught):
            self._near.add(str(number), one.item.instruction)

    def log_odds(self, sample_id: str) -> float | None:
        """Of one that is in the fit; None for every other."""
        return self._log_odds.get(sample_id)

    def knows(self, sample_id: str, instruction: str) -> bool:
        """Whether it, or one whose instruction is nearly the same, is in the fit."""
        return sample_id in self._log_odds or self._near.nearest(instruction) is not None


def _labels(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    return (manifest.get(TAUGHT) or {}).get("labels") or []


def _lessons(rows: Sequence[Mapping[str, Any]]) -> Lessons:
    return Lessons(
        tuple(
            Taught(Subject(row["sample"], row["instruction"], row["response"]), row["good"], row["at_random"])
            for row in rows
        ),
        tuple({name: row[name] for name in _KEPT} for row in rows),
    )
