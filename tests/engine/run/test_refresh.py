"""Rounds: the adapter of one run writes the next run's data, which has its own seed and gate."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from engine.core.errors import TrainingError
from engine.models import adapters, checkpoints
from engine.models.requests import adapter_fingerprint
from engine.run.engine import Engine, open_engine
from engine.run.orders import Round
from engine.run.refresh import rounds
from engine.training.plan import plan
from store.db import Store
from tests.engine.fakes import run_engine
from tests.engine.phases.test_preferences import OPTIONS, SETTINGS, Critical
from tests.store import rows

pytestmark = pytest.mark.integration

ROUNDS: dict[str, Any] = OPTIONS | {"overrides": SETTINGS | {"dpo.rounds": "2"}}


def leave_adapter(opened: Engine) -> adapters.Adapter:
    """A finished training of preferences, of which only the files' hash counts here."""
    folder = adapters.folder_of(opened.store.path, opened.run_id, "dpo-1") / adapters.FOLDER
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    sha256 = checkpoints.tree_sha256(folder)
    row = rows.training(
        "dpo-1", opened.run_id, method="dpo", state="done", adapter_sha256=sha256, updated_at=datetime.now(UTC),
        adapter_path=str(folder.relative_to(opened.store.path.parent)),
    )  # fmt: skip
    opened.store.put({"trainings": [row]})
    return adapters.Adapter("dpo-1", "dpo", folder, sha256)


def test_a_round_is_a_run_of_its_own_with_the_adapter_of_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.duckdb"
    first = run_engine(path, monkeypatch, Critical(), **ROUNDS)
    assert first.outcome is not None and first.outcome.state == "done"
    reader = first.store.reader()
    assert [(one.number, one.run_id, one.trained) for one in rounds(reader, first.run_id)] == [
        (1, first.run_id, False), (2, None, False)
    ]  # fmt: skip
    reader.close()
    first.store.close()
    with pytest.raises(TrainingError, match="has no adapter of preferences yet"):
        open_engine(Round(path, first.run_id), lambda event: None)
    first.store = Store.open(path)
    adapter = leave_adapter(first)
    first.store.close()

    second = run_engine(path, monkeypatch, Critical(), round_of=first.run_id)
    assert second.outcome is not None and second.outcome.state == "done", second.outcome
    reader = second.store.reader()
    found = [(one.number, one.run_id, one.before, one.data_done, one.trained) for one in rounds(reader, first.run_id)]
    assert found == [
        (1, first.run_id, first.run_id, True, True), (2, second.run_id, first.run_id, True, False)
    ]  # fmt: skip
    one, two = reader.run(first.run_id), reader.run(second.run_id)
    assert two["seed"] != one["seed"] and two["settings"] == one["settings"]
    assert two["fingerprint"] == adapter_fingerprint("fa" * 8, adapter.sha256) != one["fingerprint"]
    # The guard is about the base weights, everything else about the adapter.
    made = reader.query("SELECT DISTINCT fingerprint FROM completions c JOIN samples s USING (request_id) WHERE run_id = ?",
                        [second.run_id])  # fmt: skip
    assert made == [{"fingerprint": adapter_fingerprint("fa" * 8, adapter.sha256)}]
    from engine.spec.stage import settings_of

    assert plan(reader, two, settings_of(two), "dpo").start == adapter
    reader.close()
    second.store.close()


def test_a_spec_without_rounds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = run_engine(tmp_path / "a.duckdb", monkeypatch, Critical(), **OPTIONS)
    with opened.store.reader() as reader, pytest.raises(TrainingError, match="asks for no rounds"):
        rounds(reader, opened.run_id)
    opened.store.close()
