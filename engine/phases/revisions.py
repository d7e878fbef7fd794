"""Revisions: each accepted sample of the training split is criticised by a principle and written again.

A sample's rounds follow each other: round two criticises what round one left, which is its revision where that was
kept and the text before it where it was not. A revision is kept only where no rule speaks against it and every pair
critic prefers it to what it revises, the comparison of letters in both orders.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from engine.core.data import read_data
from engine.critics import Judgement, Subject
from engine.critics.audit import Calibrated
from engine.critics.pair import by_order
from engine.models.answers import Answered
from engine.models.requests import Completion, Decoding, Generate
from engine.phases.flow import Lane, Request, Row, Tally
from engine.phases.judgements import deciding
from engine.phases.work import Work
from engine.quality.gates import Decision, verdict_row
from engine.quality.revision_rules import BLOCKING, REVISION_RULES, revision_flags
from engine.quality.rules import RULES
from engine.spec import prompts
from engine.spec.constitution import Constitution
from engine.spec.provenance import derived_seed, short_hash
from engine.spec.sections import RevisionsSpec
from store import progress

PHASE = "revisions"
WAVE = 256  # samples whose critiques are asked for before their revisions, where one waits for the other

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


class Revising:
    """The lanes of all rounds over what is eligible. A sample's next round begins when its last one was judged."""

    def __init__(self, work: Work, critics: Sequence[Calibrated], tally: Tally) -> None:
        assert work.spec.revisions is not None and work.constitution is not None
        self._work = work
        self._spec = spec = work.spec.revisions
        self._by_id = work.constitution.by_id
        self._tally = tally
        self._judge_by = "critic" if any(c.may_filter for c in critics) else "unaudited"
        self._samples = eligible(work)
        self._rows: dict[tuple[str, int], Row] = {}  # of an earlier session, by sample and round
        self._principles = self._allotted(work.constitution)
        self._current = {s["sample_id"]: (s["sample_id"], s["response"]) for s in self._samples}
        self._examples = solved_examples(work, spec)
        self._place: dict[str, int] = {}  # by key, in the order asked
        self._asked: dict[Request, tuple[Asked, Row]] = {}  # for critiques and revisions
        self._criticised: list[tuple[Asked, Row, str, str, int]] = []
        self._written: dict[Request, tuple[str, str, int]] = {}  # a revision's request: its critique
        self._critiques = Lane(tally, self._ask_critiques, self._take_critiques, burst=WAVE)
        self._revisions = Lane(tally, self._ask_revisions, self._take_revisions)
        self._judging = deciding(work, "revision", critics, tally, self._subject, self._decision, self._judged)
        self.lanes = (self._critiques, self._revisions, self._judging)
        found = progress.verdicts(work.reader, work.run_id, "revision")
        tally.done, tally.accepted = sum(found.values()), found.get("accepted", 0)
        tally.planned = max(len(self._samples) * spec.rounds, tally.done)
        for sample in self._samples:
            self._go_on(sample, 1)

    def _allotted(self, constitution: Constitution) -> dict[int, dict[str, str]]:
        """The principles of each round, by sample: none twice for one sample."""
        rows = self._work.reader.query(_REVISED, [self._work.run_id])
        names = [sample["sample_id"] for sample in self._samples]
        found: dict[int, dict[str, str]] = {}
        barred: dict[str, set[str]] = {}
        for round_ in range(1, self._spec.rounds + 1):
            of_round = {row["sample_id"]: row for row in rows if row["round"] == round_}
            self._rows |= {(name, round_): row for name, row in of_round.items()}
            given = {name: row["principle_id"] for name, row in of_round.items()}
            found[round_] = constitution.allot(self._work.seed, round_, names, given, barred)
            for name, principle_id in (given | found[round_]).items():
                barred.setdefault(name, set()).add(principle_id)
        return found

    def _go_on(self, sample: Row, round_: int) -> None:
        """Take a sample to the round that is missing."""
        name = sample["sample_id"]
        while round_ <= self._spec.rounds:
            row = self._rows.pop((name, round_), None)
            if row is None:
                self._critiques.put([{"sample": sample, "round": round_}])
                return
            if row["verdict"] is None:
                self._judge([(row, sample)])
                return
            if row["verdict"] == "accepted":
                self._current[name] = row["revision_id"], row["response"]
            round_ += 1

    def _asked_of(self, sample: Row, round_: int) -> Asked:
        name = sample["sample_id"]
        principle = self._by_id[self._principles[round_][name]]
        return Asked(
            f"{name}\x1f{round_}\x1f{principle.id}", sample["instruction"], self._current[name][1], asdict(principle)
        )

    def _ask_critiques(self, rows: list[Row]) -> Iterator[Generate]:
        for row in rows:
            asked = self._asked_of(row["sample"], row["round"])
            self._place[asked.key] = len(self._place)
            request, _ = critique_request(self._work, self._spec, self._examples, asked)
            self._asked[request] = asked, row
            yield request

    def _take_critiques(self, batch: Sequence[Answered]) -> None:
        for key, completion in batch:
            assert isinstance(completion, Completion)
            asked, row = self._asked.pop(completion.request)
            self._criticised.append((asked, row, key, prompts.flat(completion.text), len(completion.token_ids)))
        self._revisions.put(self._in_order())

    def _in_order(self) -> Iterator[tuple[Asked, Row, str, str, int]]:
        """What was criticised until now, in the order asked, not in that of the answers.

        Where one request waits for another, what stands in a batch together is then the same after a restart.
        """
        some, self._criticised = self._criticised, []
        yield from sorted(some, key=lambda found: self._place.pop(found[0].key))

    def _ask_revisions(self, rows: list[tuple[Asked, Row, str, str, int]]) -> Iterator[Generate]:
        for asked, row, key, said, n_tokens in rows:
            _, prompt = critique_request(self._work, self._spec, self._examples, asked)
            request = revision_request(self._work, self._spec, prompt, asked, said)
            self._asked[request], self._written[request] = (asked, row), (key, said, n_tokens)
            yield request

    def _take_revisions(self, batch: Sequence[Answered]) -> None:
        rows, pending = [], []
        for key, completion in batch:
            assert isinstance(completion, Completion)
            _, of = self._asked.pop(completion.request)
            critique_id, critique, n_critique_tokens = self._written.pop(completion.request)
            sample, round_ = of["sample"], of["round"]
            name = sample["sample_id"]
            kept, trims = prompts.clean_response(completion.text, sample["instruction"])
            row = {
                "run_id": self._work.run_id,
                "revision_id": f"r-{short_hash(name, round_, key)}",
                "ordinal": sample["ordinal"],
                "sample_id": name,
                "instruction_id": sample["instruction_id"],
                "round": round_,
                "parent_id": self._current[name][0],
                "principle_id": self._principles[round_][name],
                "critique_request_id": critique_id,
                "critique": critique,
                "n_critique_tokens": n_critique_tokens,
                "request_id": key,
                "raw": completion.text,
                "response": kept,
                "trimmed": [asdict(trim) for trim in trims],
                "stop_reason": completion.stop_reason,
                "n_tokens": len(completion.token_ids),
            }
            rows.append(row)
            pending.append((row, sample))
        self._work.store.append({"revisions": rows})
        self._judge(pending)

    def _judge(self, pending: Sequence[tuple[Row, Row]]) -> None:
        """Have revisions compared with what they revise; one in which nothing is to be compared is rejected now."""
        verdicts, rejected, items = [], [], []
        for row, sample in pending:
            asked = self._asked_of(sample, row["round"])
            flags = flags_of_revision(self._work, asked, row["raw"], row["response"], row["stop_reason"])
            item = {"id": row["revision_id"], "row": row, "sample": sample, "asked": asked, "flags": flags}
            if {"unchanged", "empty"} & set(flags):
                decided = _decided(flags, False, "", self._judge_by)
                verdicts.append(verdict_row(self._work.run_id, "revision", row["revision_id"], decided))
                rejected.append((item, decided))
            else:
                items.append(item)
        self._work.store.append({"verdicts": verdicts})
        self._judging.put(items)
        self._judged(rejected)

    def _subject(self, item: Row) -> Subject:
        row, asked = item["row"], item["asked"]
        comparison = self._by_id[row["principle_id"]].comparison
        return Subject(item["id"], asked.instruction, row["response"], row["stop_reason"], asked.before, comparison)

    def _decision(self, item: Row, found: Sequence[Judgement]) -> Decision:
        kept, said = preferred(found, self._spec.keep_margin_nats)
        return _decided(item["flags"], kept, said, self._judge_by)

    def _judged(self, decided: Sequence[tuple[Row, Decision]]) -> None:
        for item, decision in decided:
            row, kept = item["row"], decision.verdict == "accepted"
            if kept:
                self._current[row["sample_id"]] = row["revision_id"], row["response"]
            self._tally.done += 1
            self._tally.accepted = (self._tally.accepted or 0) + kept
            self._go_on(item["sample"], row["round"] + 1)
        if decided:
            self._tally.tell()


def critique_request(
    work: Work, spec: RevisionsSpec, examples: Sequence[dict[str, str]], one: Asked
) -> tuple[Generate, prompts.Prompt]:
    """The request of a critique, and its prompt, which its revision's goes on from."""
    prompt = prompts.critique(examples, one.instruction, one.before, one.principle, spec.form)
    how = Decoding(spec.critique_tokens, spec.temperature, spec.top_k, spec.top_p, prompts.CRITIQUE_STOPS)
    return Generate(prompt.text, how, derived_seed(work.seed, "critique", one.key), prompt.shared), prompt


def revision_request(work: Work, spec: RevisionsSpec, prompt: prompts.Prompt, one: Asked, said: str) -> Generate:
    """The request of a revision, behind a critique's prompt and what was said to it."""
    then = prompts.revision(prompt, said, one.principle, spec.form)
    how = Decoding(spec.revision_tokens, spec.temperature, spec.top_k, spec.top_p, prompts.REVISION_STOPS)
    return Generate(then.text, how, derived_seed(work.seed, "revision", one.key), then.shared)


def write(work: Work, spec: RevisionsSpec, asked: Sequence[Asked], but: str = "") -> Iterator[Revised]:
    """Critiques of all that is asked, then revisions; the seed of each belongs to its key.

    The solved example of the principle `but` is not shown.
    """
    examples = solved_examples(work, spec, but)
    critique_of: dict[Generate, tuple[Asked, prompts.Prompt]] = {}
    for one in asked:
        request, prompt = critique_request(work, spec, examples, one)
        critique_of[request] = one, prompt
    revision_of: dict[Generate, tuple[Asked, str, str, int]] = {}
    for key, completion in work.answers.complete(critique_of):
        one, prompt = critique_of[completion.request]
        said = prompts.flat(completion.text)
        revision_of[revision_request(work, spec, prompt, one, said)] = (one, key, said, len(completion.token_ids))
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
