"""Evaluation: what a claim needs before there are answers; with them, rates by type, one large, another run over them."""

from pathlib import Path
from typing import Any

import pytest
from textual.widgets import DataTable, Static

from engine.core.errors import EvaluationError
from engine.evaluation.items import item_set
from store.db import Store
from tests.store import rows
from tests.tui.fakes import RUN, fill
from tests.tui.rooms.test_evaluation_room import evaluated, gap_check
from tests.tui.screen import control_center, settle, shown
from tui.app.app import ControlCenter
from tui.reads.evaluation import rates, rates_beside, standing
from tui.rooms.evaluation import EvaluationRoom
from tui.widgets.evaluation.forest import Forest
from tui.widgets.evaluation.needs import needs_of


def column(app: ControlCenter, name: str) -> str:
    return " ".join(str(app.query_one(f"#column-{name} Static", Static).content).split())


def forest(app: ControlCenter) -> str:
    return app.query_one(Forest).text


def by_type(run_id: str = RUN, *, right: int = 3, **fields: Any) -> list[rows.Row]:
    """Ten answers to each of three types, `right` of them right by the base and twice as many after SFT."""
    return [
        rows.evaluation_answer(f"{kind}-{at}", condition, at < many, run_id, **fields)
        for kind in ("arithmetic", "json_format", "rewriting")
        for at in range(10)
        for condition, many in (("base_raw", right), ("sft", 2 * right))
    ]


def rated(path: Path) -> None:
    fill(path)
    with Store.open(path) as store:
        items = [
            rows.evaluation_item(f"{kind}-{at}", kind)
            for kind in ("arithmetic", "json_format", "rewriting")
            for at in range(10)
        ]
        difference = rows.evaluation_result("json_format", before="base_raw", difference=0.3, lo=-0.1, hi=0.6)
        store.append({"evaluation_items": items, "evaluation_answers": by_type(), "evaluation_results": [difference]})


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
async def test_a_run_without_evaluation_shows_what_a_claim_needs_at_once(tmp_path: Path, size: tuple[int, int]) -> None:
    fill(tmp_path / "s.duckdb")
    async with control_center(tmp_path / "s.duckdb", None, size=size) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        await pilot.press("6", "n", "x", "v", "o", "j", "enter")
        await settle(pilot, lambda: "are there" in column(app, "needs"))
        assert "Nothing was evaluated in this run yet" in shown(app, "#evaluation-lead") and len(app.screen_stack) == 1
        told = column(app, "needs")
        assert "✗ tests are registered: nothing is" in told and "Press e, then p, before a tuned model" in told
        assert "✗ the base was asked: 0 of " in told and "✗ a model is trained: none is yet" in told
        assert "base_few_shot" in column(app, "asked") and "instruction following" in column(app, "asked")
        room, plan = app.query_one(EvaluationRoom).region, app.query_one("#evaluation-plan").region
        assert plan.height >= room.height - 5


async def test_why_there_is_no_offer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise EvaluationError("the spec has no section 'evaluation'", "Begin a run with a newer spec.")

    monkeypatch.setattr("engine.analyses.offers.evaluation_offer", none)
    fill(tmp_path / "s.duckdb")
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        await pilot.press("6")
        await settle(pilot, lambda: "✗ the spec has no section 'evaluation'. Begin a run" in column(app, "needs"))


def test_needs_are_met_one_by_one(tmp_path: Path) -> None:
    from engine.analyses.offers import evaluation_offer

    fill(tmp_path / "s.duckdb")
    with Store.open(tmp_path / "s.duckdb") as store:
        store.append({"guard_checks": [], "gates": [gap_check("base_raw_right", 0.1, True)]})
        with store.reader() as reader:
            found, offer = standing(reader, RUN), evaluation_offer(reader, RUN)
    met = {need.name: need.met for need in needs_of(found, offer)}
    assert met["the gap gate"] and met["the base was asked"] is False
    body = {"items_sha256": item_set().sha256, "scorer_sha256": offer["scorer_sha256"]}
    asked = [{**one, "missing": 0} for one in offer["conditions"]]
    sft = {"name": "sft", "in_words": "", "model": "m", "adapter": "sft-1", "items": 1, "missing": 1}
    offer |= {"registered": {"at": rows.T0, "body": body}, "conditions": [*asked, sft]}
    met = {need.name: need.met for need in needs_of(found, offer)}
    assert met["tests are registered"] and met["the base was asked"] and met["a model is trained"]
    offer["registered"]["body"] = {**body, "items_sha256": "of others"}
    needs = {need.name: need for need in needs_of(found, offer)}
    assert not needs["tests are registered"].met and "for other items" in needs["tests are registered"].found


async def test_rates_by_type_stand_in_a_grid_and_one_opens(tmp_path: Path) -> None:
    rated(tmp_path / "s.duckdb")
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        await pilot.press("6")
        await settle(pilot, lambda: "▸ all types n 30" in forest(app))
        assert "arithmetic n 10" in forest(app) and "json format n 10" in forest(app)
        assert forest(app).count("30.0 %") == 4 and forest(app).count("60.0 %") == 4 and "━●━" in forest(app)
        await pilot.press("right", "l")
        assert "▸ json format" in forest(app)
        await pilot.press("enter")
        await settle(pilot, lambda: "arithmetic" not in forest(app))
        assert "60.0 % [31.3, 83.2] of test, 10 items" in forest(app) and "100 %" in forest(app)
        assert "Differences, points" in forest(app) and "base_raw → sft" in forest(app)
        await pilot.press("j")
        assert "▸ rewriting" in forest(app) and "Differences" not in forest(app)
        await pilot.press("k", "escape", "v")
        await settle(pilot, lambda: app.query_one("#evaluation-results").display)
        table = app.query_one("#evaluation-table", DataTable)
        assert not app.query_one(Forest).display and table.has_focus
        assert str(table.get_row_at(table.cursor_row)[0]) == "json format", "the chosen type goes with the keys"
        await pilot.press("v")
        assert app.query_one(Forest).has_focus


async def test_a_run_that_was_asked_the_same_items_is_laid_over(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    rated(path)
    later = rows.T0.replace(year=2027)
    with Store.open(path) as store:
        others = by_type("run-b", right=5) + by_type("run-c", right=1, scorer_sha256="ee" * 32, at=later)
        elsewhere = [rows.evaluation_answer("x", "sft", True, "run-d", items_sha256="ff" * 32)]
        store.append({"evaluation_answers": others + elsewhere})
    async with control_center(path, None) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        await pilot.press("6")
        await settle(pilot, lambda: "▸ all types" in forest(app))
        await pilot.press("o")
        await settle(pilot, lambda: "run-a  ━○━ run-c (1 of 2), the same items · other verifiers" in forest(app))
        assert "10.0 %" in forest(app) and "30.0 %" in forest(app) and "○" in forest(app).split("\n", 1)[1]
        await pilot.press("o")
        await settle(pilot, lambda: "run-b (2 of 2), the same items" in forest(app))
        assert "verifiers" not in forest(app) and "100.0 %" in forest(app)
        await pilot.press("o")
        await settle(pilot, lambda: "run-b" not in forest(app))


def test_runs_that_were_asked_other_items_are_not_compared(tmp_path: Path) -> None:
    evaluated(tmp_path / "s.duckdb")
    with Store.open(tmp_path / "s.duckdb") as store, store.reader() as reader:
        items = standing(reader, RUN).items_sha256
        found = rates(reader, RUN, items)
        assert {(one["item_type"], one["condition"], one["n"], one["n_right"]) for one in found.rows} == {
            (kind, condition, 4, 2) for kind in ("all", "arithmetic") for condition in ("base_formatted", "sft")
        }
        assert rates_beside(reader, RUN, items, None) is None


async def test_a_wide_terminal_shows_rates_and_results(tmp_path: Path) -> None:
    rated(tmp_path / "s.duckdb")
    async with control_center(tmp_path / "s.duckdb", None, size=(200, 50)) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        await pilot.press("6")
        await settle(pilot, lambda: "▸ all types" in forest(app))
        assert app.query_one(Forest).has_focus and app.query_one("#evaluation-results").display
        await pilot.press("v")
        assert app.query_one("#evaluation-table").has_focus and app.query_one(Forest).display
