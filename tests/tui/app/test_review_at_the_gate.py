"""A pilot in a pseudo-terminal: it stops at its gate, shows the reviewer's answer, and a key decides."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from store.db import Store
from tests.e2e.terminal import Terminal
from tests.engine.review.review_server import Server, good, serving
from tests.engine.run.test_consult import LOOSE

pytestmark = pytest.mark.integration

START = """
import sys
import engine.models.registry
from tests.engine.fakes import FakeModel
engine.models.registry.load = lambda *_, **__: FakeModel()
from tui.cli.entry import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A reviewer on loopback, after whom a person is asked in any case."""
    with serving(otherwise=good()) as server:
        config = tmp_path / "config.toml"
        config.write_text(f'reviewer = "chain"\nreviewer_confirms = true\nreviewer_url = "{server.url}"\n')
        monkeypatch.setenv("CAI_CONFIG", str(config))
        monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
        yield server


def start(store: Path, columns: int = 100, rows: int = 30) -> Terminal:
    script = store.with_suffix(".py")
    script.write_text(START)
    changed = LOOSE | {"pilot": "6", "review.ask": "[pilot]"}
    sets = [word for key, value in changed.items() for word in ("--set", f"{key}={value}")]
    words = ["--no-tmux", "run", "stage_1_small_model", "--target", "14", "--store", str(store), *sets]
    return Terminal([sys.executable, script, *words], columns, rows)


def query(path: Path, sql: str) -> list[dict[str, Any]]:
    with Store.open(path, read_only=True) as store, store.reader() as reader:
        return reader.query(sql)


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (120, 36)])
def test_the_reviewers_answer_is_shown_and_approved_with_one_key(
    tmp_path: Path, configured: Server, columns: int, rows: int
) -> None:
    store = tmp_path / "a.duckdb"
    screen = start(store, columns, rows)
    screen.wait_for("Decision · pilot", "gpt-5 says YES. Scale to the target.", "Risks:", "approve", timeout=90)
    screen.press("y")
    screen.wait_for("! done", timeout=60)
    screen.press("q")
    assert screen.wait_for_end(timeout=60) == 0
    (decision,) = query(store, "SELECT topic, answer, decided_by FROM decisions")
    assert (decision["topic"], decision["answer"], decision["decided_by"]) == ("pilot", "proceed", "person")
    assert (
        query(store, "SELECT count(*) AS n FROM verdicts WHERE subject_kind = 'sample' AND verdict = 'accepted'")[0][
            "n"
        ]
        >= 14
    )
    assert len(configured.requests) == 1
    paid = query(store, "SELECT unit, quantity, state FROM ledger WHERE kind = 'api' ORDER BY unit")
    assert [(row["unit"], row["quantity"], row["state"]) for row in paid] == [
        ("input_token", 100.0, "settled"), ("output_token", 50.0, "settled")
    ]  # fmt: skip


def test_what_the_reviewer_refuses_only_a_reason_overrides(tmp_path: Path, configured: Server) -> None:
    store = tmp_path / "a.duckdb"
    configured.otherwise = good(approval="No", recommendation="Read more samples first.")
    screen = start(store)
    screen.wait_for("gpt-5 says NO", "Read more samples first.", "override", timeout=90)
    screen.press("r")
    screen.wait_for("recommendation Read more samples first.", "for you", timeout=30)
    screen.press("\r", "o")
    screen.wait_for("why, against the reviewer", timeout=30)
    screen.press(*"I read forty of them", "\r")
    screen.wait_for("! done", timeout=60)
    screen.press("q")
    screen.wait_for_end(timeout=60)
    (decision,) = query(store, "SELECT reason, decided_by FROM decisions")
    assert decision["decided_by"] == "person" and "I read forty of them" in decision["reason"]


def test_decided_later_it_waits_and_asks_again(tmp_path: Path, configured: Server) -> None:
    store = tmp_path / "a.duckdb"
    screen = start(store)
    screen.wait_for("Scale to the target.", "decide later", timeout=90)
    screen.press("d")
    screen.wait_for("■ stopped", timeout=60)
    screen.press("q")
    screen.wait_for_end(timeout=60)
    again = start(store)
    again.wait_for("Scale to the target.", "approve", timeout=90)
    again.press("y")
    again.wait_for("! done", timeout=60)
    again.press("q")
    again.wait_for_end(timeout=60)
    assert len(configured.requests) == 1, "the reviewer's answer was kept"
