"""What a model is trained on: rows of the store that passed their gate, with the ids that lead back to them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from engine.evaluation.items import ItemSet
from engine.evaluation.plan import own_items
from engine.quality.rules import BLOCKING
from engine.spec.provenance import short_hash
from engine.stats.similarity import NearDuplicateIndex, words
from engine.training.controls import at_random, by_length
from store.export import prompt_template
from store.names import CONTROL_TRAININGS, SUPERVISED
from store.read import Reader

# An accepted revision stands for its sample: the supervised phase learns the revised responses (Bai et al. 2022, arXiv
# 2212.08073, section 3.1).
_SFT = """
    SELECT coalesce(r.revision_id, s.sample_id) AS id, s.instruction_id, i.text AS instruction, i.split,
           coalesce(r.response, s.response) AS response
    FROM samples s
    JOIN instructions i ON i.run_id = s.run_id AND i.instruction_id = s.instruction_id
    JOIN verdicts v ON v.run_id = s.run_id AND v.subject_kind = 'sample' AND v.subject_id = s.sample_id
    LEFT JOIN (
        SELECT r.sample_id, arg_max(r.revision_id, r.round) AS revision_id, arg_max(r.response, r.round) AS response
        FROM revisions r
        JOIN verdicts v ON v.run_id = r.run_id AND v.subject_kind = 'revision' AND v.subject_id = r.revision_id
        WHERE r.run_id = $1 AND v.verdict = 'accepted' GROUP BY r.sample_id
    ) r ON r.sample_id = s.sample_id
    WHERE s.run_id = $1 AND v.verdict = 'accepted' AND i.split IN ('train', 'validation')
    ORDER BY s.ordinal, s.sample_id
"""
# What a control is drawn from: every response that was judged and that no rule of form speaks against.
_POOL = """
    SELECT s.sample_id AS id, s.instruction_id, i.text AS instruction, i.split, s.response,
           v.verdict = 'accepted' AS accepted
    FROM samples s
    JOIN instructions i ON i.run_id = s.run_id AND i.instruction_id = s.instruction_id
    JOIN verdicts v ON v.run_id = s.run_id AND v.subject_kind = 'sample' AND v.subject_id = s.sample_id
    WHERE s.run_id = $1 AND NOT list_has_any(v.flags, $2) AND i.split IN ('train', 'validation')
    ORDER BY s.ordinal, s.sample_id
"""
_PAIRS = """
    SELECT p.pair_id AS id, p.instruction_id, i.text AS instruction, i.split, p.chosen, p.rejected
    FROM pairs p
    JOIN instructions i ON i.run_id = p.run_id AND i.instruction_id = p.instruction_id
    JOIN verdicts v ON v.run_id = p.run_id AND v.subject_kind = 'pair' AND v.subject_id = p.pair_id
    WHERE p.run_id = $1 AND v.verdict = 'accepted'
    ORDER BY p.ordinal, p.pair_id
"""


@dataclass(frozen=True)
class Examples:
    """Rows with `id`, `prompt` and `completion`, or `chosen` and `rejected`; and the instructions behind them.

    `left_out` are ids of instructions that the evaluation asks, too, or nearly: nothing of theirs is in the rows.
    """

    train: list[dict[str, str]]
    heldout: list[dict[str, str]]
    instructions: Mapping[str, tuple[str, str | None]]  # by instruction id: text and split
    of: Mapping[str, str]  # instruction id by example id
    left_out: tuple[str, ...] = ()
    drawn: str = ""  # of a control: how its examples were chosen
    contrast: int = 0  # of a control: how many of them were not accepted

    @property
    def sha256(self) -> str:
        """Of every text in its order."""
        digest = hashlib.sha256()
        for rows in (self.train, self.heldout):
            for row in rows:
                digest.update(json.dumps(row, sort_keys=True, ensure_ascii=True).encode())
            digest.update(b"|")
        return digest.hexdigest()

    @property
    def empty(self) -> list[str]:
        """Ids of examples with a side that has no text."""
        sides = ("completion", "chosen", "rejected")
        return [
            row["id"] for row in (*self.train, *self.heldout) if any(s in row and not row[s].strip() for s in sides)
        ]


def examples(reader: Reader, run: Mapping[str, Any], method: str, heldout_share: float) -> Examples:
    """The examples of a run for a method: held out is the validation split, of pairs a share of the instructions.

    Pairs exist for the training split only, so their held-out part is drawn from it by the hash of the instruction. A
    control has as many of both as SFT, drawn from the candidates; see engine.training.controls.
    """
    if method in CONTROL_TRAININGS:
        return _control(reader, run, method)
    rows = reader.query(_SFT if method == "sft" else _PAIRS, [run["run_id"]])
    return _of_rows(reader, run, method, heldout_share, rows)


def _control(reader: Reader, run: Mapping[str, Any], method: str) -> Examples:
    accepted = examples(reader, run, "sft", 0.0)
    rows = reader.query(_POOL, [run["run_id"], sorted(BLOCKING)])
    pool = _of_rows(reader, run, method, 0.0, rows)
    chosen: set[str] = set()
    for name, own, wanted in (("train", pool.train, accepted.train), ("heldout", pool.heldout, accepted.heldout)):
        sized = [(row["id"], len(row["completion"])) for row in own]
        if method == "sft_random":
            chosen |= at_random(sized, len(wanted), run["seed"], method, name)
        else:
            chosen |= by_length(sized, [len(row["completion"]) for row in wanted], run["seed"], method, name)
    train, heldout = ([row for row in part if row["id"] in chosen] for part in (pool.train, pool.heldout))
    passed = {row["id"] for row in rows if row["accepted"]}
    contrast = sum(row["id"] not in passed for row in train)
    told = (
        f"{len(train)} of {len(pool.train)} candidates that no rule of form speaks against, {contrast} of them not "
        f"accepted; median length {_median(train)} characters, of the accepted {_median(accepted.train)}"
    )
    of = {row["id"]: pool.of[row["id"]] for row in (*train, *heldout)}
    instructions = {name: pool.instructions[name] for name in of.values()}
    return Examples(train, heldout, instructions, of, pool.left_out, told, contrast)


def _median(rows: Sequence[Mapping[str, str]]) -> str:
    return f"{median(len(row['completion']) for row in rows):.0f}" if rows else "none"


def _of_rows(
    reader: Reader, run: Mapping[str, Any], method: str, heldout_share: float, rows: list[dict[str, Any]]
) -> Examples:
    """Rows of the store as examples, without those whose instruction the evaluation asks, too."""
    template = prompt_template(run["settings"])
    instructions = {row["instruction_id"]: row["instruction"] for row in rows}
    left_out = _evaluated(run["settings"], instructions, own_items(reader, run["run_id"]))
    rows = [row for row in rows if row["instruction_id"] not in left_out]
    train: list[dict[str, str]] = []
    heldout: list[dict[str, str]] = []
    for row in rows:
        example = {"id": row["id"], "prompt": template.replace("{instruction}", row["instruction"])}
        if method in SUPERVISED:
            example["completion"] = _spaced(row["response"])
            apart = row["split"] == "validation"
        else:
            example |= {"chosen": _spaced(row["chosen"]), "rejected": _spaced(row["rejected"])}
            apart = int(short_hash(run["run_id"], "heldout", row["instruction_id"]), 16) % 1000 < 1000 * heldout_share
        (heldout if apart else train).append(example)
    return Examples(
        train,
        heldout,
        {row["instruction_id"]: (row["instruction"], row["split"]) for row in rows},
        {row["id"]: row["instruction_id"] for row in rows},
        tuple(sorted(left_out)),
    )


def _evaluated(settings: Mapping[str, Any], instructions: Mapping[str, str], frozen: ItemSet) -> set[str]:
    """Ids of instructions that are held-out items of the evaluation, or as near to one as duplicates are.

    The last turn of a conversation is no item without those before it, so it is not looked at.
    """
    if settings.get("evaluation") is None or not instructions:
        return set()
    asked = [item.prompt for item in frozen.items if not item.history]
    return set(near(instructions, asked, settings["instructions"]["duplicate_at"]))


def near(instructions: Mapping[str, str], texts: Sequence[str], at_least: float) -> list[str]:
    """Ids of the instructions that are one of the texts, word for word or nearly (ROUGE-L)."""
    index = NearDuplicateIndex(at_least)
    for text in texts:
        index.add("", text)
    exact = {tuple(words(text)) for text in texts}
    return [name for name, text in instructions.items() if tuple(words(text)) in exact or index.nearest(text)]


def _spaced(text: str) -> str:
    return f" {text}" if text.strip() else ""
