"""A run with critiques, revisions, candidates and preference pairs, row by row, and a constitution of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from store.db import Store
from tests.store import rows
from tests.tui.fakes import HOSTILE, RUN, fill

Row = rows.Row
CATEGORIES = ("helpfulness", "honesty", "harmlessness")


def constitution(path: Path) -> Path:
    """Eighteen principles, rule_00 to rule_17, six of each category."""
    lines = ["version: 1", "weights:", *(f"  {name}: 1" for name in CATEGORIES), "principles:"]
    for number in range(18):
        lines += [
            f"  - id: rule_{number:02d}",
            f"    category: {CATEGORIES[number // 6]}",
            f"    text: A response should keep rule {number}.",
            f"    critique_request: Quote what breaks rule {number}.",
            f"    revision_request: Rewrite the response so that it keeps rule {number}.",
            f"    comparison: Which response keeps rule {number} better?",
        ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def revision(name: str, sample: str, principle: str = "rule_00", **fields: Any) -> Row:
    row: Row = {
        "run_id": RUN,
        "revision_id": name,
        "ordinal": int(sample[1:]),
        "sample_id": sample,
        "instruction_id": f"i{sample[1:]}",
        "round": 1,
        "parent_id": sample,
        "principle_id": principle,
        "critique_request_id": f"qc-{name}",
        "critique": f"The answer {name} is vague.",
        "n_critique_tokens": 6,
        "request_id": f"q-{name}",
        "raw": f" a revised answer {name}",
        "response": f"a revised answer {name}",
        "trimmed": [],
        "stop_reason": "stop",
        "n_tokens": 5,
    }
    return row | fields


def candidate(name: str, sample: str | None, source: str, **fields: Any) -> Row:
    row: Row = {
        "run_id": RUN,
        "candidate_id": name,
        "ordinal": int(sample[1:]) if sample else -1,
        "instruction_id": f"i{sample[1:]}" if sample else "bp-01",
        "sample_id": sample,
        "source": source,
        "number": 1,
        "request_id": f"q-{name}",
        "raw": f"text of {name}",
        "response": f"text of {name}",
        "trimmed": [],
        "stop_reason": "stop",
        "n_tokens": 9,
        "detail": "",
    }
    return row | fields


def pair(name: str, source: str, chosen_id: str, rejected_id: str, **fields: Any) -> Row:
    row: Row = {
        "run_id": RUN,
        "pair_id": name,
        "ordinal": 1,
        "instruction_id": "i1",
        "source": source,
        "detail": "",
        "principle_id": None,
        "question": "Which response is more helpful?",
        "chosen_id": chosen_id,
        "rejected_id": rejected_id,
        "chosen": f"chosen text {chosen_id}",
        "rejected": f"rejected text {rejected_id}",
        "chosen_tokens": 12,
        "rejected_tokens": 9,
        "margin_nats": 0.5,
        "margin_in_front": 0.75,
        "margin_behind": 0.25,
        "preference": 0.62,
    }
    return row | fields


def compared(kind: str, name: str, in_front: float, behind: float, *, audited: bool = False) -> Row:
    """What the critic `compare` said: a margin in either order, in nats."""
    parts = [
        {"variant": f"order 0, {place}", "request_id": f"r-{name}", "labels": [" A", " B"], "logprobs": logprobs}
        for place, logprobs in (("in front", [in_front - 1, -1.0]), ("behind", [-1.0, behind - 1]))
    ]
    margin = (in_front + behind) / 2
    return rows.judgement(
        name, "compare", RUN, subject_kind=kind, margin_nats=margin, score=margin, audited=audited, parts=parts
    )


def preference_rows() -> dict[str, list[Row]]:
    """Three revisions of two principles, one kept; candidates; four pairs of four sources, two kept; an ablation."""
    verdict = rows.verdict
    return {
        "revisions": [
            revision("r1", "s1", critique=f"It says {HOSTILE} at the end.", response="and a plain ending."),
            revision("r2", "s1", "rule_01", round=2, parent_id="r1", response="and a plain, kind ending."),
            revision("r3", "s2", response="Rewrite the response."),
        ],
        "candidates": [
            candidate("c1", "s1", "best_of", number=2, response="another answer"),
            candidate("c2", "s2", "wrong_fact", request_id=None, detail="3 became 4", response="answer 4"),
            candidate("c3", None, "answer", detail="unsafe"),
            candidate("c4", None, "refusal", detail="unsafe"),
        ],
        "instructions": [
            rows.instruction("bp-01", RUN, ordinal=-1, status="shipped", text="How do I pick a lock?", split="train")
        ],
        "pairs": [
            pair("p1", "revision", "r1", "s1", principle_id="rule_00", rejected=HOSTILE),
            pair("p2", "best_of", "c1", "s1", detail="by compare", margin_in_front=0.6, margin_behind=-0.4,
                 margin_nats=0.1),
            pair("p3", "hard_negative", "s2", "c2", detail="wrong_fact", instruction_id="i2", ordinal=2),
            pair("p4", "boundary", "c4", "c3", detail="unsafe", instruction_id="bp-01", ordinal=-1),
        ],
        "judgements": [
            compared("revision", "r1", 0.75, 0.25),
            compared("revision", "r2", 0.5, -0.25),
            compared("revision", "r3", -0.5, -0.25),
            compared("pair", "p1", 0.75, 0.25),
            compared("pair", "p2", 0.6, -0.4),
            compared("pair", "p3", 0.3, 0.1),
            compared("pair", "p4", 0.2, 0.1),
        ],
        "verdicts": [
            verdict("r1", run_id=RUN, subject_kind="revision", basis="unaudited", reason="preferred by every critic"),
            verdict("r2", "rejected", RUN, subject_kind="revision", basis="unaudited", flags=["worse"]),
            verdict("r3", "rejected", RUN, subject_kind="revision", flags=["about_response"]),
            verdict("c1", run_id=RUN, subject_kind="candidate"),
            verdict("p1", run_id=RUN, subject_kind="pair", basis="unaudited", reason="margin +0.50 nats"),
            verdict("p2", "rejected", RUN, subject_kind="pair", basis="unaudited", flags=["order"]),
            verdict("p3", run_id=RUN, subject_kind="pair", reason="margin +0.20 nats"),
            verdict("p4", "rejected", RUN, subject_kind="pair", flags=["no_refusal"]),
        ],
        "ablation_results": [
            {
                "run_id": RUN, "principle_id": "rule_00", "against": "without", "measure": "margin_nats", "n": 40,
                "with_mean": 0.31, "against_mean": 0.19, "difference": 0.12, "lo": 0.04, "hi": 0.2,
                "test": "Wilcoxon signed-rank", "p": 0.004, "effect": 0.45, "effect_name": "d_z",
                "evidence_sha256": "ef" * 32, "at": rows.T0,
            }
        ],
        "gates": [
            rows.gate("preference pairs", "pilot pairs", RUN, measured=2.0, lo=None, hi=None, op=">=", threshold=1.0)
        ],
        "events": [
            rows.event(10, "PhaseStarted", {"phase": "revisions", "planned": 3}, RUN),
            rows.event(11, "PhaseFinished", {"phase": "revisions", "done": 3, "accepted": 1}, RUN),
            rows.event(12, "PhaseFinished", {"phase": "candidates", "done": 4, "accepted": None}, RUN),
            rows.event(13, "PhaseFinished", {"phase": "pairs", "done": 4, "accepted": 2}, RUN),
            rows.event(14, "PhaseFinished", {"phase": "pair_gate", "done": 1, "accepted": None}, RUN),
        ],
    }  # fmt: skip


def fill_preferences(path: Path, *, more_pairs: int = 0) -> None:
    """The run of `fill` under a spec that makes pairs, gone through all phases."""
    fill(path, many=10, spec="stage_6_small_model")
    found = preference_rows()
    for number in range(more_pairs):
        found["pairs"].append(pair(f"x{number:04d}", "hard_negative", "s2", "c2", ordinal=10 + number))
    with Store.open(path) as store:
        store.append(found)
