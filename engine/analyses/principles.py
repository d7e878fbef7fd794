"""What each principle did to a run: how often it was drawn, what it was said about, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from engine.critics.pair import by_order, reads_question
from engine.quality.pair_selection import deciding_critic, served_critics
from engine.quality.revision_rules import names_something
from engine.spec.constitution import Constitution, load_constitution
from engine.stats.intervals import mean_interval
from engine.stats.shares import wilson
from store.read import Reader

_REVISIONS = """
    SELECT r.principle_id, r.critique, i.text AS instruction, coalesce(b.response, s.response) AS original,
           v.verdict = 'accepted' AS kept, coalesce(v.flags, []) AS flags, j.margin_nats, j.parts
    FROM revisions r
    JOIN instructions i ON i.run_id = r.run_id AND i.instruction_id = r.instruction_id
    LEFT JOIN revisions b ON b.run_id = r.run_id AND b.revision_id = r.parent_id
    LEFT JOIN samples s ON s.run_id = r.run_id AND s.sample_id = r.parent_id
    JOIN verdicts v ON v.run_id = r.run_id AND v.subject_kind = 'revision' AND v.subject_id = r.revision_id
    LEFT JOIN judgements j ON j.run_id = r.run_id AND j.subject_kind = 'revision' AND j.subject_id = r.revision_id
        AND j.critic = ?
    WHERE r.run_id = ? ORDER BY r.principle_id, r.revision_id
"""
_PAIRS = """
    SELECT p.principle_id, count(*) AS pairs, count(*) FILTER (v.verdict = 'accepted') AS kept
    FROM pairs p
    LEFT JOIN verdicts v ON v.run_id = p.run_id AND v.subject_kind = 'pair' AND v.subject_id = p.pair_id
    WHERE p.run_id = ? AND p.principle_id IS NOT NULL AND (p.source = 'revision' OR ?) GROUP BY 1
"""


def evidence(reader: Reader, run_id: str, constitution: Constitution | None = None) -> list[dict[str, Any]]:
    """One row a principle, in the constitution's order.

    drawn; named and kept with their Wilson intervals (`named_lo` ...), of those drawn: critiques that use a word of the
    response that nobody gave them, and revisions that were kept; by_rule and one_order, revisions that a rule stopped
    and those that a comparison preferred in one order only; margin_nats with a bootstrap interval of its mean, of the
    first pair critic, over the `compared` revisions that it was asked about; pairs and pairs_kept, of its revisions
    and, where the critic that decides reads the principle's question, of Best-of-N. Principles that the constitution no
    longer has come last.
    """
    constitution = constitution or load_constitution()
    settings = reader.run(run_id)["settings"]
    section = settings.get("critics") or {}
    critics = section.get("pair") or ["compare"]
    counts = reads_question(deciding_critic(reader, run_id, section), critics)
    by_principle: dict[str, list[dict[str, Any]]] = {}
    for row in reader.query(_REVISIONS, [served_critics(reader, run_id, critics)[0], run_id]):
        by_principle.setdefault(row["principle_id"], []).append(row)
    pairs = {row["principle_id"]: row for row in reader.query(_PAIRS, [run_id, counts])}
    unknown = sorted((by_principle.keys() | pairs.keys()) - constitution.by_id.keys())
    found = []
    for name in [*constitution.by_id, *unknown]:
        principle = constitution.by_id.get(name)
        request = principle.critique_request if principle else ""
        row = _row(by_principle.get(name, []), request)
        row |= {"pairs": 0, "pairs_kept": 0}
        if name in pairs:
            row |= {"pairs": pairs[name]["pairs"], "pairs_kept": pairs[name]["kept"]}
        found.append({"principle_id": name, "category": principle.category if principle else "unknown", **row})
    return found


def _row(revisions: Sequence[dict[str, Any]], request: str) -> dict[str, Any]:
    n = len(revisions)
    named = sum(names_something(r["critique"], r["instruction"], r["original"] or "", request) for r in revisions)
    kept = sum(bool(r["kept"]) for r in revisions)
    worse = [r for r in revisions if r["flags"] and set(r["flags"]) <= {"worse", "no_marker"}]
    orders = [by_order(json.loads(r["parts"])) for r in worse if r["parts"]]
    margins = [r["margin_nats"] for r in revisions if r["margin_nats"] is not None]
    mean, lo, hi = mean_interval(margins) if margins else (None, None, None)
    found: dict[str, Any] = {"drawn": n, "named": named, "kept": kept}
    for name, k in (("named", named), ("kept", kept)):
        found[f"{name}_lo"], found[f"{name}_hi"] = wilson(k, n)
    one_order = sum(found is not None and min(found) <= 0 < max(found) for found in orders)
    return found | {
        "by_rule": n - kept - len(worse),
        "one_order": one_order,
        "compared": len(margins),
        "margin_nats": mean,
        "margin_lo": lo,
        "margin_hi": hi,
    }
