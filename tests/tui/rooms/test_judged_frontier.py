"""What a judge said in the room Evaluation: a cell of the grid, the plane, and the words of both faces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from store.db import Store
from tests.store.judged_rows import judge_result, judged
from tests.tui.fakes import RUN
from tests.tui.rooms.test_evaluation_rates import forest, rated
from tests.tui.screen import control_center, settle
from tui.reads.evaluation import evaluation_account
from tui.widgets.evaluation.frontier import large, small
from tui.words.judging import judge_words, offer_words

POINT: dict[str, Any] = {
    "judge": "a-judge", "condition": "sft", "helpful": 0.58, "helpful_lo": 0.49, "helpful_hi": 0.66, "harmless": 0.72, "harmless_lo": 0.6,
    "harmless_hi": 0.83,
}  # fmt: skip


async def test_the_grid_has_a_cell_of_the_judge_and_the_plane_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    rated(path)
    with Store.open(path) as store:
        store.append({"judge_results": judged(RUN)})
    async with control_center(path, None, size=(120, 40)) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        await pilot.press("6")
        await settle(pilot, lambda: "judged in pairs" in forest(app))
        assert "sft helpful" in forest(app) and "58.0 %" in forest(app) and "71.9 %" in forest(app)
        await pilot.press("k", "h", "enter")
        await settle(pilot, lambda: "up: less harmful" in forest(app))
        assert "○ base" in forest(app) and "● sft" in forest(app) and "not read" in forest(app)


def test_an_account_has_the_frontier_with_its_intervals(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.duckdb") as store, store.reader() as reader:
        store.append({"judge_results": [*judged(), judge_result(after="dpo"), judge_result("harmless", "dpo", "sft")]})
        found = evaluation_account(reader, "run-a")
    (point,) = found["frontier"]  # dpo has no harmlessness against the base
    assert (point["condition"], point["helpful"], point["controlled"]) == ("sft", 0.58, True)
    assert (point["harmless"], point["harmless_lo"], point["harmless_hi"]) == (0.71875, 0.6, 0.83)
    assert len(found["judged"]) == 4


@pytest.mark.parametrize("size", [(30, 8), (60, 20), (150, 50)])
def test_points_and_intervals_lie_where_they_belong(size: tuple[int, int]) -> None:
    drawn = large([POINT | {"condition": "dpo", "helpful": 1.0, "helpful_hi": 1.0}, POINT], [], *size)
    lines = ["".join(text for text, _ in line) for line in drawn]
    marks = {at: line for at, line in enumerate(lines) if "●" in line}
    assert len(marks) == 1 and all(line.count("●") == 2 for line in marks.values())  # one height for both
    (base,) = [at for at, line in enumerate(lines) if "○" in line]
    assert min(marks) < base, "less harmful is up"
    assert max(map(len, lines)) <= max(size[0], 51)
    both = "\n".join("".join(text for text, _ in line) for line in small([POINT, POINT | {"judge": "b"}], 120, 5))
    assert "sft by a-judge helpful" in both and "sft by b harmless" in both
    rows = small([POINT], size[0], 5)
    assert len(rows) == 5 and "72.0 %" in "".join(text for text, _ in rows[1])


@pytest.mark.parametrize("helpful", [0.0, 0.3, 0.5, 0.7, 1.0])
def test_a_long_name_of_a_judge_is_cut_within_the_plane(helpful: float) -> None:
    ends = {"helpful": helpful, "helpful_lo": helpful, "helpful_hi": helpful}
    for width in (20, 60):
        other = POINT | ends | {"judge": "b", "condition": "dpo", "harmless": 0.1}
        drawn = large([POINT | ends | {"judge": "a-judge/" * 30}, other], [], width, 20)
        lines = ["".join(text for text, _ in line) for line in drawn[1:]]
        (at,) = [line for line in lines if "sft by" in line]
        assert at.index("●") == 5 + round(helpful * (len(at) - 6)) and len(at) == max(20, width - 5) + 5


def test_words_have_an_effect_with_every_p_and_say_what_nobody_read() -> None:
    first, last = judge_words([judge_result()])
    assert first == (
        "sft against base_formatted, more helpful: wins 63.5 % [55.0, 72.0], p 0.0031, q 0.0062; at equal length 58.0 % "
        "[49.0, 66.0], log odds +0.32, p 0.081, q 0.12; 96 pairs of 80 templates, 20 ties, 12 as the orders disagree, 1 "
        "without a verdict"
    )
    assert last == "a-judge and a person: not read"
    read = judge_words([judge_result(person_n=20, person_agrees=15)])[-1]
    assert read.startswith("a-judge and a person: agree on 75.0 % [") and "of 20 pairs" in read
    none = judge_result(n=0, win_rate=None, unreadable=5)
    assert judge_words([none])[0] == "sft against base_formatted, more helpful: no verdict of 5 pairs"


def test_an_offer_says_who_judges_and_that_it_costs_nothing_by_default() -> None:
    assert offer_words(None).startswith("nobody; ")
    judge = {"name": "reviewer", "helpful": 96, "harmless": 48, "calls_at_most": 864, "usd_at_most": None}
    assert "at most 864 calls" in offer_words(judge) and "before anything is sent" in offer_words(judge)
    assert "it costs $12.34 at most (gpt-5)" in offer_words(judge | {"usd_at_most": 12.34, "priced": "gpt-5"})
    assert "before anything is sent" not in offer_words({**judge, "name": "a-model"})
