"""How a run says that it ended: by what was tested, by whom it accepted, and what would help where a part is empty."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.quality.labels import mark
from engine.quality.readings import to_read
from engine.run.runner import Runner
from store.names import READING
from store.outcomes import READ
from tests.engine.fakes import run_engine
from tests.engine.phases.test_preferences import OPTIONS, SETTINGS, Critical

pytestmark = pytest.mark.integration


def test_a_stage_whose_own_part_is_empty_fails_and_says_what_would_help(tmp_path: Path, monkeypatch: Any) -> None:
    wanted = {"pairs.best_of_at_least": "1", "pairs.decided_by_critic_at_least": "1"}
    told: list[str] = []
    opened = run_engine(
        tmp_path / "a.duckdb", monkeypatch, Critical(), lambda e: told.append(str(e.payload().get("text", ""))),
        **OPTIONS | {"overrides": SETTINGS | wanted},
    )  # fmt: skip
    assert opened.outcome is not None and opened.outcome.state == "gate_failed"
    assert "pairs decided by an audited critic" in opened.outcome.reason
    assert any(
        text.startswith("what would help: pairs decided by an audited critic (empty): a critic of pairs")
        for text in told
    )
    with opened.store.reader() as reader:
        status = reader.status(opened.run_id)
        results = {row["check_name"]: row["result"] for row in reader.gates(opened.run_id) if "pairs" in row["gate"]}
    assert results["pairs decided by an audited critic"] == "empty" and results["kept revisions"] == "not tested"
    assert [gate["result"] for gate in status["gates"]][-1] == "failed"
    opened.close()


def test_a_run_that_rules_alone_accepted_says_so_where_it_ends(tmp_path: Path, monkeypatch: Any) -> None:
    opened = run_engine(tmp_path / "a.duckdb", monkeypatch, Critical(), **OPTIONS)
    assert opened.outcome is not None and opened.outcome.state == "done", opened.outcome
    reason = opened.outcome.reason
    assert f"{opened.outcome.accepted} by form rules · quality not audited; final gate passed, " in reason
    assert "not tested; final pairs gate" in reason and "every gate passed" not in reason
    with opened.store.reader() as reader:
        assert reader.status(opened.run_id)["acceptance"]["audited"] is False
    opened.close()


def test_what_is_read_while_a_gate_is_decided_is_told_by_it(tmp_path: Path, monkeypatch: Any) -> None:
    decide = Runner._decide

    def read_meanwhile(runner: Runner, name: str, checks: Any) -> tuple[str, ...]:
        work = runner._work
        if not name.endswith("pairs"):  # the checks are counted, and not stored yet
            lot = next(lot for lot in to_read(work.reader, work.run_id) if lot.label is None)
            mark(work.store, work.run_id, lot.sample_id, "good", drawn=READING, by="ana")
        return decide(runner, name, checks)

    monkeypatch.setattr(Runner, "_decide", read_meanwhile)
    opened = run_engine(tmp_path / "a.duckdb", monkeypatch, Critical(), **OPTIONS)
    with opened.store.reader() as reader:
        told = next(row for row in reader.gates(opened.run_id) if (row["gate"], row["check_name"]) == ("final", READ))
        read = sum(lot.label is not None for lot in to_read(reader, opened.run_id))
    assert told["measured"] == read > 0
    opened.close()
