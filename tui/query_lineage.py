"""Where a sample comes from and what it leads to, as a list of steps, each with the rows that prove it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from store import Reader

NEAR_SHOWN = 5
SIBLINGS_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Step:
    """One row of the store on the way. `before` is what `text` is compared with; `sample_id` can be gone to."""

    kind: str
    title: str
    text: str
    facts: tuple[tuple[str, str], ...] = ()
    before: str | None = None
    sample_id: str = ""


@dataclass(frozen=True, slots=True)
class Lineage:
    sample_id: str
    steps: list[Step] = field(default_factory=list)


def lineage(reader: Reader, run_id: str, sample_id: str) -> Lineage:
    """From the seeds that were shown to the model, over the instruction and its judges, to the sample and beyond."""
    sample = reader.sample(run_id, sample_id)
    instruction = sample["instruction_row"] or {}
    steps = [*_seeds(instruction), *_written(reader, instruction, sample)]
    steps += _judged("instruction", sample["instruction_judgements"], reader)
    steps += _answered(sample)
    steps += _judged("sample", sample["judgements"], reader)
    if sample["verdict"]:
        flags = ", ".join(sample["flags"]) or "none"
        facts = (("by", str(sample["basis"])), ("flags", flags), ("reason", str(sample["reason"])))
        steps.append(Step("verdict", f"verdict: {sample['verdict']}", str(sample["reason"]), facts))
    if sample["person_label"]:
        label = sample["person_label"]
        steps.append(
            Step("label", f"your label: {label['label']}", label["note"] or "(no note)", (("at", str(label["at"])),))
        )
    steps += _siblings(reader, run_id, sample)
    return Lineage(sample_id, steps)


def _seeds(instruction: dict[str, Any]) -> list[Step]:
    from engine.critics import read_data

    known = {row["id"]: row for row in read_data("seeds")}
    found = []
    for name in instruction.get("seed_ids") or ():
        seed = known.get(name)
        text = seed["text"] if seed else "(an instruction of this run, or of another version of the seeds)"
        found.append(Step("seed", f"seed {name}", text, (("topic", seed["topic"]),) if seed else ()))
    return found


def _written(reader: Reader, instruction: dict[str, Any], sample: dict[str, Any]) -> list[Step]:
    if not instruction:
        return []
    steps = []
    completion = reader.completions([instruction["request_id"]]).get(instruction["request_id"])
    if completion:
        steps.append(
            Step(
                "request",
                f"list that it was written in, line {instruction['line'] + 1}",
                f"{completion['prompt']}⟪{completion['text']}⟫",
                _request_facts(completion),
            )
        )
    facts = (
        ("status", str(instruction["status"])),
        ("split", str(instruction["split"] or "–")),
        ("topic", str(instruction["topic"])),
        ("cluster", str(instruction["cluster_id"] or "–")),
        ("similarity", "–" if instruction["similarity"] is None else f"{instruction['similarity']:.3f} to the nearest"),
        ("id", str(instruction["instruction_id"])),
    )
    steps.append(Step("instruction", f"instruction {instruction['ordinal']}", instruction["text"], facts))
    near = reader.query(
        "SELECT instruction_id, text, similarity FROM instructions WHERE run_id = ? AND duplicate_of = ? "
        f"ORDER BY similarity DESC, ordinal LIMIT {NEAR_SHOWN}",
        [instruction["run_id"], instruction["instruction_id"]],
    )
    for row in near:
        facts = (("similarity", f"{row['similarity']:.3f}"), ("id", str(row["instruction_id"])))
        steps.append(Step("duplicate", "near-duplicate, left out", row["text"], facts, before=str(instruction["text"])))
    return steps


def _request_facts(completion: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    decoding = completion["decoding"] or {}
    settings = ", ".join(f"{name} {value}" for name, value in decoding.items() if not isinstance(value, (dict, list)))
    return (
        ("request", str(completion["request_id"])),
        ("seed", str(completion["seed"])),
        ("decoding", settings),
        ("tokens", f"{completion['n_prompt_tokens']} in, {completion['n_tokens']} out"),
        ("model", str(completion["fingerprint"])),
        ("session", str(completion["session_id"])),
        ("at", str(completion["created_at"])),
    )


def _judged(kind: str, judgements: Sequence[dict[str, Any]], reader: Reader) -> list[Step]:
    steps = []
    for item in judgements:
        asked = [part["request_id"] for part in item["parts"] or () if part.get("request_id")]
        prompts = reader.scores(asked[:1])
        prompt = next(iter(prompts.values()))["prompt"] if prompts else "(a rule: no model was asked)"
        word = "filters" if item["audited"] else "unaudited, filters nothing"
        facts = (
            ("score", f"{item['score']:+.3f} ({word})"),
            ("margin", f"{item['margin_nats']:+.3f} nats"),
            ("calls", str(len(asked))),
            ("request", asked[0] if asked else "–"),
        )
        steps.append(Step("judgement", f"{item['critic']} on the {kind}: {item['score']:+.2f}", prompt, facts))
    return steps


def _answered(sample: dict[str, Any]) -> list[Step]:
    completion = {**sample, "session_id": "–"}
    prompt = sample["prompt"] or ""
    facts = _request_facts(completion) if sample["prompt"] is not None else ()
    trimmed = ", ".join(sorted({str(span["rule"]) for span in sample["trimmed"]})) or "nothing"
    ended = (("ended by", str(sample["stop_reason"])), ("trimmed by", trimmed))
    return [
        Step("request", "prompt of the response", f"{prompt}⟪{sample['raw']}⟫", facts),
        Step("response", f"sample {sample['ordinal']}", sample["response"], ended, before=sample["raw"]),
    ]


def _siblings(reader: Reader, run_id: str, sample: dict[str, Any]) -> list[Step]:
    rows = reader.query(
        "SELECT sample_id, ordinal, response FROM samples WHERE run_id = ? AND instruction_id = ? AND sample_id != ? "
        f"ORDER BY ordinal LIMIT {SIBLINGS_SHOWN}",
        [run_id, sample["instruction_id"], sample["sample_id"]],
    )
    return [
        Step("sibling", f"other answer: sample {row['ordinal']}", row["response"], sample_id=row["sample_id"])
        for row in rows
    ]
