"""What the critics' audits say of a run's data: the share of good ones among those that the run accepts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from store.names import AUDITED, FRESH, preferred

if TYPE_CHECKING:
    from store.query import Query, Row

JUDGED = ("instruction", "sample")


_ROWS = (
    "SELECT run_id, subject_kind, critic, part, auc, may_filter, detail->'$.accepted' AS accepted FROM audits "
    "WHERE run_id IN (SELECT unnest(?::VARCHAR[])) AND part IN (SELECT unnest(?::VARCHAR[]))"
)


def good_among_accepted(reader: Query, run: Mapping[str, Any]) -> list[Row]:
    """By kind what its deciding critic's audit says of accepting as the run does, in the order of JUDGED.

    Each {kind, critic, part} with the part's `auc` and what the audit keeps as `accepted`: n labels, taken,
    share_taken, good, precision, lo, hi, recall. It is of the fresh part, else of the model's own by cross-validation:
    of one part, never of both. `critic` is None where rules alone accept, so that nothing is known; `part` is None
    where the critic decides but no part is as it fell. A kind that was not audited yet is left out.
    """
    return good_of(audit_rows(reader, [run["run_id"]]), run)


def audit_rows(reader: Query, run_ids: Sequence[str]) -> list[Row]:
    """The audits of these runs that let a critic filter, as `good_of` reads them."""
    return reader.query(_ROWS, [list(run_ids), list(AUDITED)])


def good_of(rows: Sequence[Mapping[str, Any]], run: Mapping[str, Any]) -> list[Row]:
    """The same from rows of `audits`, those of other runs left aside."""
    critics = (run["settings"] or {}).get("critics") or {}
    found = []
    for kind in JUDGED:
        by_critic: dict[str, list[Mapping[str, Any]]] = {}
        for row in rows:
            if row["run_id"] == run["run_id"] and row["subject_kind"] == kind:
                by_critic.setdefault(row["critic"], []).append(row)
        named = critics.get(kind)
        if not by_critic and named != []:
            continue
        at_least = critics.get("min_auc")
        decides = next(
            (
                name
                for name in preferred(sorted(by_critic) if named is None else named)
                if _passes(by_critic.get(name), at_least)
            ),
            None,
        )
        natural = {
            row["part"]: {"auc": row["auc"], **accepted}
            for row in by_critic.get(decides or "", ())
            if (accepted := json.loads(row["accepted"] or "{}")).get("natural")
        }
        part = next((name for name in (*FRESH, "own") if name in natural), None)
        found.append({"kind": kind, "critic": decides, "part": part, **natural.get(part or "", {})})
    return found


def _passes(parts: Sequence[Mapping[str, Any]] | None, at_least: float | None) -> bool:
    """Whether every part reaches the AUC that the run asks for now; where it says none, what the audit decided."""
    if at_least is None:
        return bool(parts) and all(row["may_filter"] for row in parts or ())
    return bool(parts) and all((row["auc"] or 0.0) >= at_least for row in parts or ())
