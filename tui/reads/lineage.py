"""Where a sample comes from and what it leads to, as a list of steps, each with the rows that prove it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tui.reads.run import seeds_of

if TYPE_CHECKING:
    from store.read import Reader

NEAR_SHOWN = 5
SIBLINGS_SHOWN = 8
OFFSPRING_SHOWN = 24  # revisions, candidates and pairs, of each


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
    """From the seeds that were shown to the model, over the instruction and its judges, to the sample and its pairs."""
    sample = reader.sample(run_id, sample_id)
    instruction = sample["instruction_row"] or {}
    steps = [*_seeds(reader, run_id, instruction), *_written(reader, instruction, sample)]
    steps += _judged("instruction", sample["instruction_judgements"], reader)
    steps += _answered(sample)
    steps += _judged("sample", sample["judgements"], reader)
    if sample["verdict"]:
        flags = ", ".join(sample["flags"]) or "none"
        facts = (("by", str(sample["basis"])), ("flags", flags), ("reason", str(sample["reason"])))
        steps.append(Step("verdict", f"verdict: {sample['verdict']}", str(sample["reason"]), facts))
    if sample["person_label"]:
        label = sample["person_label"]
        about = (("at", str(label["at"])),)
        steps.append(Step("label", f"your label: {label['label']}", label["note"] or "(no note)", about))
    steps += [*_revised(reader, run_id, sample), *_candidates(reader, run_id, sample), *_paired(reader, run_id, sample)]
    steps += _siblings(reader, run_id, sample)
    return Lineage(sample_id, steps)


def _seeds(reader: Reader, run_id: str, instruction: dict[str, Any]) -> list[Step]:
    known = seeds_of(reader, run_id)
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
        title = f"list that it was written in, line {instruction['line'] + 1}"
        text = f"{completion['prompt']}⟪{completion['text']}⟫"
        steps.append(Step("request", title, text, _request_facts(completion)))
    facts: tuple[tuple[str, str], ...] = (
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
    prompt = sample["prompt"] or ""
    facts = _request_facts({**sample, "session_id": "–"}) if sample["prompt"] is not None else ()
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


def _revised(reader: Reader, run_id: str, sample: dict[str, Any]) -> list[Step]:
    """Each round's critique and what was written after it, against the text that it revises."""
    rows = reader.query(
        "SELECT t.*, p.response AS before, v.verdict, v.flags, v.reason FROM revisions t "
        "LEFT JOIN revisions p ON p.run_id = t.run_id AND p.revision_id = t.parent_id "
        "LEFT JOIN verdicts v ON v.run_id = t.run_id AND v.subject_kind = 'revision' AND v.subject_id = t.revision_id "
        f"WHERE t.run_id = ? AND t.sample_id = ? ORDER BY t.round, t.revision_id LIMIT {OFFSPRING_SHOWN}",
        [run_id, sample["sample_id"]],
    )
    steps = []
    for row in rows:
        about = (("principle", row["principle_id"]), ("round", str(row["round"])))
        asked = (("request", row["critique_request_id"]), ("tokens", str(row["n_critique_tokens"])))
        steps.append(Step("critique", f"critique by {row['principle_id']}", row["critique"], (*about, *asked)))
        made = (("revises", row["parent_id"]), ("request", row["request_id"]), ("id", row["revision_id"]))
        title = f"revision {row['round']}: {row['verdict'] or 'not decided'}"
        before = row["before"] if row["before"] is not None else sample["response"]
        steps.append(Step("revision", title, row["response"], (*about, *_decided(row), *made), before=before))
    return steps


def _candidates(reader: Reader, run_id: str, sample: dict[str, Any]) -> list[Step]:
    """What was drawn beside the sample; one that was made from its response stands against that."""
    rows = reader.query(
        "SELECT t.*, v.verdict, v.flags, v.reason FROM candidates t LEFT JOIN verdicts v "
        "ON v.run_id = t.run_id AND v.subject_kind = 'candidate' AND v.subject_id = t.candidate_id "
        f"WHERE t.run_id = ? AND t.sample_id = ? ORDER BY t.source, t.number LIMIT {OFFSPRING_SHOWN}",
        [run_id, sample["sample_id"]],
    )
    steps = []
    for row in rows:
        drawn = row["source"] == "best_of"
        name = f"drawn again, number {row['number']}" if drawn else f"made worse: {row['source'].replace('_', ' ')}"
        said = _decided(row) if row["verdict"] else ()
        facts = (
            *said,
            *((("changed", row["detail"]),) if row["detail"] else ()),
            ("tokens", str(row["n_tokens"])),
            ("request", row["request_id"] or "–"),
            ("id", row["candidate_id"]),
        )
        title = f"{name}: {row['verdict']}" if row["verdict"] else name
        before = None if drawn or row["source"] == "unwarranted_refusal" else sample["response"]
        steps.append(Step("candidate", title, row["response"], facts, before=before))
    return steps


def _paired(reader: Reader, run_id: str, sample: dict[str, Any]) -> list[Step]:
    """The pairs in which the sample stands, or a revision of it, or a candidate drawn beside it."""
    rows = reader.query(
        "WITH own AS (SELECT $2 AS id, 'the sample' AS what "
        "UNION ALL SELECT revision_id, 'its revision' FROM revisions WHERE run_id = $1 AND sample_id = $2 "
        "UNION ALL SELECT candidate_id, 'its candidate' FROM candidates WHERE run_id = $1 AND sample_id = $2) "
        "SELECT t.*, c.what AS chosen_what, r.what AS rejected_what, v.verdict, v.flags, v.reason FROM pairs t "
        "LEFT JOIN own c ON c.id = t.chosen_id LEFT JOIN own r ON r.id = t.rejected_id "
        "LEFT JOIN verdicts v ON v.run_id = t.run_id AND v.subject_kind = 'pair' AND v.subject_id = t.pair_id "
        "WHERE t.run_id = $1 AND (c.id IS NOT NULL OR r.id IS NOT NULL) "
        f"ORDER BY t.source, t.pair_id LIMIT {OFFSPRING_SHOWN}",
        [run_id, sample["sample_id"]],
    )
    steps = []
    for row in rows:
        source = " · ".join(part.replace("_", " ") for part in (row["source"], row["detail"]) if part)
        facts = (
            ("source", source),
            ("chosen", f"{row['chosen_what'] or 'another response'} ({row['chosen_id']})"),
            ("rejected", f"{row['rejected_what'] or 'another response'} ({row['rejected_id']})"),
            ("question", row["question"]),
            ("margin", _margin(row)),
            *_decided(row),
            ("id", row["pair_id"]),
        )
        text = f"chosen: {row['chosen']}\n\nrejected: {row['rejected']}"
        title = f"pair, {row['source'].replace('_', ' ')}: {row['verdict'] or 'not decided'}"
        steps.append(Step("pair", title, text, facts))
    return steps


def _margin(row: dict[str, Any]) -> str:
    if row["margin_nats"] is None:
        return "–"
    both = (row["margin_in_front"], row["margin_behind"])
    orders = "" if None in both else f", {both[0]:+.3f} in front, {both[1]:+.3f} behind"
    return f"{row['margin_nats']:+.3f} nats{orders}"


def _decided(row: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return (
        ("verdict", str(row["verdict"] or "–")),
        ("flags", ", ".join(row["flags"] or ()) or "none"),
        ("reason", str(row["reason"] or "–")),
    )
