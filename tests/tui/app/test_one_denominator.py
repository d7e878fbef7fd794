"""Every figure of an evaluation says of which items it is, in one form, on every face."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from engine.report.build import pages
from engine.stats.shares import wilson
from store.card import card
from store.db import Store
from tests.store import rows
from tests.tui.app.test_honest_faces import printed
from tests.tui.cli.commands import as_json, run_cai
from tests.tui.fakes import RUN, fill
from tests.tui.screen import control_center, settle, shown
from tui.printed.evaluation import evaluation_outcome
from tui.printed.tables import gate_table
from tui.reads.evaluation import evaluation_account

pytestmark = pytest.mark.integration

SPLITS = {"dev": 28, "test": 40}
RIGHT = {("base_raw", "dev"): 1, ("base_raw", "test"): 2, ("sft", "test"): 20}
OF_TEST, OF_DEV = "5.0 % [1.4, 16.5] of test, 40 items", "3.6 % [0.6, 17.7] of development, 28 items"
OTHER_FORM = re.compile(r"0\.0357|0\.036\b|\b0\.05 of|of 68\b|of 80\b")  # the same as a decimal, or of splits together


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """One condition on both splits, of two capabilities, and a gap gate that was decided."""
    path = tmp_path / "s.duckdb"
    fill(path)
    items, answers = [], []
    for capability in ("instruction_following", "conversation"):
        for split, n in SPLITS.items():
            names = [f"{capability}-{split}-{at}" for at in range(n)]
            items += [rows.evaluation_item(name, capability=capability, split=split) for name in names]
            answers += [
                rows.evaluation_answer(name, condition, at < right)
                for (condition, of), right in RIGHT.items()
                if of == split
                for at, name in enumerate(names)
            ]
    lo, hi = wilson(1, 28)
    gap = {"measured": 1 / 28, "lo": lo, "hi": hi, "n": 28, "op": "<=", "threshold": 0.3}
    with Store.open(path) as store:
        store.append({
            "evaluation_items": items, "evaluation_answers": answers,
            "evaluation_results": [rows.evaluation_result(before="base_raw", n=40, before_right=2, after_right=20)],
            "gates": [rows.gate("base_raw_right", "gap", RUN, **gap)],
        })  # fmt: skip
    return path


def faces(path: Path) -> dict[str, str]:
    with Store.open(path, read_only=True) as store, store.reader() as reader:
        account = evaluation_account(reader, RUN)
        gap = [row for row in reader.gates(RUN) if row["gate"] == "gap"]
        return {
            "printed": printed(evaluation_outcome({"run": RUN, "model": "m"}, account, 0, "", path, None, "x")),
            "gates": printed(gate_table(gap)),
            "report": pages(reader, RUN, None, datetime.now(UTC))["report.md"],
            "card": card(reader, reader.run(RUN), "samples", "jsonl", {"train": 2}, None),
        }


def test_what_is_printed_and_written_names_split_and_n(path: Path) -> None:
    found = {name: re.sub(r"\s+", " ", text) for name, text in faces(path).items()}
    assert OF_TEST in found["printed"] and "sft 50.0 % [35.2, 64.8] of test, 40 items" in found["printed"]
    assert found["printed"].count(OF_TEST) == 2  # each capability by itself
    for name in ("printed", "gates"):
        assert "base raw right, development 3.6 % [0.6, 17.7] 28 <= 30 %" in found[name]
    assert "| gap | base raw right, development | 3.6 % | [0.6, 17.7] | development, 28 items | <= 30 % |" in found[
        "card"
    ].replace("\\", "")
    gap = found["report"].partition("Gap gate")[2]
    assert "development items" in gap and "3.6 %" in gap and "[0.6, 17.7] %" in gap and "<= 30.0 %" in gap
    assert "test items | right |" in found["report"]
    for name, text in found.items():
        rates = re.sub("of 80 test answers", "", text)  # how many there are is no rate
        assert OTHER_FORM.search(rates) is None, (name, OTHER_FORM.search(rates))


def test_json_and_an_agents_tools_name_split_and_n(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store.open(path, read_only=True) as store, store.reader() as reader:
        account = evaluation_account(reader, RUN)  # what the tool `evaluation` gives
    told: list[dict[str, Any]] = [*account["conditions"], *account["results"], *account["gap"]]
    assert {(row["split"], row["n"]) for row in told} == {("dev", 28), ("test", 40)}
    shares = [row for row in account["conditions"] if row["condition"] == "base_raw" and row["split"] == "dev"]
    assert [(row["share"], row["lo"], row["hi"]) for row in shares] == [pytest.approx((1 / 28, *wilson(1, 28)))] * 2
    _, status = as_json(capsys, "status", "--store", path)
    [gap] = [gate for gate in status["gates"] if gate["name"] == "gap"]
    assert [(one["split"], one["n"]) for one in gap["evidence"]] == [("dev", 28)]
    _, out, _ = run_cai(capsys, "status", "--store", path)
    assert "base raw right, development" in out and OTHER_FORM.search(out) is None


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_the_rooms_name_split_and_n(path: Path, size: tuple[int, int]) -> None:
    async with control_center(path, None, size=size) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        await pilot.press("6")
        await settle(pilot, lambda: "of test, 40 items" in shown(app, "#evaluation-standing"))
        head = re.sub(r"\s+", " ", shown(app, "#evaluation-standing"))
        table = app.query_one("#evaluation-table")
        assert "on test items" in str(table.border_subtitle) and OTHER_FORM.search(head) is None
        assert "68" not in head and "80 items" not in head
        if size[1] > 30:
            assert OF_TEST in head and OF_DEV in head and "(needs <= 30 %)" in head
        await pilot.press("4")
        await settle(pilot, lambda: "base raw right" in "\n".join(
            strip.text for strip in app.screen._compositor.render_strips()))  # fmt: skip
        screen = "\n".join(strip.text for strip in app.screen._compositor.render_strips())
        assert "3.6 %" in screen and OTHER_FORM.search(screen) is None
