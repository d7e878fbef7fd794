"""How well the critics' scores are calibrated, and what another threshold would accept of the audited items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from store.names import FRESH

if TYPE_CHECKING:
    from store.read import Reader

_KINDS = ("sample", "instruction")
_PARTS = (*FRESH, "own")  # as they fell; half of the planted items are good by design


@dataclass(frozen=True, slots=True)
class Calibration:
    """One part of an audit of a critic whose score is a probability: what was predicted, and what was good.

    `bins` are {n, probability, share, lo, hi}. A score is a log-odds less the `level`, in nats.
    """

    subject_kind: str
    critic: str
    part: str
    n: int
    error: float
    bins: Sequence[Mapping[str, Any]]
    level: float
    scores: Sequence[float]
    labels: Sequence[bool]
    doubtful: int = 0  # labels that a probe which was fitted without them contradicts

    def accepted(self, above: float) -> dict[str, Any]:
        """What accepting above this score gives on the part's items; see `engine.critics.audit.accepted_above`."""
        from engine.critics.audit import accepted_above  # the engine is not touched before the first frame

        return accepted_above(above, self.scores, self.labels)


def calibrations(reader: Reader, run_id: str) -> list[Calibration]:
    """Those that a run's audits tell: of samples first, fresh candidates before what was cross-validated."""
    found = []
    for row in reader.audits(run_id):
        detail = row["detail"]
        if row["subject_kind"] in _KINDS and row["part"] in _PARTS and detail.get("reliability"):
            labels = [bool(detail["labels"][key]) for key in detail["scores"]]
            told = (len(labels), detail["calibration_error"], detail["reliability"])
            of = (row["subject_kind"], row["critic"], row["part"])
            level = detail.get("level", detail["midpoint_nats"])  # of a probe both are the same, and old rows have one
            doubts = len(detail.get("doubtful", ()))
            found.append(Calibration(*of, *told, level, list(detail["scores"].values()), labels, doubts))
    return sorted(found, key=lambda one: (_KINDS.index(one.subject_kind), _PARTS.index(one.part)))
