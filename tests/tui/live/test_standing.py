"""The weakest figure and its reason, and what waits for a person, in the situations that a run comes into."""

from typing import Any

import pytest

from engine.core.events import CriticAudited, GateDecided, GuardChecked, QuestionAsked, RunFinished, RunStarted
from store.headline import Readings
from store.outcomes import with_result
from tests.store import rows
from tests.tui.fakes import RUN
from tui.live.standing import needs, weakest
from tui.live.state import RunState
from tui.words.facts import Audit


def state(**fields: Any) -> RunState:
    found = RunState()
    found.apply(RunStarted(RUN, "s", "m", 1, 40, False))
    found.apply(GuardChecked(RUN, True, ()))
    found.min_auc = 0.6
    for name, value in fields.items():
        setattr(found, name, value)
    return found


def check(name: str, measured: float, op: str, threshold: float, **fields: Any) -> dict[str, Any]:
    return with_result(
        rows.gate(name, measured=measured, op=op, threshold=threshold, passed=True, **{"n": 200} | fields)
    )


def audit(critic: str, auc: float, may_filter: bool, kind: str = "sample", part: str = "own") -> Audit:
    return Audit(critic, part, auc, may_filter, kind, 50, 50, auc - 0.1, auc + 0.1)


def audits(*found: Audit) -> dict[tuple[str, str, str], Audit]:
    return {(one.subject_kind, one.critic, one.part): one for one in found}


FAR = check("runaway share", 0.6, "<", 0.05)
NEAR = check("token-limit share", 0.06, "<", 0.05)
CLOSE = check("pair acceptance", 0.12, ">=", 0.1)
EASY = check("instruction acceptance", 0.9, ">=", 0.1)
EMPTY = check("kept revisions", 0.0, ">=", 1, lo=None, hi=None, gate="pilot pairs")
EXACT = [
    check("guard passed", 1.0, ">=", 1, lo=None, hi=None, n=8),
    check("marker leaks", 0.0, "<=", 0, lo=None, hi=None),
]
FEW = check("pair acceptance", 1.0, ">=", 0.1, n=1)


def test_what_failed_by_most_comes_first_with_what_helps() -> None:
    found = weakest(state(audits=audits(audit("label", 0.5, False))), [EASY, NEAR, FAR], [])
    assert (found.name, found.tone, found.key, found.where) == ("runaway share", "bad", "4", "pilot gate")
    assert found.told == "0.600 [0.00–0.07], needs < 0.050, n=200" and "responses.examples" in found.helps


def test_an_empty_part_is_as_far_off_as_can_be() -> None:
    found = weakest(state(), [FAR, EMPTY], [])
    assert found.name == "kept revisions" and found.told.startswith("nothing there, needs >= 1")


def test_the_guard_comes_before_all_else() -> None:
    failed = state()
    failed.apply(GuardChecked(RUN, False, ("water",)))
    assert weakest(failed, [FAR], []).told == "water"
    found = weakest(failed, [FAR], [rows.guard_check("bos"), rows.guard_check("the_water", passed=False)])
    assert (found.name, found.told, found.key) == ("guard", "the water: 32 degrees", "G")


def test_a_gate_that_was_decided_again_counts_as_it_is_now() -> None:
    again = check("runaway share", 0.0, "<", 0.05, gate="final")
    assert weakest(state(), [FAR, again], []).tone == "good"


def test_samples_that_no_critic_filters_come_before_what_passed() -> None:
    found = weakest(
        state(audits=audits(audit("pmi", 0.4, False), audit("label", 0.5, False), audit("grade", 0.9, True, "instruction"))),
        [EASY, FEW], [],
    )  # fmt: skip
    assert found.name == "critics of samples" and found.tone == "warn"
    assert found.told == "none may filter: best is label, own items AUC 0.50 < 0.60"


def test_a_critics_worst_part_says_why_it_may_not_filter() -> None:
    found = weakest(
        state(audits=audits(audit("label", 0.9, False, part="planted"), audit("label", 0.5, False))), [], []
    )
    assert "own items AUC 0.50 < 0.60" in found.told


def test_too_few_items_are_told_as_not_tested() -> None:
    found = weakest(state(audits=audits(audit("label", 0.9, True))), [EASY, FEW], [])
    assert (found.name, found.tone) == ("pair acceptance", "warn") and "n = 1 is too small" in found.told


def test_accepted_by_rules_alone_is_no_good_figure() -> None:
    found = weakest(state(accepted=9, accepted_by_basis={"rules": 9}), [EASY, CLOSE], [])
    assert (found.name, found.tone) == ("quality", "warn") and "not audited" in found.told


def test_where_all_holds_the_closest_to_its_threshold_is_told() -> None:
    found = weakest(state(), [*EXACT, EASY, CLOSE], [])
    assert (found.name, found.tone) == ("pair acceptance", "good") and found.told.startswith("closest to its threshold")
    assert weakest(state(), EXACT, []).name == "guard passed"
    found = weakest(state(audits=audits(audit("label", 0.61, True))), [EASY], [])
    assert found.name == "AUC of label, samples, own" and "0.610 [0.51–0.71], needs >= 0.600, n=100" in found.told


def test_nothing_accepted_at_the_end_is_the_weakest_and_before_it_nothing_is_said() -> None:
    ended = state()
    assert weakest(ended, [], []).tone == "quiet"
    ended.apply(RunFinished(RUN, "done", "", 0, 9.0))
    found = weakest(ended, [EASY], [])
    assert (found.told, found.tone) == ("nothing accepted", "bad")


def test_nothing_waits_while_a_run_goes_on() -> None:
    assert needs(state()) == []


def test_questions_failed_gates_and_an_early_end_wait_each_with_its_key() -> None:
    found = state()
    found.apply(QuestionAsked(RUN, "q1", "pilot", "Scale?"))
    found.apply(QuestionAsked(RUN, "q2", "scale", "More?"))
    assert [(one.told, one.key) for one in needs(found, ("pilot",))] == [
        ("pilot waits for your answer", "g"), ("1 more question", "4"),
    ]  # fmt: skip
    found.questions.clear()
    found.apply(GateDecided(RUN, "pilot", False, ("runaway share", "median tokens"), "failed", ""))
    found.apply(RunFinished(RUN, "stopped", "asked to", 2, 9.0))
    assert [(one.told, one.key) for one in needs(found, ("pilot",))] == [
        ("review of pilot to decide", "4"), ("pilot gate failed: runaway share and 1 more", "4"),
        ("stopped: R there goes on", "7"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("read", "told"),
    [
        (Readings(30), ["not read by a person"]),
        (Readings(30, 30, 12), ["12 of 30 read by a person"]),
        (Readings(30, 30, 30, {True: (0.5, 0.3, 0.7, 20)}), []),
        (Readings(30, 30, 30, {False: (0.1, 0.0, 0.3, 30)}), []),  # none of those that were drawn is accepted
        (Readings(30, 12, 12, {True: (0.5, 0.3, 0.7, 12)}), []),  # there are no more
        (Readings(30, 12, 5), ["5 of 12 read by a person"]),
        (Readings(0), []),
    ],
)
def test_samples_that_nobody_read_wait_once_the_run_is_done(read: Readings, told: list[str]) -> None:
    found = state()
    found.apply(RunFinished(RUN, "done", "", 9, 9.0))
    found.readings = read
    assert [one.told for one in needs(found)] == told


def test_an_audit_that_is_not_counted_yet_is_no_figure() -> None:
    found = state()
    found.apply(CriticAudited(RUN, "label", "own", 0.9, True))
    assert weakest(found, [], []).told == "nothing failed yet, the gates come last"
