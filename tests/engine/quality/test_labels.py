"""A person's labels against the critics' stored scores."""

from pathlib import Path

import pytest

from engine.core.errors import SpecError
from engine.quality.labels import audit, mark
from engine.stats.intervals import cohen_kappa
from store.db import Store
from tests.store import rows


def test_kappa_of_a_table_worked_out_by_hand() -> None:
    # 20 both yes, 5 only the first, 10 only the second, 15 both no: observed 0.70, by chance 0.50.
    first = [True] * 25 + [False] * 25
    second = [True] * 20 + [False] * 5 + [True] * 10 + [False] * 15
    assert cohen_kappa(first, second) == pytest.approx(0.4)
    assert cohen_kappa([], []) is None and cohen_kappa([True, True], [True, True]) is None
    assert cohen_kappa([True, False], [False, True]) == pytest.approx(-1.0)


def test_labels_audit_the_critics_and_the_last_one_counts(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.duckdb") as store:
        store.append(rows.small_run())
        mark(store, "run-a", "s1", "bad", "wrong at first", by="ana")
        mark(store, "run-a", "s2", "unsure", by="ana")
        assert audit(store.reader(), "run-a")[0]["n_bad"] == 1  # an unsure label is nobody's evidence
        mark(store, "run-a", "s1", "good", "no, it is fine", by="ana")
        audits = mark(store, "run-a", "s2", "bad", by="ana")
        with store.reader() as reader:
            found = {(row["critic"], row["part"]): row for row in reader.audits("run-a")}
            label = reader.sample("run-a", "s1")["person_label"]
    assert {row["critic"] for row in audits} == {"label", "rules"}
    person = found["label", "person"]
    # The critic gave s1 +1.25 and s2 -0.5, so it agrees with both labels.
    assert person["auc"] == 1.0 and person["accuracy"] == 1.0 and person["detail"]["kappa"] == 1.0
    assert [entry["n"] for entry in person["detail"]["bins"]] == [0, 0, 1, 1]
    assert person["may_filter"] is False
    assert label["label"] == "good" and label["note"] == "no, it is fine"


def test_another_word_is_refused(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.duckdb") as store, pytest.raises(SpecError, match="fine"):
        mark(store, "run-a", "s1", "fine", by="ana")
