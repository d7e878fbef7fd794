"""The words and shapes of the screen: one place says how a state, a phase or an event reads.

Every state has a shape beside its colour, so that the screen can be read without colour.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from store.names import EVALUATION, REFIT, REPEAT, REPEAT_OF, SUPERVISED
from store.outcomes import EMPTY, FAILED, NOT_TESTED, PASSED

if TYPE_CHECKING:
    from engine.quality.queue import LabelStanding

PHASE_TITLES = {
    "guard": "Guard",
    "audit": "Critic audit",
    "instructions": "Instructions",
    "instruction_judgements": "Judge instr.",
    "responses": "Responses",
    "response_judgements": "Judge pairs",
    "gate": "QC gate",
    "revisions": "Revisions",
    "candidates": "Candidates",
    "pairs": "Pref. pairs",
    "pair_gate": "Pair gate",
    "sft": "SFT",
    "dpo": "Preferences",
    "sft_random": "SFT, random",
    "sft_length": "SFT, length",
    "evaluation": "Evaluation",
    "refit": "Refit",
}

# state -> (shape, word, css class suffix)
STATES: dict[str, tuple[str, str, str]] = {
    "idle": ("·", "idle", "quiet"),
    "opening": ("◌", "opening", "quiet"),
    "loading": ("◌", "loading model", "busy"),
    "running": ("▶", "running", "busy"),
    "paused": ("‖", "paused", "warn"),
    "pausing": ("‖", "pausing", "warn"),
    "stopping": ("■", "stopping", "warn"),
    "waiting": ("?", "waiting for you", "warn"),
    "stopped": ("■", "stopped", "warn"),
    "interrupted": ("■", "interrupted", "warn"),
    "budget_reached": ("■", "budget reached", "warn"),
    "gate_failed": ("✗", "gate failed", "bad"),
    "locked": ("✗", "training locked", "bad"),
    "refused": ("✗", "no claim", "bad"),
    "failed": ("✗", "failed", "bad"),
    "done": ("✓", "done", "good"),
}

# result of a check or a gate -> (shape, word, css class suffix)
RESULTS: dict[str, tuple[str, str, str]] = {
    PASSED: ("✓", "passed", "good"),
    FAILED: ("✗", "FAILED", "bad"),
    EMPTY: ("∅", "EMPTY", "bad"),
    NOT_TESTED: ("–", "not tested", "quiet"),
}

PHASE_SHAPES = {"pending": "○", "running": "▶", "paused": "‖", "stopped": "◐", "done": "●", "failed": "✗"}

VERDICT_SHAPES = {"accepted": "✓", "rejected": "✗", "unsure": "?"}

LABEL_SHAPES = {"good": "+ ok", "bad": "− no", "unsure": "? ?"}


def state_mark(state: str, *, audited: bool) -> tuple[str, str, str]:
    """Shape, word and tone of a run's state; what is done is told in green only where quality was audited."""
    if state == "done" and not audited:
        return "!", "done", "warn"
    return STATES.get(state, ("?", state, "quiet"))


def repeat_of(run: Mapping[str, Any]) -> str:
    """Which repeat of which run a run is: `2 of 20261129-193216-ab12`; empty of one that repeats none."""
    of = run["manifest"].get(REPEAT_OF)
    return f"{run['manifest'][REPEAT]} of {of}" if of else ""


def phase_title(phase: str) -> str:
    """The title of a phase, or of several under way together, whose names a plus joins."""
    return " + ".join(PHASE_TITLES.get(one, one.replace("_", " ").capitalize()) for one in phase.split("+"))


def again_with(
    run_id: str, aside: Sequence[str] = (), changed: Mapping[str, str] | None = None, suites: Sequence[str] = ()
) -> str:
    """What follows `cai` to go on: `resume`, or `train` or `evaluate` with the same changed settings, or `label`."""
    if not aside:
        return f"resume {run_id}"
    settings = "".join(f" --set {shlex.quote(f'{key}={value}')}" for key, value in (changed or {}).items())
    if EVALUATION in aside:
        return f"evaluate {run_id}{''.join(f' --suite {shlex.quote(name)}' for name in suites)}{settings}"
    if REFIT in aside:
        return f"label --refit --run {run_id} --reason WHY"
    return f"train {aside[0] if len(aside) == 1 else 'all'} {run_id}{settings}"


def outcome_words(state: str, aside: Sequence[str] = ()) -> str:
    """How something ended, in a few words: "run done", "training failed"."""
    what = "evaluation" if EVALUATION in aside else "refit" if REFIT in aside else "training" if aside else "run"
    return f"{what} {STATES.get(state, ('', state, ''))[1].removeprefix(f'{what} ')}"


def names(value: object) -> str:
    """A list of names as text."""
    if isinstance(value, (list, tuple)):
        return ", ".join(str(item).replace("_", " ") for item in value) or "none named"
    return str(value)


def phase_of(method: str) -> str:
    """The phase of a method: whatever learns from pairs is the phase dpo, and a control is one of its own."""
    return method if method in SUPERVISED else "dpo"


def labelling(standing: LabelStanding) -> str:
    """How far a person is with labels, and what those drawn at random say of the critic that orders the queue."""
    labels = f"{standing.labels:,} label{'' if standing.labels == 1 else 's'}, {standing.at_random:,} at random"
    half = "" if standing.half is None else f" ± {standing.half:.2f}"
    known = "own AUC not known yet" if standing.auc is None else f"own AUC {standing.auc:.2f}{half}"
    newer = f" · {standing.unlearnt:,} newer than the fit" if standing.unlearnt else ""
    return f"{labels} · {known}{newer}"


def agreement(audits: Sequence[Mapping[str, Any]]) -> str:
    """How far each critic agrees with the person, in words; that the label was kept where there is no critic."""
    said = []
    for audit in audits:
        kappa = audit["detail"]["kappa"]
        n = audit["n_good"] + audit["n_bad"]
        told = f"κ {kappa:+.2f}" if kappa is not None else "κ undefined"
        said.append(f"{audit['critic']} agrees with you in {audit['accuracy']:.0%} of {n}, {told}")
    return "; ".join(said) or "label kept"
