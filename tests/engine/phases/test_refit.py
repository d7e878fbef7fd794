"""A probe fitted anew on persons' labels: what it changes, what it keeps, and that a kill or a restart change nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine.models.registry
from engine.core.errors import SpecError
from engine.critics.probe import stored_probe
from engine.models.answers import score_request_of, scores_of
from engine.models.requests import HiddenStates, Read
from engine.quality.labels import mark, put_back
from engine.quality.queue import standing
from engine.quality.teaching import TAUGHT
from engine.run.engine import Engine, open_engine
from engine.run.orders import Refit, Resume
from engine.spec.provenance import derived_seed
from store.db import Store
from tests.engine.fakes import FakeModel, run_engine

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("refit")]

SIZE = 4
SETTINGS = {
    "critics.instruction": "[grade]", "critics.sample": "[probe]", "critics.min_auc": "0.0", "instructions.round": "4",
    "critics.probe_sample_at": "0.3",
}  # fmt: skip


class Showing(FakeModel):
    """Its only layer shows noise, and in one place whether the text has an even length."""

    layers = 1

    def hidden(self, requests: Iterable[Read]) -> Iterator[HiddenStates]:
        for request in requests:
            rng = np.random.default_rng(derived_seed(0, request.prompt) % 2**32)
            states = rng.normal(size=(len(request.layers), 2, SIZE)).astype(np.float32)
            states[:, 0, 0] = 3.0 if len(request.prompt) % 2 else -3.0
            yield HiddenStates(request, states)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAI_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with a run whose samples a probe of the shipped texts judged."""
    return judged(tmp_path / "cai.duckdb", monkeypatch, SETTINGS)


def judged(path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]) -> Path:
    monkeypatch.setattr("engine.critics.probed.LABELLED", {
        "sample": {"planted": ("calibration_pairs",), "own": (), "shown": ("grade_pairs",)},
        "instruction": {},
    })  # fmt: skip
    opened = run_engine(path, monkeypatch, Showing(), pilot=6, overrides=settings)
    assert opened.outcome is not None and opened.error is None, opened.error
    opened.close()
    return path


def label(path: Path, *, drawn: str = "queue", at_most: int = 100) -> list[str]:
    """Say the opposite of what the probe found out: texts of odd length are bad, and each sample is told of twice."""
    with Store.open(path) as store, store.reader() as reader:
        run_id = reader.latest_run_id() or ""
        texts = reader.query(
            "SELECT s.sample_id, s.response FROM samples s WHERE s.run_id = ? ORDER BY s.sample_id LIMIT ?",
            [run_id, at_most],
        )
        for row in texts:
            mark(store, run_id, row["sample_id"], "bad" if len(row["response"]) % 2 else "good", drawn=drawn, by="ana")
    return [row["sample_id"] for row in texts]


def refitted(
    path: Path, monkeypatch: pytest.MonkeyPatch, model: FakeModel | None = None, reason: str = "why"
) -> Engine:
    found = model or Showing()
    monkeypatch.setattr(engine.models.registry, "load", lambda *_, **__: found)
    opened = open_engine(Refit(path, "", reason), lambda event: None)
    opened.start()
    assert opened.join(60)
    return opened


def held(path: Path) -> dict[str, Any]:
    """What the store holds of its run that a refit may change."""
    with Store.open(path) as store, store.reader() as reader:
        run_id = reader.latest_run_id() or ""
        run = reader.run(run_id)
        probes = reader.query("SELECT DISTINCT detail->>'probe' AS sha256 FROM audits WHERE critic = 'probe' "
                              "AND part = 'planted'")  # fmt: skip
        return {
            "probe": [row["sha256"] for row in probes],
            "taught": run["manifest"].get(TAUGHT),
            "state": run["state"],
            "decisions": [
                (row["topic"], row["reason"]) for row in reader.query("SELECT * FROM decisions ORDER BY decision_id")
            ],
            **{
                table: reader.query(f"SELECT * FROM {table} WHERE run_id = ? ORDER BY ALL", [run_id])
                for table in ("verdicts", "judgements")
            },
        }


def test_a_refit_changes_verdicts_and_keeps_the_decision_and_what_it_was_fitted_on(path, monkeypatch):
    before = held(path)
    sha256 = before["probe"]
    names = label(path)
    with Store.open(path) as store, store.reader() as reader:
        assert standing(reader, reader.latest_run_id()).unlearnt == len(names)
    model = Showing()
    opened = refitted(path, monkeypatch, model, "they are better known now")
    assert opened.outcome is not None and opened.outcome.state == "done", opened.error
    assert model.generated == []
    with opened.store.reader() as reader:
        assert standing(reader, opened.run_id).unlearnt == 0
        scores = reader.query("SELECT * FROM scores WHERE readout IS NOT NULL")
        assert (
            len({row["readout"] for row in scores}) == 2
        )  # what was said before is repeated by the probe that said it
        for row in scores:
            (again,) = scores_of(model, [score_request_of(row, lambda sha256: stored_probe(reader, sha256))])
            assert list(again.logprobs) == list(row["logprobs"])
    opened.close()
    after = held(path)
    assert after["probe"] != sha256 and after["decisions"] == [("probe", "they are better known now")]
    assert {row["sample"] for row in after["taught"]["labels"]} <= set(names)
    assert after["taught"]["probe"] == after["probe"][0]
    changed = [a["subject_id"] for a, b in zip(after["verdicts"], before["verdicts"], strict=True) if a != b]
    assert changed and [row for row in after["judgements"] if row["subject_kind"] == "instruction"] == [
        row for row in before["judgements"] if row["subject_kind"] == "instruction"
    ]


def test_the_same_labels_give_the_same_probe_and_a_second_refit_moves_nothing(path, monkeypatch):
    label(path)
    refitted(path, monkeypatch).close()
    first = held(path)
    again = refitted(path, monkeypatch)
    assert again.outcome is not None and ", 0 samples changed sides" in again.outcome.reason
    again.close()
    second = held(path)
    assert second["probe"] == first["probe"] and second["verdicts"] == first["verdicts"]
    assert second["judgements"] == first["judgements"]


def test_who_goes_on_fits_the_same_probe_whatever_was_labelled_or_taken_away_since(path, monkeypatch):
    names = label(path, at_most=8)
    refitted(path, monkeypatch).close()
    wanted = held(path)
    label(path)
    with Store.open(path) as store, store.reader() as reader:
        run_id = reader.latest_run_id() or ""
        put_back(store, run_id, names[0], None, "ana")
        assert (standing(reader, run_id).unlearnt or 0) > 0
    opened = run_engine(path, monkeypatch, Showing(), resume="")
    assert isinstance(opened._order, Resume) and opened.error is None
    opened.close()
    assert held(path) == wanted | {"state": held(path)["state"]}
    refitted(path, monkeypatch).close()  # and this one learns of what came after
    assert held(path)["probe"] != wanted["probe"]
    assert names[0] not in {row["sample"] for row in held(path)["taught"]["labels"]}


class Killed(BaseException):
    pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("after", range(4))
def test_a_kill_between_two_commits_leaves_what_a_second_refit_finishes(path, monkeypatch, tmp_path, after):
    label(path)
    copy = tmp_path / "whole.duckdb"
    copy.write_bytes(path.read_bytes())
    refitted(copy, monkeypatch).close()
    wanted, before = held(copy), held(path)
    commits, write = 0, Store._write

    def dying(self: Store, rows: Any, **how: Any) -> None:
        nonlocal commits
        commits += bool(rows.keys() & {"probes", "scores", "judgements", "audits"})
        if commits > after:
            raise Killed
        write(self, rows, **how)

    with monkeypatch.context() as dies:
        dies.setattr(Store, "_write", dying)
        opened = refitted(path, monkeypatch)
        assert isinstance(opened.error, Killed) or after == 3
        opened.close()
    if after < 3:
        kept = held(path)
        assert kept["verdicts"] == before["verdicts"] and kept["judgements"] == before["judgements"]
        assert kept["taught"] is None and kept["decisions"] == []
    refitted(path, monkeypatch).close()
    found = held(path)
    for name in ("probe", "verdicts", "judgements"):
        assert found[name] == wanted[name], name
    assert found["taught"]["labels"] == wanted["taught"]["labels"]


def test_what_cannot_be_refitted_says_why_and_changes_nothing(path, monkeypatch, tmp_path):
    with pytest.raises(SpecError, match="needs a reason"):
        open_engine(Refit(path, "", "  "), lambda event: None)
    nothing = refitted(path, monkeypatch)
    assert "no sample of the model" in str(nothing.outcome.reason) and nothing.outcome.state == "failed"
    nothing.close()
    other = run_engine(
        tmp_path / "g.duckdb", monkeypatch, FakeModel(), pilot=6, overrides=SETTINGS | {"critics.sample": "[grade]"}
    )
    other.close()
    without = refitted(tmp_path / "g.duckdb", monkeypatch)
    assert "has no probe of samples" in without.outcome.reason
    without.close()
    run_engine(tmp_path / "s.duckdb", monkeypatch, FakeModel(), pilot=6, overrides=SETTINGS).close()
    stood_in = refitted(tmp_path / "s.duckdb", monkeypatch)
    assert "grade judged in its place" in stood_in.outcome.reason
    stood_in.close()
    label(path)
    hidden = refitted(path, monkeypatch, FakeModel())
    assert "no hidden states" in hidden.outcome.reason and held(path)["decisions"] == []
    hidden.close()


def test_what_stands_in_for_a_new_probe_that_fails_judges_all(tmp_path, monkeypatch):
    with monkeypatch.context() as alone:  # as if the run's own probe had passed
        alone.setattr("engine.critics.audit.FITTED", ())
        path = judged(tmp_path / "f.duckdb", alone, SETTINGS | {"critics.min_auc": "1.0"})
    monkeypatch.setattr("engine.critics.probed.LABELLED", {
        "sample": {"planted": ("calibration_pairs",), "own": (), "shown": ("grade_pairs",)}, "instruction": {},
    })  # fmt: skip
    label(path)
    opened = refitted(path, monkeypatch)
    assert "it did not pass its audit" in opened.outcome.reason, opened.outcome
    opened.close()
    with Store.open(path) as store, store.reader() as reader:
        found = reader.query("SELECT critic, count(*) AS n FROM judgements WHERE subject_kind = 'sample' GROUP BY 1")
    counts = {row["critic"]: row["n"] for row in found}
    assert counts.keys() == {"probe", "grade"} and counts["probe"] == counts["grade"] > 0
