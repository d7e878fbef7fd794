"""Revisions: each accepted sample of the training split is criticised by a principle and written again.

Rounds follow each other: round two criticises what round one left, which is its revision where that was kept and the
text before it where it was not. A revision is kept only where no rule speaks against it and every pair critic prefers
it to what it revises, the comparison of letters in both orders.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from engine.core.data import read_data
from engine.core.events import PhaseProgressed
from engine.critics import Judgement, Subject
from engine.critics.audit import Calibrated
from engine.critics.pair import by_order
from engine.models.requests import Completion, Decoding, Generate
from engine.phases.judgements import judge_and_decide
from engine.phases.work import Work
from engine.quality.gates import Decision, verdict_row
from engine.quality.revision_rules import BLOCKING, REVISION_RULES, revision_flags
from engine.quality.rules import RULES
from engine.spec import prompts
from engine.spec.constitution import Principle
from engine.spec.provenance import derived_seed, short_hash
from engine.spec.sections import RevisionsSpec
from store import progress

PHASE = "revisions"
WAVE = 256  # samples whose critiques are asked for before their revisions

_ELIGIBLE = """
    SELECT s.sample_id, s.ordinal, s.instruction_id, i.text AS instruction, s.response, s.n_tokens
    FROM samples s
    JOIN instructions i ON i.run_id = s.run_id AND i.instruction_id = s.instruction_id
    JOIN verdicts v ON v.run_id = s.run_id AND v.subject_kind = 'sample' AND v.subject_id = s.sample_id
    WHERE s.run_id = ? AND v.verdict = 'accepted' AND i.split = 'train'
    ORDER BY s.ordinal, s.sample_id
"""
_REVISED = """
    SELECT r.*, v.verdict FROM revisions r
    LEFT JOIN verdicts v ON v.run_id = r.run_id AND v.subject_kind = 'revision' AND v.subject_id = r.revision_id
    WHERE r.run_id = ? ORDER BY r.round, r.ordinal, r.sample_id
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """A text to be criticised and revised by a principle; the seeds belong to `key`."""

    key: str
    instruction: str
    before: str
    principle: Mapping[str, str]  # text, critique_request and revision_request


@dataclass(frozen=True, slots=True)
class Revised:
    """What the model said to it."""

    asked: Asked
    critique_request_id: str
    critique: str
    n_critique_tokens: int
    request_id: str
    completion: Completion


def eligible(work: Work) -> list[dict[str, Any]]:
    """Accepted samples of the training split, in order: only they are revised and paired."""
    return work.reader.query(_ELIGIBLE, [work.run_id])


def revise(work: Work, critics: Sequence[Calibrated]) -> tuple[int, int]:
    """All rounds over what is eligible; returns how many revisions there are and how many were kept."""
    spec = work.spec.revisions
    assert spec is not None and work.constitution is not None
    samples = eligible(work)
    planned = len(samples) * spec.rounds
    for round_ in range(1, spec.rounds + 1):
        rows = work.reader.query(_REVISED, [work.run_id])
        given = {row["sample_id"]: row["principle_id"] for row in rows if row["round"] == round_}
        barred: dict[str, set[str]] = {}
        current: dict[str, tuple[str, str]] = {s["sample_id"]: (s["sample_id"], s["response"]) for s in samples}
        for row in rows:
            if row["round"] < round_:
                barred.setdefault(row["sample_id"], set()).add(row["principle_id"])
                if row["verdict"] == "accepted":
                    current[row["sample_id"]] = (row["revision_id"], row["response"])
        names = [sample["sample_id"] for sample in samples]
        principles = work.constitution.allot(work.seed, round_, names, given, barred)
        missing = [sample for sample in samples if sample["sample_id"] not in given]
        for wave in _waves(missing):
            _write(work, spec, round_, wave, current, principles)
            _progress(work, planned)
        _judge(work, spec, critics, planned)
    return _progress(work, planned)


def _write(
    work: Work,
    spec: RevisionsSpec,
    round_: int,
    samples: Sequence[Mapping[str, Any]],
    current: Mapping[str, tuple[str, str]],
    principles: Mapping[str, str],
) -> None:
    by_id = work.constitution.by_id  # type: ignore[union-attr]
    asked = []
    for sample in samples:
        name = sample["sample_id"]
        principle = by_id[principles[name]]
        key = f"{name}\x1f{round_}\x1f{principle.id}"
        asked.append(Asked(key, sample["instruction"], current[name][1], asdict(principle)))
    of = {asked.key: sample for asked, sample in zip(asked, samples, strict=True)}
    rows = []
    for found in write(work, spec, asked):
        sample = of[found.asked.key]
        name = sample["sample_id"]
        kept, trims = prompts.clean_response(found.completion.text, sample["instruction"])
        rows.append(
            {
                "run_id": work.run_id,
                "revision_id": f"r-{short_hash(name, round_, found.request_id)}",
                "ordinal": sample["ordinal"],
                "sample_id": name,
                "instruction_id": sample["instruction_id"],
                "round": round_,
                "parent_id": current[name][0],
                "principle_id": principles[name],
                "critique_request_id": found.critique_request_id,
                "critique": found.critique,
                "n_critique_tokens": found.n_critique_tokens,
                "request_id": found.request_id,
                "raw": found.completion.text,
                "response": kept,
                "trimmed": [asdict(trim) for trim in trims],
                "stop_reason": found.completion.stop_reason,
                "n_tokens": len(found.completion.token_ids),
            }
        )
    work.store.append({"revisions": rows})


def write(work: Work, spec: RevisionsSpec, asked: Sequence[Asked], but: str = "") -> Iterator[Revised]:
    """Critiques of all that is asked, then revisions; the seed of each belongs to its key.

    The solved example of the principle `but` is not shown.
    """
    examples = solved_examples(work, spec, but)
    decoding = (spec.temperature, spec.top_k, spec.top_p)
    critique_of: dict[Generate, tuple[Asked, prompts.Prompt]] = {}
    for one in asked:
        prompt = prompts.critique(examples, one.instruction, one.before, one.principle, spec.form)
        how = Decoding(spec.critique_tokens, *decoding, prompts.CRITIQUE_STOPS)
        seed = derived_seed(work.seed, "critique", one.key)
        critique_of[Generate(prompt.text, how, seed, prompt.shared)] = (one, prompt)
    revision_of: dict[Generate, tuple[Asked, str, str, int]] = {}
    for key, completion in work.answers.complete(critique_of):
        one, prompt = critique_of[completion.request]
        said = prompts.flat(completion.text)
        then = prompts.revision(prompt, said, one.principle, spec.form)
        how = Decoding(spec.revision_tokens, *decoding, prompts.REVISION_STOPS)
        request = Generate(then.text, how, derived_seed(work.seed, "revision", one.key), then.shared)
        revision_of[request] = (one, key, said, len(completion.token_ids))
    # In the order asked, not in that of the answers: what stands in a batch together is then the same after a restart.
    place = {one.key: at for at, one in enumerate(asked)}
    ordered = sorted(revision_of, key=lambda request: place[revision_of[request][0].key])
    for key, completion in work.answers.complete(ordered):
        one, critique_id, said, n_tokens = revision_of[completion.request]
        yield Revised(one, critique_id, said, n_tokens, key, completion)


def solved_examples(work: Work, spec: RevisionsSpec, but: str = "") -> list[dict[str, str]]:
    """The shipped critiques and revisions with the requests of their principles, as the constitution words them.

    That of the principle `but` is left out, and the next one takes its place.
    """
    by_id = work.constitution.by_id  # type: ignore[union-attr]
    rows = [row for row in read_data("critique_examples") if row["principle_id"] in by_id.keys() - {but}]
    return [{**row, **asdict(by_id[row["principle_id"]])} for row in rows[: spec.examples]]


def shown_texts(examples: Sequence[Mapping[str, str]]) -> list[str]:
    """What a copied revision could be copied from."""
    return [row[name] for row in examples for name in ("response", "revision", "critique")]


def flags_of_revision(work: Work, asked: Asked, raw: str, after: str, stop_reason: str, but: str = "") -> list[str]:
    """The rules that fire on a revision, under the run's settings; `but` as in `write`."""
    spec = work.spec.revisions
    assert spec is not None
    shown = shown_texts(solved_examples(work, spec, but))
    told = [asked.principle[name] for name in ("text", "critique_request", "revision_request")]
    return revision_flags(asked.instruction, asked.before, raw, after, stop_reason, shown, told, spec, work.spec.rules)


def preferred(found: Sequence[Judgement], keep_margin_nats: float) -> tuple[bool, str]:
    """Whether every pair critic prefers the revision, and what was said: the letters in both orders by the margin."""
    said, kept = [], True
    for judgement in found:
        if judgement.critic == "mean":
            continue
        orders = by_order(judgement.parts)
        if orders is not None:
            kept = kept and min(orders) > keep_margin_nats
            said.append(f"{judgement.critic} {orders[0]:+.2f} in front, {orders[1]:+.2f} behind")
        else:
            kept = kept and judgement.margin_nats > 0
            said.append(f"{judgement.critic} {judgement.margin_nats:+.2f}")
    return kept, "; ".join(said)


def _judge(work: Work, spec: RevisionsSpec, critics: Sequence[Calibrated], planned: int) -> None:
    """Judge the revisions that have no verdict yet."""
    texts = {s["sample_id"]: (s["instruction"], s["response"]) for s in eligible(work)}
    rows = work.reader.query(_REVISED, [work.run_id])
    after = {row["revision_id"]: row["response"] for row in rows}
    by_id = work.constitution.by_id  # type: ignore[union-attr]
    judge_by = "critic" if any(c.may_filter for c in critics) else "unaudited"
    pending = [row for row in rows if row["verdict"] is None and row["sample_id"] in texts]
    items: list[Subject] = []
    flags_by_id: dict[str, list[str]] = {}
    verdicts = []
    for row in pending:
        name = row["revision_id"]
        instruction, original = texts[row["sample_id"]]
        before = after.get(row["parent_id"], original)
        principle: Principle = by_id[row["principle_id"]]
        asked = Asked(name, instruction, before, asdict(principle))
        flags = flags_of_revision(work, asked, row["raw"], row["response"], row["stop_reason"])
        if {"unchanged", "empty"} & set(flags):  # nothing to compare
            verdicts.append(verdict_row(work.run_id, "revision", name, _decided(flags, False, "", judge_by)))
            continue
        items.append(Subject(name, instruction, row["response"], row["stop_reason"], before, principle.comparison))
        flags_by_id[name] = flags
    work.store.append({"verdicts": verdicts})

    def decision(found: Sequence[Judgement]) -> Decision:
        kept, said = preferred(found, spec.keep_margin_nats)
        return _decided(flags_by_id[found[0].item.key], kept, said, judge_by)

    for _ in judge_and_decide(work, "revision", critics, items, decision):
        _progress(work, planned)
    _progress(work, planned)


def _decided(flags: Sequence[str], kept: bool, said: str, judge_by: str) -> Decision:
    blocking = [flag for flag in flags if flag in BLOCKING]
    if blocking:
        known = RULES | REVISION_RULES
        why = "; ".join([*(known[flag] for flag in blocking), *([said] if said else [])])
        return Decision("rejected", "rules", tuple(flags), why)
    if kept:
        return Decision("accepted", judge_by, tuple(flags), f"preferred by every critic in both orders: {said}")
    why = f"worse: not preferred by every critic in both orders: {said}"
    return Decision("rejected", judge_by, (*flags, "worse"), why)


def _progress(work: Work, planned: int) -> tuple[int, int]:
    found = progress.verdicts(work.reader, work.run_id, "revision")
    done, kept = sum(found.values()), found.get("accepted", 0)
    work.emit(PhaseProgressed(work.run_id, PHASE, done, max(planned, done), kept))
    return done, kept


def _waves(rows: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    waiting = iter(rows)
    while wave := list(itertools.islice(waiting, WAVE)):
        yield wave
