"""What a run's stored rows say under other thresholds; applying some is a decision with a reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from engine.core.errors import SpecError
from engine.critics.audit import accepted_above
from engine.quality.anew import decide_anew, pairs_of
from engine.quality.gates import Check, Evidence, evidence_sha256
from engine.spec.stage import StageSpec, change, settings_of
from engine.stats.shares import wilson
from store.db import Store
from store.read import Reader
from store.salvage.clock import utc_now

CHANGES_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Knob:
    """A setting that can be moved: its dotted key, the step of one key press, and where it ends."""

    key: str
    step: float
    low: float
    high: float
    about: str


KNOBS = (
    Knob("critics.accept_above", 0.05, -5, 5, "score above which an audited critic accepts"),
    Knob("critics.unsure_above", 0.05, -5, 5, "score above which it is unsure instead of rejecting"),
    Knob("critics.min_auc", 0.01, 0, 1, "AUC that a critic's audit must reach before it may filter"),
    Knob("rules.repeated_trigrams", 0.02, 0, 1, "share of repeated word trigrams from which a response loops"),
    Knob("rules.echo", 0.02, 0, 1, "ROUGE-L to its instruction from which a response only echoes it"),
    Knob("gate.runaway_below", 0.01, 0, 1, "share of runaway responses that the gate allows"),
    Knob("gate.token_limit_below", 0.01, 0, 1, "share of responses cut by the token limit"),
    Knob("gate.marker_leaks_at_most", 1, 0, 1000, "accepted responses with a stop marker in them"),
    Knob("gate.median_tokens_below", 1, 1, 4096, "median length of a response in tokens"),
    Knob("gate.instruction_acceptance_at_least", 0.01, 0, 1, "share of instructions accepted"),
    Knob("gate.pair_acceptance_at_least", 0.01, 0, 1, "share of instruction and response pairs accepted"),
    Knob("gate.distinct_at_least", 0.01, 0, 1, "share of kept instructions that are distinct"),
    Knob("gate.audited_critics_at_least", 1, 0, 5, "critics of each kind whose audit lets them filter"),
    Knob("pairs.min_margin_nats", 0.05, -20, 20, "nats by which the chosen side must be preferred"),
    Knob("pairs.near_identical_at", 0.02, 0, 1, "ROUGE-L of the two sides from which they are nearly the same"),
    Knob("pairs.per_instruction", 1, 1, 1000, "pairs kept of one instruction, those with the largest margins"),
    Knob("pairs.revision", 0.05, 0, 1, "largest share of all pairs that may be revisions"),
    Knob("pairs.best_of", 0.05, 0, 1, "largest share of all pairs that may be the best of several"),
    Knob("pairs.hard_negative", 0.05, 0, 1, "largest share of all pairs that may be hard negatives"),
    Knob("pairs.boundary", 0.05, 0, 1, "largest share of all pairs that may be refusals and answers"),
    Knob("pairs.chosen_longer_at_most", 0.01, 0, 1, "share of pairs whose chosen side is the longer one"),
    Knob("pairs.pairs_at_least", 1, 0, 1_000_000, "pairs that must be kept"),
    Knob("pairs.audited_critics_at_least", 1, 0, 5, "comparing critics whose audit lets them filter"),
    Knob("pairs.revisions_at_least", 1, 0, 1_000_000, "revisions that must be kept; 0 does not test them"),
    Knob("pairs.best_of_at_least", 1, 0, 1_000_000, "pairs of the best of several that must be kept"),
    Knob("pairs.decided_by_critic_at_least", 1, 0, 1_000_000, "kept pairs that an audited critic must have decided"),
)


@dataclass(frozen=True, slots=True)
class Change:
    """A sample that would change sides."""

    sample_id: str
    before: str
    after: str
    reason: str


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Accepted of n with its 95 % Wilson interval."""

    accepted: int
    n: int
    lo: float
    hi: float


@dataclass(frozen=True)
class Consequence:
    """What the settings would make of the run."""

    acceptance: dict[str, Acceptance]  # by kind: instruction, sample, pair where there are any
    checks: list[Check]
    filters: dict[str, str | None]  # by kind: the critic that decides, None where rules do
    changed: int
    changes: list[Change]  # the first of them
    pairs_changed: int = 0


class WhatIf:
    """One run's evidence, read once; every question after that is answered without the store."""

    def __init__(self, reader: Reader, run_id: str) -> None:
        self.run_id = run_id
        self.settings = settings_of(reader.run(run_id))
        self._evidence = Evidence.read(reader, run_id)
        self._now = self._evidence.under(self.settings)
        self._pairs = pairs_of(reader, run_id, self.settings)
        self._pairs_now = self._pairs.under(self.settings) if self._pairs is not None else None
        self._order = {row["sample_id"]: at for at, row in enumerate(self._evidence.samples)}

    @property
    def knobs(self) -> list[Knob]:
        """Those that this run's rows have something to say about: without pairs none of them."""
        return [knob for knob in KNOBS if self._pairs is not None or not knob.key.startswith("pairs.")]

    def value(self, key: str) -> float:
        """The run's own value of a setting."""
        return float(_value(self.settings, key))

    def under(self, overrides: Mapping[str, str]) -> Consequence:
        """The outcome under these settings; raises SpecError for values that contradict each other."""
        spec = change(self.settings.model_dump(), overrides)
        found = self._evidence.under(spec)
        before, after = self._now.verdicts["sample"], found.verdicts["sample"]
        moved = sorted((name for name in after if before[name] != after[name]), key=lambda name: self._order[name])
        changes = [
            Change(name, before[name], after[name], found.decisions["sample"][name].reason)
            for name in moved[:CHANGES_SHOWN]
        ]
        acceptance = {kind: _acceptance(found.verdicts[kind].values()) for kind in ("instruction", "sample")}
        filters, checks, pairs_changed = self._evidence.filters(spec), found.checks, 0
        if self._pairs is not None and self._pairs_now is not None:
            pairs, now = self._pairs.under(spec), self._pairs_now.verdicts
            acceptance["pair"] = _acceptance(one.verdict for one in pairs.verdicts.values())
            filters["pair"] = pairs.decider if pairs.audited else f"{pairs.decider}, unaudited"
            pairs_changed = sum(one.verdict != now[name].verdict for name, one in pairs.verdicts.items())
            checks = [*checks, *pairs.checks]
        return Consequence(acceptance, checks, filters, len(moved), changes, pairs_changed)


def _acceptance(found: Iterable[str]) -> Acceptance:
    verdicts = list(found)
    accepted = verdicts.count("accepted")
    return Acceptance(accepted, len(verdicts), *wilson(accepted, len(verdicts)))


def apply(store: Store, run_id: str, overrides: Mapping[str, str], reason: str) -> dict[str, int]:
    """Make the settings the run's own, decide its verdicts and its latest gates anew, and record who wanted it and why.

    Everything is written in one transaction. A run that failed its gate and now passes may be resumed; one that was
    done and now fails says so. Returns how many verdicts changed by kind. Raises SpecError for settings that are
    wrong, and where there is no reason or nothing changes.
    """
    if not reason.strip():
        raise SpecError("a change of thresholds needs a reason", "It is stored with the decision. Nothing was changed.")
    with store.reader() as reader:
        run = reader.run(run_id)
        old = settings_of(run)
        new = change(old.model_dump(), overrides)
        if new == old:
            raise SpecError("no threshold is changed", "Nothing was changed.")
        found = Evidence.read(reader, run_id).under(new)
        pairs = pairs_of(reader, run_id, new)
        audits = _audited_anew(reader, run_id, new.critics.accept_above)
        now = utc_now()
        changed = run | {"settings": new.model_dump()}
        rechecked = pairs.under(new) if pairs is not None else None
        anew = decide_anew(reader, changed, found, rechecked, "changed thresholds", now)
    about_pairs = pairs is not None and all(key.startswith("pairs.") for key in overrides)
    decision = {
        "run_id": run_id,
        "decision_id": f"thresholds-{now:%Y%m%d-%H%M%S-%f}",
        "topic": "thresholds",
        "question": "; ".join(f"{key}: {_value(old, key)} -> {_value(new, key)}" for key in overrides),
        "answer": "applied",
        "reason": reason.strip(),
        "decided_by": "person",
        "evidence_sha256": evidence_sha256(anew.checks[" pairs" if about_pairs else ""]),
        "at": now,
    }
    store.put({**anew.rows, "decisions": [decision], "audits": audits})
    return anew.moved


def _audited_anew(reader: Reader, run_id: str, above: float) -> list[dict[str, Any]]:
    """The audits that tell what accepting above another score gives, for this one."""
    found = [row for row in reader.audits(run_id) if row["detail"].get("accepted", {}).get("above", above) != above]
    for row in found:
        detail = row["detail"]
        labels = [detail["labels"][key] for key in detail["scores"]]
        detail["accepted"] |= accepted_above(above, list(detail["scores"].values()), labels)
    return found


def _value(spec: StageSpec, key: str) -> Any:
    section, _, name = key.partition(".")
    return getattr(getattr(spec, section), name)
