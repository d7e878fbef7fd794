"""Training: curves that follow, a cursor that reads them, several trainings of one run."""

from pathlib import Path

import rows
from fakes import RUN, fill
from test_screen import control_center, settle, shown

from store.db import Store
from tui.query_training import trainings
from tui.rooms.training import TrainingRoom
from tui.widgets.curve import Curve


def trained_rows(steps: int = 40) -> dict[str, list[rows.Row]]:
    """An SFT that is done and, begun later, a DPO at work."""
    dpo = [
        rows.training_step(
            at, "dpo-1", loss=0.6931 / at, reward_margin=at / 10, reward_accuracy=min(1.0, 0.5 + at / 60),
            heldout_loss=0.6 if at % 10 == 0 else None,
        )
        for at in range(1, steps + 1)
    ]  # fmt: skip
    return {
        "trainings": [
            rows.training(state="done"),
            rows.training("dpo-1", method="dpo", started_at=rows.T0.replace(year=2027)),
        ],
        "training_steps": [*(rows.training_step(at) for at in range(1, 11)), *dpo],
        "checkpoints": [
            rows.checkpoint(20, "dpo-1", heldout_loss=0.41),
            rows.checkpoint(40, "dpo-1", heldout_loss=0.52),
        ],
    }


def trained(path: Path) -> None:
    fill(path)
    with Store.open(path) as store:
        store.append(trained_rows())


async def test_a_run_without_training_says_what_will_be_here(tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb")
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        await pilot.press("5", "left", "j", "t")
        await settle(pilot, lambda: "Nothing is trained in this run yet" in shown(app, "#training-head"))
        assert not app.query(Curve)


async def test_curves_are_read_step_by_step(tmp_path: Path) -> None:
    trained(tmp_path / "s.duckdb")
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        await pilot.press("5")
        await settle(pilot, lambda: "step 40 of 100" in shown(app, "#training-head"))
        head, values = shown(app, "#training-head"), shown(app, "#training-values")
        assert "200 tok/s" in head and "ETA 1:48" in head and "2.0 of 24 GiB" in head
        assert "last checkpoint: step 40" in head and "best: step 20, held-out loss 0.4100" in head
        assert "at step 40" in values and "margin" in values and "+4.000" in values and "entropy" not in values
        assert "Loss · 0.0173" in str(app.query(Curve).first().border_title)

        await pilot.press("left", "left")
        await settle(pilot, lambda: "at step 38" in shown(app, "#training-values"))
        assert "+3.800" in shown(app, "#training-values")
        await pilot.press("home", "j", "j", "j", "j")
        await settle(pilot, lambda: "at step 1," in shown(app, "#training-values"))
        assert "0.6931" in shown(app, "#training-values")
        assert "Reward margin · +0.100" in str(app.query(Curve).first().border_title)

        await pilot.press("t")
        await settle(pilot, lambda: "step 10 of 100" in shown(app, "#training-head"))
        assert "margin" not in shown(app, "#training-values")


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
        room._learn(type(found)("run-a", found.trainings, "dpo-1", [new], 40, found.checkpoints))
        assert "at step 41" in shown(app, "#training-values") and "+9.000" in shown(app, "#training-values")
        room._learn(type(found)("run-a", found.trainings, "dpo-1", [new], 40, found.checkpoints))
        assert [step["step"] for step in room._steps][-2:] == [40, 41], "an answer to an older question was taken"


async def test_a_large_terminal_shows_several_curves(tmp_path: Path) -> None:
    trained(tmp_path / "s.duckdb")
    for size, many in (((80, 24), 1), ((60, 20), 1), ((200, 60), 6)):
        async with control_center(tmp_path / "s.duckdb", None, size=size) as (app, pilot):
            await settle(pilot, lambda app=app: app.state.run_id == RUN)
            await pilot.press("5")
            await settle(pilot, lambda app=app: len([one for one in app.query(Curve) if one.display]) > 0)
            await settle(pilot, lambda app=app, many=many: sum(one.display for one in app.query(Curve)) == many)
            assert all(one.size.height > 2 for one in app.query(Curve) if one.display), size
