"""Which preference pairs are kept: rules on each pair, then caps on what repeats, then the sources' quotas.

A pure function of stored rows, so that other thresholds cost nothing. Pairs that were made to have a worse side need no
critic, but an audited one may veto them; the others need a critic's preference.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.critics.pair import by_order
from engine.quality.gates import Check, Decision, verdict_row
from engine.quality.revision_rules import refuses
from engine.quality.rules import BLOCKING as RESPONSE_BLOCKING
from engine.quality.rules import Measured, flags_of, measure
from engine.spec.provenance import short_hash
from engine.spec.sections import PairsSpec, RulesSpec
from engine.spec.stage import StageSpec
from engine.stats.similarity import NearDuplicateIndex, rouge_l, words
from store.names import PAIR_SOURCES, PERSON_PARTS, preferred
from store.read import Reader

Margins = tuple[float, float | None, float | None]  # of both orders, in front, behind
CONSTRUCTED = frozenset({"hard_negative", "boundary"})  # which side is worse is known from how it was made
PAIR_RULES = {
    "held_out": "its instruction belongs to validation or test, or is nearly one that does",
    "degenerate": "one side is no response: empty, cut off, looping, or with a marker in it",
    "identical": "the two sides are nearly the same",
    "margin": "the critic does not prefer the chosen side by the margin that the spec asks for",
    "order": "the critic's preference turns with the order in which the two are shown",
    "no_refusal": "what should refuse does not",
    "refused": "what should answer refuses",
    "repeated": "its two texts are another pair's that is kept, by another source or the other way round",
    "instruction_cap": "its instruction has enough pairs with larger margins",
    "quota": "its source has its share of all pairs already",
}


@dataclass(frozen=True, slots=True)
class PairFacts:
    """What is known of a pair, chosen side first. Margins are None where no pair critic is named."""

    pair_id: str
    source: str
    detail: str
    instruction_id: str
    held_out: bool
    sides: tuple[Measured, Measured]
    refuses: tuple[bool, bool]
    alike: float  # ROUGE-L of the two sides, 1 where they are the same
    texts: frozenset[str]  # both, whichever is chosen, by their words and marks alone
    chosen_tokens: int
    rejected_tokens: int
    margin_nats: float | None = None
    in_front: float | None = None
    behind: float | None = None


_STORED = ("pair_id", "source", "detail", "instruction_id", "chosen_tokens", "rejected_tokens")


_PAIRS = """
    WITH texts AS (
        SELECT sample_id AS id, raw, stop_reason FROM samples WHERE run_id = $1
        UNION ALL SELECT revision_id, raw, stop_reason FROM revisions WHERE run_id = $1
        UNION ALL SELECT candidate_id, raw, stop_reason FROM candidates WHERE run_id = $1
    )
    SELECT p.*, i.text AS instruction, i.split, c.raw AS chosen_raw, c.stop_reason AS chosen_stop,
           r.raw AS rejected_raw, r.stop_reason AS rejected_stop
    FROM pairs p
    JOIN instructions i ON i.run_id = p.run_id AND i.instruction_id = p.instruction_id
    JOIN texts c ON c.id = p.chosen_id
    JOIN texts r ON r.id = p.rejected_id
    WHERE p.run_id = $1 ORDER BY p.ordinal, p.pair_id
"""
_REVISIONS = """
    SELECT (SELECT count(*) FROM verdicts WHERE run_id = $1 AND subject_kind = 'revision'
            AND verdict = 'accepted') AS kept,
           (SELECT count(*) FROM revisions WHERE run_id = $1) AS made
"""


def facts_of(row: Mapping[str, Any], **known: Any) -> PairFacts:
    """The facts of a pair's texts, measured once; `known` are those that they do not say, margins if there are any."""
    chosen, rejected = (
        measure(row["instruction"], row[f"{side}_raw"], row[side], row[f"{side}_stop"])
        for side in ("chosen", "rejected")
    )
    return PairFacts(
        sides=(chosen, rejected),
        refuses=(refuses(row["chosen"]), refuses(row["rejected"])),
        alike=_alike(row["source"], row["chosen"], row["rejected"]),
        texts=frozenset(" ".join(row[side].split()) for side in ("chosen", "rejected")),
        **{name: row[name] for name in _STORED},
        **known,
    )


def select(pairs: Sequence[PairFacts], spec: PairsSpec, rules: RulesSpec, *, audited: bool) -> dict[str, Decision]:
    """A verdict for each pair, by id. `audited` says that the deciding critic passed its audit."""
    found = {pair.pair_id: _alone(pair, spec, rules, audited=audited) for pair in pairs}
    caps: tuple[tuple[str, Callable[[Sequence[PairFacts]], set[str]]], ...] = (
        # Of equal margins that of the source which stands first in PAIR_SOURCES stays.
        ("repeated", lambda kept: _beyond(1, kept, lambda pair: (pair.instruction_id, pair.texts), by_source=True)),
        ("instruction_cap", lambda kept: _beyond(spec.per_instruction, kept, lambda pair: pair.instruction_id)),
        ("quota", lambda kept: _over_quota(kept, spec.quotas)),
    )
    for flag, over in caps:
        for name in over([pair for pair in pairs if found[pair.pair_id].verdict == "accepted"]):
            found[name] = Decision("rejected", "rules", (flag,), PAIR_RULES[flag])
    return found


def _alone(pair: PairFacts, spec: PairsSpec, rules: RulesSpec, *, audited: bool) -> Decision:
    flags = []
    if pair.held_out:
        flags.append("held_out")
    if _degenerate(pair, rules):
        flags.append("degenerate")
    if pair.alike >= spec.near_identical_at:
        flags.append("identical")
    if pair.source == "boundary":
        should, should_not = pair.refuses if pair.detail == "unsafe" else pair.refuses[::-1]
        flags += ["no_refusal"] * (not should) + ["refused"] * should_not
    elif pair.detail == "unwarranted_refusal" and not pair.refuses[1]:
        flags.append("no_refusal")
    decides = audited or pair.source not in CONSTRUCTED
    if decides:
        if pair.margin_nats is None or not pair.margin_nats >= spec.min_margin_nats:  # not a number is no margin
            flags.append("margin")
        elif pair.in_front is not None and pair.behind is not None and min(pair.in_front, pair.behind) <= 0:
            flags.append("order")
    basis = ("critic" if audited else "unaudited") if decides else "rules"
    told = "" if pair.margin_nats is None else f"margin {pair.margin_nats:+.2f} nats"
    if not flags:
        return Decision("accepted", basis, (), told or "no rule fired")
    return Decision("rejected", basis, tuple(flags), "; ".join([*(PAIR_RULES[f] for f in flags), told]).strip("; "))


def _degenerate(pair: PairFacts, rules: RulesSpec) -> bool:
    blocking = RESPONSE_BLOCKING - {"echo"}
    return any(blocking & set(flags_of(side, rules)) for side in pair.sides)


def _alike(source: str, chosen: str, rejected: str) -> float:
    """ROUGE-L of the two sides; a hard negative was made to differ in one place, so there only equal texts count."""
    if chosen.split() == rejected.split():
        return 1.0
    return 0.0 if source == "hard_negative" else rouge_l(words(chosen), words(rejected))


def _beyond(
    n: int, pairs: Iterable[PairFacts], group: Callable[[PairFacts], Hashable], *, by_source: bool = False
) -> set[str]:
    """Of each group of pairs all but the `n` with the largest margins."""

    def rank(pair: PairFacts) -> tuple[float, int, str]:
        tie = PAIR_SOURCES.index(pair.source) if by_source else 0
        return -(pair.margin_nats or 0.0), tie, pair.pair_id

    groups: dict[Hashable, list[PairFacts]] = {}
    for pair in sorted(pairs, key=rank):
        groups.setdefault(group(pair), []).append(pair)
    return {pair.pair_id for of in groups.values() for pair in of[n:]}


def _over_quota(pairs: Sequence[PairFacts], quotas: Mapping[str, float]) -> set[str]:
    """Pairs to drop so that no source has more than its share of what is left; as few as can be.

    Which of a source's pairs go is decided by the hash of their id, so that no margin, length or topic is preferred.
    """
    by_source: dict[str, list[str]] = {source: [] for source in quotas}
    for pair in pairs:
        by_source.setdefault(pair.source, []).append(pair.pair_id)
    total = len(pairs)

    def allowed(n: int) -> dict[str, int]:
        return {
            source: min(len(names), math.floor(quotas.get(source, 0.0) * n + 1e-9))
            for source, names in by_source.items()
        }

    while total and sum(allowed(total).values()) < total:
        total = sum(allowed(total).values())
    keep = allowed(total)
    return {
        name
        for source, names in by_source.items()
        for name in sorted(names, key=lambda name: short_hash("quota", name))[keep[source] :]
    }


def pair_checks(
    pairs: Sequence[PairFacts],
    verdicts: Mapping[str, str],
    spec: StageSpec,
    audited: int,
    named: int,
    revisions: tuple[int, int] = (0, 0),
) -> list[Check]:
    """The pair gate's checks over the pairs whose verdict is accepted; measured on the pairs, whoever accepted them.

    `revisions` are those that were kept and all. The stage's own part comes first: what critique, revision and
    comparing yielded, for which pairs that were made to have a worse side cannot stand in.
    """
    wanted = spec.pairs
    assert wanted is not None
    kept = [pair for pair in pairs if verdicts.get(pair.pair_id) == "accepted"]
    n = len(kept)

    def count(name: str, counts: Callable[[PairFacts], bool]) -> Check:
        against = [pair.pair_id for pair in kept if counts(pair)]
        return Check.of(name, float(len(against)), n, "<=", 0, against)

    def share(name: str, of: Sequence[str], limit: float) -> Check:
        return Check.share(name, len(of), n, "<=", limit, of)

    deciding = [pair for pair in kept if pair.source not in CONSTRUCTED]
    by_instruction = Counter(pair.instruction_id for pair in kept)
    most = max(by_instruction.values(), default=0)
    crowded = [pair.pair_id for pair in kept if by_instruction[pair.instruction_id] > wanted.per_instruction]
    best_of = [pair for pair in pairs if pair.source == "best_of"]
    best_of_kept = sum(pair.source == "best_of" for pair in kept)
    by_critic = len(deciding) if audited else 0  # of the others is known which side is worse
    comparable = sum(pair.source not in CONSTRUCTED for pair in pairs)
    checks = [
        Check.of("preference pairs", float(n), len(pairs), ">=", wanted.pairs_at_least),
        Check.of("kept revisions", float(revisions[0]), revisions[1], ">=", wanted.at_least("revision")),
        Check.of("kept best-of pairs", float(best_of_kept), len(best_of), ">=", wanted.at_least("best_of")),
        Check.of(
            "pairs decided by an audited critic", float(by_critic), comparable, ">=", wanted.decided_by_critic_at_least
        ),
        count("held-out instructions in pairs", lambda pair: pair.held_out),
        count("degenerate sides", lambda pair: _degenerate(pair, spec.rules)),
        count("near-identical sides", lambda pair: pair.alike >= wanted.near_identical_at),
    ]
    if deciding:
        known = [pair.margin_nats for pair in deciding if pair.margin_nats is not None]
        low = min(known) if len(known) == len(deciding) else None
        short = [
            pair.pair_id
            for pair in deciding
            if pair.margin_nats is None or not pair.margin_nats >= wanted.min_margin_nats
        ]
        checks.append(Check.of("smallest margin", low, len(deciding), ">=", wanted.min_margin_nats, short))
    longer = [pair.pair_id for pair in kept if pair.chosen_tokens > pair.rejected_tokens]
    return [
        *checks,
        share("chosen side longer", longer, wanted.chosen_longer_at_most),
        *(
            share(f"share of {source}", [pair.pair_id for pair in kept if pair.source == source], quota)
            for source, quota in wanted.quotas.items()
        ),
        Check.of("pairs of one instruction", float(most), n, "<=", wanted.per_instruction, crowded),
        Check.of("audited comparing critics", float(audited), named, ">=", wanted.audited_critics_at_least),
    ]


def verdict_rows(run_id: str, verdicts: Mapping[str, Decision]) -> list[dict[str, Any]]:
    """Verdicts as rows of the table `verdicts`."""
    return [verdict_row(run_id, "pair", name, found) for name, found in verdicts.items()]


@dataclass(frozen=True)
class PairsRechecked:
    """A run's pairs under some settings: a verdict each, the gate's checks, and which critic decided."""

    verdicts: dict[str, Decision]
    checks: list[Check]
    decider: str
    audited: bool  # whether it passed its audit


@dataclass(frozen=True)
class PairEvidence:
    """What a run's rows say of its pairs, read once, so that other settings need no store."""

    pairs: list[PairFacts]  # without margins
    margins: dict[str, dict[str, Margins]]  # by critic and pair
    aucs: dict[str, float]  # of each critic the lowest of the shipped parts
    revisions: tuple[int, int]  # kept, and all

    @classmethod
    def read(cls, reader: Reader, run_id: str, spec: StageSpec) -> PairEvidence:
        """All of it. An instruction near one of validation or test is held out too."""
        held_out = held_out_index(reader, run_id, spec.instructions.duplicate_at)
        outside: dict[str, bool] = {}
        pairs = []
        for row in reader.query(_PAIRS, [run_id]):
            name = row["instruction_id"]
            if name not in outside:
                outside[name] = row["split"] != "train" or held_out.nearest(row["instruction"]) is not None
            pairs.append(facts_of(row, held_out=outside[name]))
        margins: dict[str, dict[str, Margins]] = {}
        for row in reader.query(
            "SELECT subject_id, critic, margin_nats, parts FROM judgements WHERE run_id = ? AND subject_kind = 'pair'",
            [run_id],
        ):
            orders = by_order(json.loads(row["parts"])) or (None, None)
            margins.setdefault(row["critic"], {})[row["subject_id"]] = (row["margin_nats"], *orders)
        revised = reader.query(_REVISIONS, [run_id])[0]
        return cls(pairs, margins, _aucs(reader, run_id), (revised["kept"], revised["made"]))

    def under(self, spec: StageSpec) -> PairsRechecked:
        """Verdicts and checks as these settings make them, by the margins of the critic that decides under them.

        That is the first that passed its audit; where none did, the first that the spec names.
        """
        assert spec.pairs is not None
        named = _served(spec.critics.pair, self.aucs)
        audited = [name for name in named if self.aucs.get(name, 0.0) >= spec.critics.min_auc]
        decider = next(iter([*audited, *named]))
        margins = self.margins.get(decider, {})
        pairs = []
        for pair in self.pairs:
            margin, in_front, behind = margins.get(pair.pair_id, (None, None, None))
            pairs.append(replace(pair, margin_nats=margin, in_front=in_front, behind=behind))
        verdicts = select(pairs, spec.pairs, spec.rules, audited=bool(audited))
        accepted = {name: found.verdict for name, found in verdicts.items()}
        checks = pair_checks(pairs, accepted, spec, len(audited), len(named), self.revisions)
        return PairsRechecked(verdicts, checks, decider, bool(audited))


def deciding_critic(reader: Reader, run_id: str, critics: Mapping[str, Any]) -> str:
    """The pair critic that decides under these settings, the section `critics` of a spec; "" where none is named."""
    aucs = _aucs(reader, run_id)
    named = _served(critics.get("pair") or [], aucs)
    return next((name for name in named if aucs.get(name, 0.0) >= critics["min_auc"]), named[0] if named else "")


def served_critics(reader: Reader, run_id: str, critics: Sequence[str]) -> list[str]:
    """The pair critics that a run really had, of those that its spec names."""
    return _served(critics, _aucs(reader, run_id))


def _served(critics: Sequence[str], audited: Mapping[str, float]) -> list[str]:
    """The critics that were audited, the preferred one first, stand-ins among them; those that a spec names if none."""
    return [name for name in preferred(critics) if name in audited] or list(critics)


def _aucs(reader: Reader, run_id: str) -> dict[str, float]:
    rows = reader.query(
        "SELECT critic, min(coalesce(auc, 0)) AS auc FROM audits WHERE run_id = ? AND subject_kind = 'pair' "
        f"AND part NOT IN {PERSON_PARTS} GROUP BY 1",
        [run_id],
    )
    return {row["critic"]: row["auc"] for row in rows}


def held_out_index(reader: Reader, run_id: str, near_at: float) -> NearDuplicateIndex:
    """The instructions of validation and test, to ask which others are near one of them."""
    index = NearDuplicateIndex(near_at)
    for row in reader.query(
        "SELECT instruction_id, text FROM instructions WHERE run_id = ? AND split IN ('validation', 'test')", [run_id]
    ):
        index.add(row["instruction_id"], row["text"])
    return index


def recheck_pairs(reader: Reader, run_id: str, spec: StageSpec) -> PairsRechecked:
    """Verdicts and gate of a run's pairs from stored rows, with no model."""
    return PairEvidence.read(reader, run_id, spec).under(spec)
