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
from store.headline import headline, plain
from tests.tui.fakes import RUN
from tui.app import asking
from tui.live.state import RunState
from tui.printed.progress import LiveView
from tui.printed.tables import counts_text, good_facts
from tui.widgets.frame.bar import fitting
from tui.widgets.frame.header import _who
from tui.widgets.run import audit
from tui.widgets.run.figures import _budget, _forecast, _good_ones, _left, _throughput
from tui.widgets.samples.detail import _margin_lines
from tui.words.audits import sentence
from tui.words.facts import Audit, PhaseState, of_wanted
from tui.words.wording import phase_title


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
    assert (
        state.accepted == 12
        and "12 by form rules · quality not audited · not read by a person · 40 wanted" in _who(state)[0].plain
    )
    assert "when this wave is judged" in _forecast(state, 60).plain
    state.apply(PhaseProgressed(RUN, "response_judgements", 30, 92, 14))
    state.load({"run": RUN, "counts": {"accepted": 13}})  # read a moment before
    assert state.accepted == 14


def test_more_than_was_wanted_is_told_as_such(state: RunState) -> None:
    assert of_wanted(27, 40) == "27 of 40 accepted" and of_wanted(30, 12) == "30 accepted (12 wanted)"
    state.apply(ForecastUpdated(RUN, 58, 92, 92, 92, 92))
    assert _forecast(state, 60).plain == "forecast     reached 58 accepted (40 wanted)"
    assert "58 by form rules · quality not audited · not read by a person · 40 wanted" in _who(state)[0].plain
    state.apply(RunFinished(RUN, "done", "", 58, 9.0))
    assert _forecast(state, 60).plain == "accepted     58 by rules, not audited, unread · 40 wanted"


@pytest.mark.parametrize(
    ("accepted", "told"), [(27, "27 of 40 accepted"), (58, "58 accepted (40 wanted)"), (1200, "1,200 accepted (40")]
)
def test_it_is_told_alike_wherever_it_is_told(state: RunState, accepted: int, told: str) -> None:
    state.accepted, state.target = accepted, 40
    view = LiveView(Console(file=io.StringIO(), width=120), state)
    console = Console(file=io.StringIO(), width=120)
    with console.capture() as shown:
        console.print(view._render())
    assert told in shown.get()
    assert told in asking.resume("r", accepted, 40).text


def test_counts_of_a_run_without_a_target_or_without_counts_are_told() -> None:
    kind = plain(headline({"rules": 3}, None))
    assert counts_text({"counts": {"samples": 4}, "acceptance": kind}).plain == f"{kind['told']}, 4 samples"
    none = plain(headline({}, None))
    assert counts_text({"target": 40, "acceptance": none}).plain == "nothing accepted · 40 wanted, – samples"


def test_a_phase_that_only_scores_has_no_token_rate(state: RunState) -> None:
    state.apply(PhaseStarted(RUN, "responses", 40))
    state.apply(ThroughputMeasured(RUN, "responses", 120.0, 0.0))
    assert "120.0" in _throughput(state, 60).plain
    state.apply(PhaseStarted(RUN, "response_judgements", 40))
    assert _throughput(state, 60).plain == "tokens/s     –"
    state.apply(ThroughputMeasured(RUN, "response_judgements", 0.0, 12.5))
    assert _throughput(state, 60).plain == "tokens/s     –   12.5 scored/s"
    assert list(state.gauges.tokens_per_s) == [120.0]


def test_what_came_back_at_once_is_no_rate() -> None:
    phase = PhaseState("responses", "running", 90, 92)
    phase.marks.extend([(10.0, 0), (10.001, 90)])
    assert phase.rate_per_s is None and phase.eta_s is None
    phase.marks.append((12.0, 91))
    assert phase.rate_per_s == pytest.approx(45.5)


def test_of_phases_side_by_side_the_one_that_takes_longest_says_what_is_left() -> None:
    now = [10.0]
    state = RunState(clock=lambda: now[0])
    rates = {"instruction_judgements": 9, "responses": 1, "response_judgements": 2}
    for name in rates:
        state.apply(PhaseStarted(RUN, name, 90))
    now[0] = 12.0
    for name, rate in rates.items():
        state.apply(PhaseProgressed(RUN, name, 2 * rate, 90, None))
    assert _left(state) == (88.0, phase_title("responses"))


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
PROBED = [
    Audit("probe", "own", 0.72, False, "sample", 156, 1422, 0.67, 0.76, 0.031),
    Audit("grade", "own", 0.5, False, "pair", 30, 30, 0.5, 0.5, None, True),
    Audit("probe", "fresh", 0.61, False, "sample", 42, 168, 0.51, 0.7, 0.08),
    Audit("probe", "person", 0.6, False, "sample", 4, 6),
]


def audit_lines(width: int, min_auc: float | None = 0.65, audits: list[Audit] = AUDITS) -> list[str]:
    return [line.plain for line in audit.audit_lines(audits, min_auc, width)]


def test_an_audit_has_its_n_and_the_part_that_keeps_the_critic_from_filtering() -> None:
    lines = audit_lines(76)
    assert lines[0] == "cross-validated"
    assert "AUC 0.710 24 good, 26 bad – unaudited" in lines[1] and "0.000 20 good, 20 bad" in lines[2]
    assert lines[3] == "  grade may not filter: own items AUC 0.00 < 0.65"
    assert "✓ filters" in lines[4] and "AUC 0.800 ✓ filters" in lines[5]
    assert lines[7] == "  label may not filter: planted items AUC undefined"
    assert lines[8] == "labelled by a person" and len(lines) == 10  # which keeps no critic back


def test_audits_fit_a_narrow_panel_and_wait_for_the_store() -> None:
    for width in (36, 46, 60, 76, 90):
        for audits in (AUDITS, PROBED):
            assert [line for line in audit_lines(width, audits=audits) if len(line) > width] == []
    assert "0.710 24+26 –" in audit_lines(36)[1] and audit_lines(36)[3] == "  no filter: own AUC 0.00 < 0.65"
    assert len(audit_lines(60, None)) == len(AUDITS) + 2


def test_an_auc_just_below_is_not_told_as_equal() -> None:
    line = audit_lines(60, 0.65, [Audit("grade", "own", 0.6497, False)])[-1]
    assert "0.6497 < 0.6500" in line


@pytest.mark.parametrize("width", [36, 120])
def test_audits_of_fresh_candidates_stand_apart_from_cross_validated_ones(width: int) -> None:
    lines = audit_lines(width, audits=PROBED)
    at = [lines.index(head) for head in ("cross-validated", "fresh, read blind", "labelled by a person")]
    assert at == sorted(at) and at[0] == 0
    before, fresh = "\n".join(lines[: at[1]]), "\n".join(lines[at[1] : at[2]])
    assert "0.720" in before and "[0.67–0.76]" in before and "0.031" in before and "fresh" not in before
    assert "0.610" in fresh and "[0.51–0.70]" in fresh and "0.080" in fresh and "own" not in fresh
    n = ("156+1422", "42+168") if width == 36 else ("156 good, 1,422 bad", "42 good, 168 bad")
    assert n[0] in before and n[1] in fresh and "fresh" in fresh and "0.61 < 0.65" in fresh


@pytest.mark.parametrize("width", [36, 76])
def test_a_critic_without_a_scale_has_no_auc_to_be_told(width: int) -> None:
    (line,) = [line for line in audit_lines(width, audits=PROBED) if line.startswith("pref. grade")]
    assert "no scale" in line and "0.5" not in line


BY_FRESH = {"kind": "sample", "critic": "probe", "part": "fresh", "n": 210, "taken": 24, "good": 8,
            "precision": 8 / 24, "lo": 0.18, "hi": 0.53}  # fmt: skip
BY_FOLDS = BY_FRESH | {"kind": "instruction", "part": "own", "n": 966, "taken": 500, "precision": 0.82, "lo": 0.78,
                       "hi": 0.85}  # fmt: skip
BY_RULES = {"kind": "sample", "critic": None, "part": None}


def good_ones(found: list[dict[str, Any]], width: int, room: int) -> list[str]:
    return [line.plain for line in _good_ones(found, width, room)]


def test_the_share_of_good_ones_has_its_interval_its_n_its_audit_and_its_cost() -> None:
    assert good_ones([BY_FRESH], 70, 4) == [
        "good pairs   33 % [18–53] of 24",
        "             by 210 fresh labels · 1 of 9 candidates taken",
    ]
    assert good_ones([BY_FRESH], 36, 1) == ["good 33 % [18–53] n=24 fresh, 1 of 9"]
    assert good_ones([BY_FRESH], 26, 1) == ["good 33 % [18–53] fresh"]
    assert "by cross-validation, 966 labels" in good_ones([BY_FOLDS], 46, 2)[1]
    assert sentence(BY_FOLDS) == (
        "82 % [78–85] of 500 accepted, by cross-validation, 966 labels (probe) · 1 of 1.9 candidates taken"
    )


def test_where_no_critic_decides_no_share_is_made_up() -> None:
    for width in (36, 46, 70):
        (line,) = good_ones([BY_RULES], width, 2)
        assert "not known: rules alone accept" in line and "%" not in line and len(line) <= width
    assert "no audit tells" in good_ones([BY_RULES | {"critic": "grade"}], 46, 2)[0]
    assert good_ones([BY_FRESH | {"taken": 0, "precision": None}], 46, 1) == ["good pairs none accepted fresh"]


def test_the_printed_status_tells_it_too() -> None:
    lines = [line.plain for line in good_facts({"good_among_accepted": [BY_FOLDS, BY_RULES]})]
    assert lines[0].startswith("good instr. 82 % [78–85] of 500 accepted, by cross-validation")
    assert lines[1] == "good pairs  not known: rules alone accept" and good_facts({}) == []


def test_two_shares_never_stand_in_one_line() -> None:
    for width, room in ((36, 1), (44, 2), (46, 4), (70, 4)):
        lines = good_ones([BY_FOLDS, BY_FRESH], width, room)
        assert any("fresh" in line for line in lines) and len(lines) == room
        assert not any("fresh" in line and "cross" in line for line in lines)
        assert not any("82 %" in line and "33 %" in line for line in lines)


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


def test_figures_are_told_whole_at_any_width_and_the_bar_takes_what_they_leave() -> None:
    bars = []
    for width in range(34, 90):
        line = _margin_lines("Margins", [judgement(-14.42, audited=False, nats=-10.123)], 0.4, width)[2].plain
        assert line.startswith("grade") and line.endswith(" -14.42 -10.123 nats") and len(line) <= width
        bars.append(line.count("│"))
    assert bars[0] == 0 and bars[-1] == 1 and bars == sorted(bars)
    for width in (20, 26):
        line = _margin_lines("Margins", [judgement(-4.42, audited=False, nats=0.123)], 0.4, width)[2].plain
        assert "-4.42 +0.123 nats" in line and len(line) <= max(width, 22)


@pytest.mark.parametrize("width", [20, 34, 48, 80])
def test_a_critic_without_a_scale_has_a_margin_and_no_score(width: int) -> None:
    line = _margin_lines("Margins", [judgement(0.0, audited=False)], 0.4, width, ["grade"])[2].plain
    assert "no scale +0.072 nats" in line and "+0.00" not in line and "│" not in line
    assert "+0.00" in _margin_lines("Margins", [judgement(0.0, audited=False)], 0.4, 80)[2].plain


def test_which_critic_has_no_scale_is_read_from_its_audit(state: RunState) -> None:
    row = {"critic": "grade", "part": "own", "auc": 0.5, "may_filter": False, "subject_kind": "pair"}
    told: list[dict[str, Any]] = [{"no_scale": "no"}, {"half_gap_nats": float("inf")}, {"half_gap_nats": 0.2}]
    for detail, found in zip(told, (True, True, False), strict=True):
        state.load({"run": RUN}, audits=[row | {"detail": detail}])
        assert state.no_scale == (frozenset({("grade", "pair")}) if found else frozenset())


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
