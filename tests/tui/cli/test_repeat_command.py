"""`cai repeat`: what it costs first, nothing without a yes, and each repeat trained before it is evaluated."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.run.orders import Evaluate, Order, Train
from store.db import Store
from tests.engine.run.test_repeats import adapter
from tests.engine.training.training_run import RUN, settings, trainable_store
from tests.store import rows
from tests.tui.cli.commands import as_json, run_cai
from tui.cli import train
from tui.host.terminal import Terminal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = trainable_store(tmp_path / "cai.duckdb", Path("gemma-3-270m"), settings())
    adapter(made, RUN, 1)
    return made


def runs(path: Path) -> list[str]:
    with Store.open(path, read_only=True) as store, store.reader() as reader:
        return [row["run_id"] for row in reader.query("SELECT run_id FROM runs ORDER BY created_at")]


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch) -> list[Order]:
    """What is ordered, each at once done."""
    import tui.printed.headless as headless

    given: list[Order] = []

    def carry_out(opened: object, order: Order, *_: object, **__: object) -> tuple[int, dict[str, object]]:
        given.append(order)
        if isinstance(order, Train):
            adapter(order.store, order.resume, 2)
        return 0, {}

    monkeypatch.setattr(headless, "run_headless", carry_out)
    monkeypatch.setattr(train, "with_log", lambda *_: None)  # it would take the descriptors that the test reads
    return given


def test_what_it_costs_is_told_and_nothing_begins_without_a_yes(
    path: Path, capsys: pytest.CaptureFixture[str], orders: list[Order]
) -> None:
    code, out, _ = run_cai(capsys, "repeat", RUN, "--plan", "--store", path)
    assert code == 0 and "3 left of 3 with other seeds" in out and "all 3" in out and "SFT" in out
    assert "no held-out item was asked yet" in out and "≥ 2 min" in out
    code, out, err = run_cai(capsys, "repeat", RUN, "--store", path)
    assert code == 2 and "all 3" in out and "has to be agreed to" in err and "--yes" in err
    assert runs(path) == [RUN] and not orders


@pytest.mark.parametrize(("answer", "begun"), [("y", 1), ("", 0), (None, 0)])
def test_a_person_is_asked(
    path: Path, capsys: pytest.CaptureFixture[str], orders: list[Order], monkeypatch: pytest.MonkeyPatch,
    answer: str | None, begun: int,
) -> None:  # fmt: skip
    import tui.host.tmux as tmux

    monkeypatch.setattr(Terminal, "interactive", property(lambda terminal: True))
    monkeypatch.setattr(tmux, "ask", lambda terminal, prompt: answer)
    out = run_cai(capsys, "repeat", RUN, "--seeds", "1", "--store", path)[1]
    assert len(runs(path)) == 1 + begun and ("Nothing was started" in out) != bool(begun)


def test_each_repeat_is_trained_then_evaluated_and_gone_on_with(
    path: Path, capsys: pytest.CaptureFixture[str], orders: list[Order]
) -> None:
    code, found = as_json(capsys, "repeat", RUN, "--seeds", "2", "--yes", "--store", path)
    children = runs(path)[1:]
    assert [(type(order), order.resume) for order in orders] == [
        (kind, child) for child in children for kind in (Train, Evaluate)
    ]  # fmt: skip
    assert {order.train for order in orders if isinstance(order, Train)} == {("sft",)}
    # Nobody answered items here, so no repeat is through, and the same command goes on with the evaluations alone.
    assert code == 4 and [one["run_id"] for one in found["repeats"]] == children and found["over_seeds"] == []
    assert {(one["trained"], one["evaluated"]) for one in found["repeats"]} == {(True, False)}
    orders.clear()
    as_json(capsys, "repeat", RUN, "--seeds", "2", "--yes", "--store", path)
    assert [type(order) for order in orders] == [Evaluate, Evaluate] and runs(path)[1:] == children


def test_repeats_are_told_as_such_among_the_runs(
    path: Path, capsys: pytest.CaptureFixture[str], orders: list[Order]
) -> None:
    as_json(capsys, "repeat", RUN, "--seeds", "1", "--yes", "--store", path)
    (child,) = runs(path)[1:]
    listed = {one["run"]: one for one in as_json(capsys, "runs", "--store", path)[1]["runs"]}
    assert (listed[child]["repeat_of"], listed[RUN]["repeat_of"]) == (RUN, None)
    assert f"repeat 1 of {RUN}" in run_cai(capsys, "runs", "--store", path)[1]
    assert as_json(capsys, "status", "--store", path)[1]["run"] == RUN
    code, found = as_json(capsys, "repeat", child, "--plan", "--store", path)
    assert code == 1 and f"is a repeat of {RUN} itself" in found["error"]["title"]


def test_a_run_that_was_not_trained_has_nothing_to_repeat(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store.open(tmp_path / "cai.duckdb") as store:
        store.append({"runs": [rows.run(RUN, settings=settings().model_dump())]})
    code, found = as_json(capsys, "repeat", "--plan", "--store", tmp_path / "cai.duckdb")
    assert code == 1 and "has no trained adapter" in found["error"]["title"]
