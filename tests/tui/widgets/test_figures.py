"""What the figures say: accepted, forecast, throughput, audits with their n, margins on one scale."""

import io
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from engine.core.events import (
    CriticAudited,
    ForecastUpdated,
    PhaseFinished,
    PhaseProgressed,
    PhaseStarted,
    RunFinished,
    RunStarted,
    ThroughputMeasured,
)
from tests.tui.fakes import RUN
from tui.app import asking
from tui.live.state import RunState
from tui.printed.progress import LiveView
from tui.printed.tables import counts_text
from tui.widgets.frame.bar import fitting
from tui.widgets.frame.header import _who
from tui.widgets.run.audit import _audit_lines
from tui.widgets.run.figures import _budget, _forecast, _throughput
from tui.widgets.samples.detail import _margin_lines
from tui.words.facts import Audit, PhaseState, of_wanted


@pytest.fixture
def state() -> RunState:
    found = RunState()
    found.apply(RunStarted(RUN, "s", "m", 1, 40, True))
    return found


def test_accepted_follows_what_is_judged_before_any_forecast(state: RunState) -> None:
    state.apply(PhaseProgressed(RUN, "instruction_judgements", 20, 20, 18))
    assert state.accepted == 0
    state.apply(PhaseProgressed(RUN, "response_judgements", 64, 92, 38))
    assert state.accepted == 38
    state.apply(PhaseFinished(RUN, "response_judgements", 92, 58))
    assert state.accepted == 58


def test_a_resumed_run_counts_what_the_store_has_until_it_judges(state: RunState) -> None:
    state.load({"run": RUN, "counts": {"accepted": 12}})
    assert state.accepted == 12 and "12/40" in _who(state)[0].plain
    assert "when this wave is judged" in _forecast(state, 60).plain
    state.apply(PhaseProgressed(RUN, "response_judgements", 30, 92, 14))
    state.load({"run": RUN, "counts": {"accepted": 13}})  # read a moment before
    assert state.accepted == 14


def test_more_than_was_wanted_is_told_as_such(state: RunState) -> None:
    assert of_wanted(27, 40) == "27 of 40 accepted" and of_wanted(30, 12) == "30 accepted (12 wanted ✓)"
    state.apply(ForecastUpdated(RUN, 58, 92, 92, 92, 92))
    assert _forecast(state, 60).plain == "forecast     reached 58 accepted (40 wanted ✓)"
    assert "accepted 58 (40 wanted ✓)" in _who(state)[0].plain
    state.apply(RunFinished(RUN, "done", "", 58, 9.0))
    assert _forecast(state, 60).plain == "accepted     58 (40 wanted ✓)"


@pytest.mark.parametrize(
    ("accepted", "told"), [(27, "27 of 40 accepted"), (58, "58 accepted (40 wanted ✓)"), (1200, "1,200 accepted (40")]
)
def test_it_is_told_alike_wherever_it_is_told(state: RunState, accepted: int, told: str) -> None:
    state.accepted, state.target = accepted, 40
    view = LiveView(Console(file=io.StringIO(), width=120), state)
    console = Console(file=io.StringIO(), width=120)
    with console.capture() as shown:
        console.print(view._render())
    assert told in shown.get()
    assert told in asking.resume("r", accepted, 40).text
    assert counts_text({"counts": {"accepted": accepted, "samples": 90}, "target": 40}).plain.startswith(told)


def test_counts_of_a_run_without_a_target_or_without_counts_are_told() -> None:
    assert counts_text({"counts": {"accepted": 3, "samples": 4}}).plain == "3 accepted, 4 samples"
    assert counts_text({"target": 40}).plain == "– accepted, – samples"


def test_a_phase_that_only_scores_has_no_token_rate(state: RunState) -> None:
    state.apply(PhaseStarted(RUN, "responses", 40))
    state.apply(ThroughputMeasured(RUN, "responses", 120.0, 0.0))
    assert "120.0" in _throughput(state, 60).plain
    state.apply(PhaseStarted(RUN, "response_judgements", 40))
    assert _throughput(state, 60).plain == "tokens/s     –"
    state.apply(ThroughputMeasured(RUN, "response_judgements", 0.0, 12.5))
    assert _throughput(state, 60).plain == "tokens/s     –   12.5 scored/s"
    assert list(state.tokens_per_s) == [120.0]


def test_what_came_back_at_once_is_no_rate() -> None:
    phase = PhaseState("responses", "running", 90, 92)
    phase.marks.extend([(10.0, 0), (10.001, 90)])
    assert phase.rate_per_s is None and phase.eta_s is None
    phase.marks.append((12.0, 91))
    assert phase.rate_per_s == pytest.approx(45.5)


@pytest.mark.parametrize("width", [36, 46, 60])
def test_a_price_that_is_not_set_is_no_stray_comma(state: RunState, width: int) -> None:
    line = _budget(state, None, width).plain
    assert "no price set" in line and ". ," not in line and len(line) <= width
    assert ("press , for settings" in line) == (width >= 60)


AUDITS = [
    Audit("grade", "planted", 0.71, False, "sample", 24, 26),
    Audit("grade", "own", 0.0, False, "sample", 20, 20),
    Audit("pmi", "planted", 0.9, True, "sample", 24, 26),
    Audit("pmi", "own", 0.8, True, "sample"),
    Audit("label", "planted", None, False, "instruction", 24, 0),
    Audit("label", "person", 0.1, False, "instruction", 4, 3),
]


def audit_lines(width: int, min_auc: float | None = 0.65) -> list[str]:
    return [line.plain for line in _audit_lines(AUDITS, min_auc, width)]


def test_an_audit_has_its_n_and_the_part_that_keeps_the_critic_from_filtering() -> None:
    lines = audit_lines(76)
    assert "AUC 0.710 24 good, 26 bad – unaudited" in lines[0] and "0.000 20 good, 20 bad" in lines[1]
    assert lines[2] == "  grade may not filter: own items AUC 0.00 < 0.65"
    assert "✓ filters" in lines[3] and "AUC 0.800 ✓ filters" in lines[4]
    assert lines[7] == "  label may not filter: planted items AUC undefined"
    assert len(lines) == 8  # what a person labelled keeps no critic back


def test_audits_fit_a_narrow_panel_and_wait_for_the_store() -> None:
    for width in (36, 46, 60):
        assert [line for line in audit_lines(width) if len(line) > width] == []
    assert "0.710 24+26 –" in audit_lines(36)[0] and audit_lines(36)[2] == "  no filter: own AUC 0.00 < 0.65"
    assert len(audit_lines(60, None)) == len(AUDITS)


def test_an_auc_just_below_is_not_told_as_equal() -> None:
    (_, line) = _audit_lines([Audit("grade", "own", 0.6497, False)], 0.65, 60)
    assert "0.6497 < 0.6500" in line.plain


def test_the_store_brings_the_n_that_events_do_not_carry(state: RunState) -> None:
    state.apply(CriticAudited(RUN, "grade", "own", 0.5, False))
    assert state.audits["sample", "grade", "own"].n_good is None
    row = {"critic": "grade", "part": "own", "auc": 0.5, "may_filter": False, "subject_kind": "sample"}
    settings = {"critics": {"accept_above": 0.4, "min_auc": 0.65}}
    state.load({"run": RUN, "settings": settings}, audits=[row | {"n_good": 30, "n_bad": 28}])
    found = state.audits["sample", "grade", "own"]
    assert (found.n_good, found.n_bad, state.min_auc) == (30, 28, 0.65)


def judgement(score: float, *, audited: bool, nats: float = 0.072) -> dict[str, Any]:
    return {"critic": "grade", "score": score, "margin_nats": nats, "audited": audited, "parts": [{"variant": "a"}]}


def test_margins_of_all_samples_stand_on_one_scale() -> None:
    def bar(score: float) -> str:
        return _margin_lines("Margins", [judgement(score, audited=False)], 0.4, 80)[2].plain

    assert bar(0.5).count("█") == pytest.approx(bar(1.0).count("█") / 2, abs=1)
    assert bar(1.0).count("█") < bar(2.0).count("█") and "▶" not in bar(2.0)
    assert "◀" in bar(-4.42) and "-4.42 +0.072 nats" in bar(-4.42)


def test_a_threshold_is_drawn_and_explained_only_where_it_is_in_force() -> None:
    for audited, above in ((False, 0.4), (True, None), (True, 0.4)):
        text = "\n".join(line.plain for line in _margin_lines("Margins", [judgement(1.0, audited=audited)], above, 80))
        assert ("threshold" in text) == ("┃" in text) == (audited and above is not None)


def test_keys_are_left_out_whole_and_help_and_quit_last() -> None:
    node: Any = SimpleNamespace()
    names = (("c", "Critic", "critic"), ("s", "Stop", "stop"), ("?", "Help", "help"), ("q", "Quit", "leave"))
    keys = [(key, name, action, node) for key, name, action in names]

    def shown(width: int) -> tuple[str, bool]:
        found, left_out = fitting(keys, width, ("help", "leave"))
        return "".join(key for key, *_ in found), left_out

    assert shown(80) == ("cs?q", False) and shown(34) == ("cs?q", False)
    assert shown(33) == ("c?q", True) and shown(20) == ("?q", True) and shown(12) == ("?", True)
