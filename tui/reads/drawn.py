"""Samples drawn at random from what a run accepted, a few at a time; before that the last candidates.

The verdicts are asked once for the ids of a few hundred, in an order drawn by lot. Each draw then looks its own up by
their ids, so that it costs the same whatever the size of the run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from store.read import Reader

AT_ONCE = 3
POOL = 300  # ids for some ten minutes
RENEWED_S = 60.0  # after which what was accepted meanwhile is drawn from, too

_ACCEPTED = f"""
    SELECT subject_id FROM verdicts WHERE run_id = ? AND subject_kind = 'sample' AND verdict = 'accepted'
    ORDER BY hash(subject_id || ?), subject_id LIMIT {POOL}
"""
_LAST = f"SELECT sample_id FROM samples WHERE run_id = ? ORDER BY ordinal DESC LIMIT {AT_ONCE}"
_LAST_INSTRUCTIONS = f"""
    SELECT i.instruction_id, i.text AS instruction, i.status, v.verdict, v.flags, v.reason
    FROM (SELECT * FROM instructions WHERE run_id = $1 AND status != 'shipped' ORDER BY ordinal DESC LIMIT {AT_ONCE}) i
    LEFT JOIN verdicts v ON v.run_id = i.run_id AND v.subject_kind = 'instruction' AND v.subject_id = i.instruction_id
    ORDER BY i.ordinal DESC
"""


@dataclass(frozen=True, slots=True)
class Drawn:
    """What was drawn: `accepted` samples, or, while there are none, the last `samples` or `instructions`.

    A sample is told as the reader's `samples_by_id` does, an instruction as {instruction, status, verdict, flags,
    reason}.
    """

    run_id: str = ""
    kind: str = ""
    rows: tuple[dict[str, Any], ...] = ()


class Draws:
    """The draws of one run, one after the other; `lot` decides their order. For one thread at a time."""

    def __init__(self, run_id: str, lot: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.run_id = run_id
        self._lot = lot
        self._clock = clock
        self._ids: Sequence[str] = ()
        self._at = 0
        self._asked_at = 0.0
        self._asked = 0

    def next(self, reader: Reader) -> Drawn:
        """Others, as far as there are others."""
        if self._at >= len(self._ids) or self._clock() - self._asked_at > RENEWED_S:
            self._renew(reader)
        found = self._accepted(reader, self._some())
        if found is None and self._ids:  # none of these is accepted any more
            self._renew(reader)
            found = self._accepted(reader, self._some())
        return found or self._last(reader)

    def again(self, reader: Reader, before: Drawn) -> Drawn:
        """The same samples, without those that are no longer accepted; others where none is left."""
        self._ids = ()  # what was decided since is asked for anew
        same = [str(row["sample_id"]) for row in before.rows] if before.kind == "accepted" else []
        return self._accepted(reader, same) or self.next(reader)

    def _renew(self, reader: Reader) -> None:
        self._asked += 1
        found = reader.query(_ACCEPTED, [self.run_id, f"{self._lot} {self._asked}"])
        self._ids, self._at, self._asked_at = [row["subject_id"] for row in found], 0, self._clock()

    def _some(self) -> Sequence[str]:
        self._at += AT_ONCE
        return self._ids[self._at - AT_ONCE : self._at]

    def _accepted(self, reader: Reader, ids: Sequence[str]) -> Drawn | None:
        rows = tuple(row for row in reader.samples_by_id(self.run_id, ids) if row["verdict"] == "accepted")
        return Drawn(self.run_id, "accepted", rows) if rows else None

    def _last(self, reader: Reader) -> Drawn:
        ids = [row["sample_id"] for row in reader.query(_LAST, [self.run_id])]
        if ids:
            return Drawn(self.run_id, "samples", tuple(reader.samples_by_id(self.run_id, ids)))
        rows = tuple(reader.query(_LAST_INSTRUCTIONS, [self.run_id]))
        return Drawn(self.run_id, "instructions" if rows else "", rows)
