"""What the critics' audits say of a run's data: the share of good ones among those that the run accepts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from store.names import AUDITED, FRESH, preferred
from store.query import Query, Row

JUDGED = ("instruction", "sample")


def good_among_accepted(reader: Query, run: Mapping[str, Any]) -> list[Row]:
    """By kind what its deciding critic's audit says of accepting as the run does, in the order of JUDGED.

    Each {kind, critic, part} with what the audit keeps as `accepted`: n labels, taken, share_taken, good, precision,
    lo, hi, recall. It is of the fresh part, else of the model's own by cross-validation: of one part, never of both.
    `critic` is None where rules alone accept, so that nothing is known; `part` is None where the critic decides but no
    part is as it fell. A kind that was not audited yet is left out.
    """
    critics = (run["settings"] or {}).get("critics") or {}
    rows = reader.query(
        "SELECT subject_kind, critic, part, auc, may_filter, detail->'$.accepted' AS accepted FROM audits "
        "WHERE run_id = ? AND part IN (SELECT unnest(?::VARCHAR[]))",
        [run["run_id"], list(AUDITED)],
    )
    found = []
    for kind in JUDGED:
        by_critic: dict[str, list[Row]] = {}
        for row in rows:
            if row["subject_kind"] == kind:
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
            row["part"]: accepted
            for row in by_critic.get(decides or "", ())
            if (accepted := json.loads(row["accepted"] or "{}")).get("natural")
        }
        part = next((name for name in (*FRESH, "own") if name in natural), None)
        found.append({"kind": kind, "critic": decides, "part": part, **natural.get(part or "", {})})
    return found


def _passes(parts: list[Row] | None, at_least: float | None) -> bool:
    """Whether every part reaches the AUC that the run asks for now; where it says none, what the audit decided."""
    if at_least is None:
        return bool(parts) and all(row["may_filter"] for row in parts or ())
    return bool(parts) and all((row["auc"] or 0.0) >= at_least for row in parts or ())
