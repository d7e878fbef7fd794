"""Curves of a training: a grid with one chosen, one large, a step that is read, smoothing, another laid over."""

import math
from pathlib import Path

import pytest

from store.db import Store
from tests.store import rows
from tests.tui.fakes import RUN
from tests.tui.rooms.test_training_room import titles, trained
from tests.tui.screen import control_center, settle, shown
from tui.app.app import ControlCenter
from tui.reads.training import lay_over, trainings
from tui.rooms.training import TrainingRoom
from tui.widgets.training.curve import Curve, Picture, round_step, short
from tui.widgets.training.curves import lines_of, shape_of
from tui.widgets.training.line import Line


def chosen(app: ControlCenter) -> str:
    """The first line of the chosen curve."""
    (found,) = [one for one in app.query(Curve) if one.display and one.picture is not None and one.picture.chosen]
    return found.text.split("\n")[0]


async def test_a_grid_of_curves_is_walked_and_one_opened_large(tmp_path: Path) -> None:
    trained(tmp_path / "s.duckdb")
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        await pilot.press("5")
        await settle(pilot, lambda: "step 40 of 100" in shown(app, "#training-head"))
        head = shown(app, "#training-head")
        assert "200 tok/s" in head and "ETA 1:48" in head and "2.0 of 24 GiB" in head
        assert "last checkpoint: step 40" in head and "best: step 20, held-out loss 0.4100" in head
        await settle(pilot, lambda: len(titles(app)) == 7)
        assert titles(app) == ["Loss", "Held-out loss", "Learning rate", "Gradient norm", "Tokens/s", "Reward margin",
                               "Reward accuracy"]  # fmt: skip
        assert "at step 40" in shown(app, "#training-values") and "▸ Loss 0.0173" in chosen(app)
        for key, title in (("right", "Held-out loss 0.6000"), ("l", "Learning rate"), ("l", "Gradient norm"),
                           ("down", "Reward accuracy"), ("k", "Gradient norm"), ("j", "Reward accuracy"), ("h", "Reward margin +4.000")):  # fmt: skip
            await pilot.press(key)
            assert f"▸ {title}" in chosen(app), key

        await pilot.press("enter")
        await settle(pilot, lambda: titles(app) == ["Reward margin"])
        assert "least 0.1 at step 1, greatest 4 at 40" in shown(app, "#training-values")
        await pilot.press("left", "h")
        assert "at step 38" in shown(app, "#training-values") and "Reward margin +3.800" in chosen(app)
        await pilot.press("j")
        assert titles(app) == ["Reward accuracy"]
        await pilot.press("escape")
        await settle(pilot, lambda: len(titles(app)) == 7)
        assert "at step 38" in shown(app, "#training-values"), "closing must not leave the step that is read"
        await pilot.press("escape")
        assert "at step 40" in shown(app, "#training-values")


async def test_steps_are_read_in_the_grid(tmp_path: Path) -> None:
    trained(tmp_path / "s.duckdb")
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        await pilot.press("5")
        await settle(pilot, lambda: bool(titles(app)))
        for key, step in (("[", 39), ("]", 40), ("H", 15), ("L", 40), ("home", 1), ("end", 40), ("home", 1)):
            await pilot.press({"[": "left_square_bracket", "]": "right_square_bracket"}.get(key, key))
            assert f"at step {step}," in shown(app, "#training-values"), key
        assert "Loss 0.6931" in chosen(app)
        assert "●" in next(one.text for one in app.query(Curve))
        await pilot.press("t")
        await settle(pilot, lambda: "step 10 of 100" in shown(app, "#training-head"))
        await settle(pilot, lambda: "Reward margin" not in titles(app))


async def test_the_room_follows_a_training_at_work(tmp_path: Path) -> None:
    trained(tmp_path / "s.duckdb")
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        await pilot.press("5")
        await settle(pilot, lambda: "at step 40" in shown(app, "#training-values"))
        assert app.session.library is not None
        found = app.session.library.reading(lambda reader: trainings(reader, "run-a", "dpo-1", 38))
        assert [step["step"] for step in found.steps] == [39, 40]
        room = app.query_one(TrainingRoom)
        new = rows.training_step(41, "dpo-1", loss=0.01, reward_margin=9.0)
        room._learn(type(found)("run-a", found.trainings, "dpo-1", [new], 39, found.checkpoints))
        assert "at step 41" in shown(app, "#training-values") and "Loss 0.0100" in chosen(app)
        room._learn(type(found)("run-a", found.trainings, "dpo-1", [new], 38, found.checkpoints))
        assert [step["step"] for step in room._steps][-2:] == [40, 41], "an answer to an older question was taken"


async def test_curves_are_smoothed_and_say_so(tmp_path: Path) -> None:
    trained(tmp_path / "s.duckdb")
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        await pilot.press("5")
        await settle(pilot, lambda: bool(titles(app)))
        for factor in ("0.6", "0.9", "0.98"):
            await pilot.press("w")
            assert f"Loss 0.0173 · EMA {factor}" in chosen(app) and f"EMA {factor} a step" in shown(
                app, "#training-values"
            )
        rate = next(one for one in app.query(Curve) if one.picture is not None and one.picture.title == "Learning rate")
        assert "EMA" not in rate.text, "nothing was measured that could be smoothed"
        await pilot.press("w")
        assert "EMA" not in chosen(app) + shown(app, "#training-values")


async def test_another_training_of_the_store_is_laid_over(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    trained(path)
    other = [rows.training_step(at, "dpo-9", "run-b", loss=2.0 + at, reward_margin=0.1) for at in range(1, 61)]
    with Store.open(path) as store:
        store.append({
            "trainings": [rows.training("dpo-9", "run-b", method="dpo", state="done"), rows.training("dpo-0", "run-b", method="dpo")],
            "training_steps": other,
        })  # fmt: skip
    async with control_center(path, None) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        await pilot.press("5")
        await settle(pilot, lambda: bool(titles(app)))
        await pilot.press("o")
        await settle(pilot, lambda: "run-b dpo-9, 60 steps (1 of 2)" in shown(app, "#training-values"))
        assert "━━ dpo-1" in shown(app, "#training-values") and "Loss 0.0173 · 42.0000" in chosen(app)
        loss = next(one for one in app.query(Curve) if one.picture is not None and one.picture.title == "Loss")
        assert loss.picture is not None and loss.picture.span == (1, 60) and len(loss.picture.drawn) == 2
        await pilot.press("o")
        await settle(pilot, lambda: "sft-1, 10 steps (2 of 2)" in shown(app, "#training-values"))
        assert "·" not in chosen(app), "it ended before this step"
        await pilot.press("o")
        await settle(pilot, lambda: "sft-1" not in shown(app, "#training-values"))
        await pilot.press("o", "t")
        await settle(pilot, lambda: "step 10 of 100" in shown(app, "#training-head"))
        assert "of 2)" not in shown(app, "#training-values"), "it was laid over another training"


async def test_a_training_alone_in_its_store_has_none_to_lay_over(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.duckdb") as store:
        store.append({"trainings": [rows.training()], "training_steps": [rows.training_step(1)]})
        assert lay_over(store.reader(), RUN, "sft-1", None) is None


@pytest.mark.parametrize("at_once", [3, 4, 20])
def test_a_training_that_is_laid_over_is_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr("tui.reads.training.STEPS_AT_ONCE", at_once)
    trained(tmp_path / "s.duckdb")
    with Store.open(tmp_path / "s.duckdb") as store:
        steps = [rows.training_step(at, "dpo-9", "run-b") for at in range(1, 13)]
        store.append({"trainings": [rows.training("dpo-9", "run-b", method="dpo")], "training_steps": steps})
        found = lay_over(store.reader(), RUN, "dpo-1", None)
    assert found is not None and [step["step"] for step in found.steps] == list(range(1, 13))


async def test_what_did_not_change_is_not_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(tmp_path / "s.duckdb")
    drawn: list[str] = []
    made: list[int] = []
    refresh, dots = Curve.refresh, Line.dots
    monkeypatch.setattr(
        Curve,
        "refresh",
        lambda self, *a, **k: (drawn.append(str(self.picture and self.picture.title)), refresh(self, *a, **k))[1],
    )
    monkeypatch.setattr(Line, "dots", lambda self, *a, **k: (made.append(1), dots(self, *a, **k))[1])
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        await pilot.press("5")
        await settle(pilot, lambda: len(titles(app)) == 7)
        await pilot.pause(0.3)
        drawn.clear()
        made.clear()
        app.refresh_room()
        await settle(pilot)
        app.query_one(TrainingRoom)._paint()
        assert not drawn and not made
        await pilot.press("right")
        assert sorted(set(drawn)) == ["Held-out loss", "Loss"] and not made
        await pilot.press("left_square_bracket")
        assert len(set(drawn)) == 7 and not made, "a step that is read moves a line over dots that stay"


@pytest.mark.parametrize(("size", "many"), [((80, 24), 6), ((60, 20), 2), ((200, 60), 7)])
async def test_a_small_terminal_shows_the_page_of_the_chosen_curve(
    tmp_path: Path, size: tuple[int, int], many: int
) -> None:
    trained(tmp_path / "s.duckdb")
    async with control_center(tmp_path / "s.duckdb", None, size=size) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        await pilot.press("5")
        await settle(pilot, lambda: len(titles(app)) == many)
        subtitle = str(app.query_one(TrainingRoom).border_subtitle)
        assert (f"curves 1–{many} of 7" in subtitle) == (many < 7)
        assert all(one.size.height > 2 for one in app.query(Curve) if one.display)
        await pilot.press("left")  # from the first to the last
        assert "▸ Reward a" in chosen(app)
        await pilot.press("right")
        assert "▸ Loss" in chosen(app)


async def test_a_click_chooses_and_another_opens(tmp_path: Path) -> None:
    trained(tmp_path / "s.duckdb")
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        await pilot.press("5")
        await settle(pilot, lambda: len(titles(app)) == 7)
        margin = next(
            one for one in app.query(Curve) if one.picture is not None and one.picture.title == "Reward margin"
        )
        await pilot.click(margin)
        assert "▸ Reward margin" in chosen(app) and len(titles(app)) == 7
        await pilot.click(margin)
        await settle(pilot, lambda: titles(app) == ["Reward margin"])


# -- lines -------------------------------------------------------------------------------------------------------------


def drawn(line: Line, width: int, height: int, *, dashed: bool = False) -> list[str]:
    assert line.range is not None
    low, high = line.range
    masks = line.dots(
        (line.steps[0], line.steps[-1]), (low, high if high > low else low + 1), width, height, dashed=dashed
    )
    return ["".join(chr(0x2800 + mask) for mask in cells) for cells in masks]


def test_a_line_is_drawn_in_dots() -> None:
    assert drawn(Line([1, 2, 3, 4], [0.0, 1.0, 2.0, 3.0], 4), 2, 1) == ["⡠⠊"]
    assert drawn(Line([1, 4], [0.0, 3.0], 4), 2, 1) == ["⡠⠊"], "what is measured seldom is joined"
    assert drawn(Line([1, 2, 3, 4], [0.0, math.nan, 2.0, 3.0], 4), 2, 1) == ["⡀⠊"], "what is no number is a gap"
    assert drawn(Line([1, 9], [0.0, 0.0], 9), 4, 1, dashed=True) == ["⣀⠀⣀⠀"]
    assert drawn(Line(range(1, 101), [float(at % 2) for at in range(100)], 100), 3, 2) == ["⣿⣿⣿", "⣿⣿⣿"]


def test_smoothing_weighs_by_steps_and_is_not_drawn_to_zero() -> None:
    often = Line([1, 2, 3], [1.0, 0.0, 0.0], 3)
    assert often.smoothed(0.5).values == pytest.approx([1.0, 1 / 3, 1 / 7])
    assert often.smoothed(0.0) is often and often.smoothed(0.9) is often.smoothed(0.9)
    assert Line([100, 200], [1.0, 0.0], 200).smoothed(0.9).values == pytest.approx([1.0, 0.0], abs=1e-4)
    (first, gap, last) = Line([1, 2, 3], [1.0, math.inf, 1.0], 3).smoothed(0.9).values
    assert (first, last) == pytest.approx((1.0, 1.0)) and gap == math.inf


def test_a_line_says_what_was_measured_last() -> None:
    line = Line([10, 20], [1.0, 2.0], 25)
    assert [line.at(step) for step in (9, 10, 19, 20, 25, 26)] == [None, 1.0, 1.0, 2.0, 2.0, None]
    found = lines_of(
        [rows.training_step(1, heldout_loss=None, n_tokens=100, seconds=0.5), rows.training_step(2, seconds=0.0)]
    )
    assert set(found) == {"loss", "learning_rate", "grad_norm", "speed"} and list(found["speed"].values) == [200.0]


def test_a_grid_shows_the_most_curves_in_the_best_shape() -> None:
    sizes = ((76, 14), (56, 10), (116, 29), (196, 51), (10, 3), (6, 7))
    assert [shape_of(7, *size) for size in sizes] == [(3, 2), (2, 2), (3, 3), (3, 3), (1, 1), (1, 1)]


def test_axes_are_written_in_few_characters() -> None:
    values = ((2e-4, 2e-4), (0, 1), (0.5, 1), (1234.5, 2000), (3.14159, 0.05), (12.3, 30), (1e9, 1e9))
    assert [short(*one) for one in values] == ["2.0e-4", "0", "0.50", "1,234", "3.142", "12.3", "1.0e9"]
    assert [round_step(least) for least in (0.3, 1, 3, 7, 11, 99, 101)] == [1, 1, 5, 10, 20, 100, 200]


@pytest.mark.parametrize("values", [[math.nan, math.nan], [1e150, -1e150], [0.0, 0.0], [math.inf, 1.0]])
@pytest.mark.parametrize("size", [(1, 1), (4, 2), (24, 5), (90, 30)])
async def test_any_values_are_drawn_at_any_size(values: list[float], size: tuple[int, int]) -> None:
    curve = Curve()
    line = Line([1, 2], values, 2)
    found = curve._drawn(Picture("Loss", ".4f", (line, line), 0.9, (1, 2), 2, chosen=True, large=True), *size)
    assert 1 <= len(found) <= size[1]
    assert all(sum(len(text) for text, _ in cells) <= size[0] for cells in found[1:])
