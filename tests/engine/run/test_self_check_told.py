"""What the self-check of a model found is told in a run's events, status, manifest and report."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from engine.core.events import Event, Noted
from engine.models.selfcheck import FAST, PLAIN, SelfCheck, of_facts
from engine.report.build import pages
from tests.engine.fakes import FakeModel, run_engine
from tui.printed.tables import status_report

RIGHT = SelfCheck("LlamaForCausalLM", FAST, 2e-6, 1e-3, 18, True, 3e-7, 0.0, 1.2)
OFF = SelfCheck(
    "MptForCausalLM", PLAIN, 1e-6, 1e-3, 18, True, None, 0.08, 0.4, "it is off by 1.2 nats, at most 0.001 are allowed"
)

SERVED = SelfCheck("toy", "server", 0.0, 0.25, 18, True, None, 0.0, 0.1, against="the same asked for again")
UNLIKE = SelfCheck("toy", "vLLM", 0.003, 0.08, 18, False, None, 0.03, 2.1, against="a forward pass over its weights")


@pytest.mark.parametrize(
    ("found", "level"),
    [(RIGHT, "info"), (OFF, "warning"), (SERVED, "info"), (UNLIKE, "warning")],
    ids=["fast", "plain", "server", "vLLM"],
)
def test_every_face_says_which_path_was_used_and_how_far_it_is_off(
    found: SelfCheck, level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = FakeModel()
    model.facts |= found.facts()
    happened: list[Event] = []
    opened = run_engine(tmp_path / "a.duckdb", monkeypatch, model, happened.append, pilot=4, until="guard")
    with opened.store.reader() as reader:
        run, status = reader.run(opened.run_id), reader.status(opened.run_id)
        written = "\n".join(pages(reader, opened.run_id, None, datetime(2026, 1, 1, tzinfo=UTC)).values())
    opened.close()
    assert [one.level for one in happened if isinstance(one, Noted) and found.told() in one.text] == [level]
    assert of_facts(run["manifest"]["model"]) == found
    assert json.loads(json.dumps(status))["self_check"]["path"] == found.path
    console = Console(width=500)
    with console.capture() as printed:
        console.print(status_report(status, []))
    assert found.told() in printed.get() and found.told() in written


def test_it_says_the_path_the_differences_and_why_not_the_fast_one() -> None:
    assert RIGHT.told() == (
        "fast path of LlamaForCausalLM: labels within 2e-06 nats of its own forward pass (n = 18, at most 0.001), "
        "greedy texts equal, hidden states within 3e-07"
    )
    assert OFF.told().endswith(
        "no hidden states; 16 bits move labels by up to 0.08 nats; not the fast path: it is off by 1.2 nats, at most "
        "0.001 are allowed"
    )
    assert UNLIKE.told() == (
        "vLLM of toy: labels within 0.003 nats of a forward pass over its weights (n = 18, at most 0.08), greedy texts "
        "not equal, no hidden states; 16 bits move labels by up to 0.03 nats"
    )
    assert of_facts({}) is None and of_facts(None) is None
