"""Preference pairs out of the store: their columns, the lock on held-out instructions, and the card's words on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from store.errors import StoreError
from store.query import Query, Row

TEXT, REAL, WHOLE = pa.string(), pa.float64(), pa.int64()


def named(kind: Any, *names: str) -> list[tuple[str, Any]]:
    """Columns of one type."""
    return [(name, kind) for name in names]


# prompt, chosen and rejected are TRL's preference format with the prompt apart; the rest says where a pair comes from.
PAIRS = pa.schema(
    [
        *named(TEXT, "prompt", "chosen", "rejected", "instruction", "split", "source", "detail", "principle_id"),
        ("question", TEXT),
        *named(REAL, "margin_nats", "margin_in_front", "margin_behind", "preference"),
        *named(WHOLE, "chosen_tokens", "rejected_tokens"),
        *named(TEXT, "pair_id", "chosen_id", "rejected_id", "instruction_id", "verdict", "basis"),
        ("flags", pa.list_(TEXT)),
    ]
)
REVISIONS = pa.schema(
    [
        *named(TEXT, "prompt", "completion", "instruction", "split", "original", "critique", "response"),
        ("principle_id", TEXT),
        ("round", WHOLE),
        *named(TEXT, "revision_id", "parent_id", "sample_id", "instruction_id", "verdict", "basis"),
        ("flags", pa.list_(TEXT)),
        ("reason", TEXT),
    ]
)

BY_PRINCIPLE = """
    SELECT r.principle_id, count(*) AS drawn, count(*) FILTER (v.verdict = 'accepted') AS kept
    FROM revisions r
    LEFT JOIN verdicts v ON v.run_id = r.run_id AND v.subject_kind = 'revision' AND v.subject_id = r.revision_id
    WHERE r.run_id = $1 GROUP BY 1 ORDER BY 1
"""
PAIR_ROWS = """
    SELECT p.* EXCLUDE (run_id, ordinal), i.text AS instruction, i.split, v.verdict, v.basis,
           coalesce(v.flags, []) AS flags
    FROM pairs p
    JOIN instructions i ON i.run_id = p.run_id AND i.instruction_id = p.instruction_id
    LEFT JOIN verdicts v ON v.run_id = p.run_id AND v.subject_kind = 'pair' AND v.subject_id = p.pair_id
    WHERE p.run_id = $1 AND ($2 IS NULL OR list_contains($2::VARCHAR[], v.verdict))
    ORDER BY p.ordinal, p.pair_id
"""
REVISION_ROWS = """
    SELECT r.revision_id, r.parent_id, r.sample_id, r.instruction_id, r.round, r.principle_id, r.critique, r.response,
           i.text AS instruction, i.split, coalesce(b.response, s.response) AS original, v.verdict, v.basis,
           coalesce(v.flags, []) AS flags, v.reason
    FROM revisions r
    JOIN instructions i ON i.run_id = r.run_id AND i.instruction_id = r.instruction_id
    LEFT JOIN revisions b ON b.run_id = r.run_id AND b.revision_id = r.parent_id
    LEFT JOIN samples s ON s.run_id = r.run_id AND s.sample_id = r.parent_id
    LEFT JOIN verdicts v ON v.run_id = r.run_id AND v.subject_kind = 'revision' AND v.subject_id = r.revision_id
    WHERE r.run_id = $1 AND ($2 IS NULL OR list_contains($2::VARCHAR[], v.verdict))
    ORDER BY r.ordinal, r.sample_id, r.round
"""


def require_training_split(rows: Sequence[Row], what: str) -> None:
    """Raise StoreError where a row is of an instruction outside the training split: no option opens that lock."""
    outside = [row for row in rows if row["split"] != "train"]
    if outside:
        key = "pair_id" if what == "pairs" else "revision_id"
        raise StoreError(
            f"{len(outside)} of the {what} are of instructions outside the training split, such as {outside[0][key]}",
            "Nothing was written: training on held-out instructions would void the evaluation. Look at them with "
            "SELECT * FROM pairs JOIN instructions USING (run_id, instruction_id) WHERE split != 'train'.",
        )


def sources(reader: Query, run_id: str) -> list[Row]:
    """By source: pairs, kept ones, and of those the share with the chosen side longer, mean margin and preference."""
    return reader.query(
        """
        SELECT p.source, count(*) AS pairs, count(*) FILTER (v.verdict = 'accepted') AS kept,
               avg((p.chosen_tokens > p.rejected_tokens)::INT) FILTER (v.verdict = 'accepted') AS chosen_longer,
               avg(p.chosen_tokens - p.rejected_tokens) FILTER (v.verdict = 'accepted') AS longer_by_tokens,
               avg(p.margin_nats) FILTER (v.verdict = 'accepted') AS margin_nats,
               avg(p.preference) FILTER (v.verdict = 'accepted') AS preference,
               count(*) FILTER (v.verdict = 'accepted' AND v.basis = 'critic') AS by_critic
        FROM pairs p
        LEFT JOIN verdicts v ON v.run_id = p.run_id AND v.subject_kind = 'pair' AND v.subject_id = p.pair_id
        WHERE p.run_id = ? GROUP BY 1 ORDER BY 1
        """,
        [run_id],
    )


def describe(reader: Query, run: Mapping[str, Any]) -> list[tuple[object, ...]]:
    """The card's table of sources, a row each."""
    means = ("chosen_longer", "longer_by_tokens", "margin_nats", "preference")
    return [
        (
            *(row[name] for name in ("source", "pairs", "kept", "by_critic")),
            *("none" if row[name] is None else f"{row[name]:.3g}" for name in means),
        )
        for row in sources(reader, run["run_id"])
    ]


SOURCE_COLUMNS = (
    "source", "pairs", "kept", "of those by an audited critic", "chosen side longer", "tokens longer",
    "mean margin, nats", "mean preference",
)  # fmt: skip
