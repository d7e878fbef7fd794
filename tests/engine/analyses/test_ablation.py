"""Ablations and evidence by principle, with a model that is known to use one principle and no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

import engine.models.registry
from engine.analyses.ablation import GENERIC, run_ablation
from engine.analyses.principles import evidence
from engine.core.control import Control
from engine.core.data import read_data
from engine.core.errors import SpecError
from engine.models.requests import Completion, Generate
from engine.spec.constitution import load_constitution
from engine.stats.effects import paired_means, paired_shares
from engine.stats.intervals import mean_interval
from engine.stats.paired import wilcoxon
from engine.stats.shares import wilson
from store.db import Store
from tests.engine.fakes import run_engine
from tests.engine.phases.test_preferences import OPTIONS, Critical

pytestmark = pytest.mark.integration

USED = load_constitution().by_id["correct_facts"]


class Obedient(Critical):
    """Revises well where it is shown the one principle, and writes something else where it is not."""

    def _answer(self, request: Generate) -> Completion:
        found = super()._answer(request)
        item = request.prompt[request.shared :]
        if item.endswith("Better response:") and USED.text not in item:
            text = found.text.replace("Really", "Perhaps")
            return Completion(request, text, found.token_ids, 5, "stop", "\n###")
        return found


@pytest.fixture
def store(tmp_path: Path, monkeypatch: Any) -> Path:
    path = tmp_path / "a.duckdb"
    opened = run_engine(path, monkeypatch, Obedient(), **(OPTIONS | {"pilot": 24}))
    assert opened.outcome is not None and opened.outcome.state == "done", opened.outcome
    opened.close()
    return path


def ablated(
    store: Path, monkeypatch: Any, model: Obedient, principle: str, items: int = 12, told: list[str] | None = None
) -> dict[Any, Any]:
    monkeypatch.setattr(engine.models.registry, "load", lambda *_, **__: model)
    with Store.open(store, read_only=True) as held:
        run_id = held.reader().latest_run_id()
    rows = run_ablation(store, str(run_id), [principle], items, Control(), [].append if told is None else told.append)
    return {(row["against"], row["measure"]): row for row in rows}


def test_the_principle_that_is_used_makes_the_difference(store: Path, monkeypatch: Any) -> None:
    found = ablated(store, monkeypatch, Obedient(), USED.id)
    for against in ("without", "irrelevant"):
        margin, useful = found[against, "margin_nats"], found[against, "useful"]
        assert margin["n"] == 12 and margin["difference"] == pytest.approx(1.0) and margin["p"] < 0.01
        assert margin["effect"] == 1.0 and useful["against_mean"] == 0 and useful["difference"] > 0.5


def test_a_principle_that_is_not_used_makes_none(store: Path, monkeypatch: Any) -> None:
    found = ablated(store, monkeypatch, Obedient(), "kind_words")
    assert abs(found["without", "margin_nats"]["difference"]) < 1e-9 and found["without", "margin_nats"]["p"] is None


def test_only_what_is_shown_differs_between_the_conditions(store: Path, monkeypatch: Any) -> None:
    model = Obedient()
    ablated(store, monkeypatch, model, USED.id, items=4)
    asked = [r for r in model.generated if r.prompt.endswith("Critique:")]
    assert len(asked) == 12 and len({r.seed for r in asked}) == 4 and len({r.prompt for r in asked}) == 12
    shown = [r.prompt[r.shared :].split("Principle: ")[1].split("\n")[0] for r in asked]
    assert shown.count(USED.text) == 4 and shown.count(GENERIC["text"]) == 4
    by_text = {p.text: p.category for p in load_constitution().principles}
    others = [by_text[text] for text in shown if text not in (USED.text, GENERIC["text"])]
    assert len(others) == 4 and USED.category not in others


@pytest.mark.parametrize("principle", [USED.id, "kind_words"])
def test_the_principle_under_test_appears_where_it_is_shown_and_in_no_solved_example(
    store: Path, monkeypatch: Any, principle: str
) -> None:
    model = Obedient()
    ablated(store, monkeypatch, model, principle, items=4)
    asked = [r for r in model.generated if r.prompt.endswith(("Critique:", "Better response:"))]
    examples = {row["principle_id"]: row for row in read_data("critique_examples")}
    by_id = load_constitution().by_id
    assert len(asked) == 24
    for request in asked:
        shown = request.prompt[: request.shared]
        assert by_id[principle].text not in shown and examples[principle]["response"] not in shown
        assert shown.count("Better response:") == 6  # the next one takes its place
    assert sum(by_id[principle].text in r.prompt for r in asked) == 8


def test_an_ablation_tells_how_far_it_is_and_how_many_items_there_are(store: Path, monkeypatch: Any) -> None:
    told: list[str] = []
    found = ablated(store, monkeypatch, Obedient(), USED.id, items=900, told=told)
    n = found["without", "useful"]["n"]
    assert 0 < n < 900 and told == [
        "measuring the pair critics",
        f"correct_facts: {n} items with the principle (1 of 3)",
        f"correct_facts: {n} items without one (2 of 3)",
        f"correct_facts: {n} items with one of another category (3 of 3)",
    ]


def test_an_ablation_is_paid_for_once(store: Path, monkeypatch: Any) -> None:
    first = ablated(store, monkeypatch, Obedient(), USED.id)
    again = Obedient()
    assert ablated(store, monkeypatch, again, USED.id)["without", "useful"]["p"] == first["without", "useful"]["p"]
    assert again.generated == []


def test_an_unknown_principle_is_refused_by_name(store: Path, monkeypatch: Any) -> None:
    with pytest.raises(SpecError, match="no principle 'nonsense'"):
        ablated(store, monkeypatch, Obedient(), "nonsense")


def test_evidence_counts_what_the_rows_say(store: Path) -> None:
    with Store.open(store, read_only=True) as held:
        reader = held.reader()
        run_id = str(reader.latest_run_id())
        rows = evidence(reader, run_id)
        totals = reader.query(
            "SELECT count(*) AS n, count(*) FILTER (verdict = 'accepted') AS kept FROM verdicts "
            "WHERE run_id = ? AND subject_kind = 'revision'", [run_id],
        )[0]  # fmt: skip
    assert sum(row["drawn"] for row in rows) == totals["n"] and sum(row["kept"] for row in rows) == totals["kept"]
    drawn = [row["drawn"] for row in rows]
    assert len(rows) == 18 and max(drawn) - min(drawn) <= 2
    used = next(row for row in rows if row["principle_id"] == USED.id)
    assert used["kept"] > 0 and used["named"] == used["drawn"] and used["kept_lo"] > 0
    assert all(row["kept"] == 0 for row in rows if row["principle_id"] != USED.id)


@pytest.mark.parametrize("first", ["compare", "grade"])
def test_best_of_pairs_count_for_a_principle_where_the_critic_that_decided_read_its_question(
    tmp_path: Path, monkeypatch: Any, first: str
) -> None:
    other = "grade" if first == "compare" else "compare"
    options = OPTIONS | {"overrides": OPTIONS["overrides"] | {"critics.pair": f"[{first}, {other}]"}, "until": "pairs"}
    opened = run_engine(tmp_path / "a.duckdb", monkeypatch, Critical(), **options)
    with opened.store.reader() as reader:  # both pass, so the first decides
        audits = reader.query("SELECT * FROM audits WHERE subject_kind = 'pair'")
    opened.store.put({"audits": [row | {"auc": 1.0, "detail": json.loads(row["detail"])} for row in audits]})
    with opened.store.reader() as reader:
        rows = evidence(reader, opened.run_id)
        made = reader.query(
            "SELECT p.source, count(*) AS n, count(*) FILTER (v.verdict = 'accepted') AS kept FROM pairs p "
            "JOIN verdicts v ON v.subject_kind = 'pair' AND v.subject_id = p.pair_id "
            "WHERE p.principle_id IS NOT NULL GROUP BY 1"
        )
    by_source = {row["source"]: (row["n"], row["kept"]) for row in made}
    assert by_source.keys() == {"revision", "best_of"} and min(n for n, _ in by_source.values()) > 0
    counted = by_source.values() if first == "compare" else [by_source["revision"]]
    assert sum(row["pairs"] for row in rows) == sum(n for n, _ in counted)
    assert sum(row["pairs_kept"] for row in rows) == sum(kept for _, kept in counted)
    opened.close()


def test_paired_statistics_against_figures_worked_out_by_hand() -> None:
    # Differences 1, 2, 3, -1 with ranks 1.5, 3, 4, 1.5: (8.5 - 1.5) / 10.
    found = paired_means([2, 4, 6, 1], [1, 2, 3, 2])
    assert found.beside_effect == pytest.approx(0.7) and found.difference == pytest.approx(1.25)
    # Their mean is 1.25 and their standard deviation sqrt(8.75 / 3): t = d_z sqrt(4).
    assert (found.test, found.effect_name) == ("paired t", "Cohen's d_z")
    assert found.effect == pytest.approx(1.25 / (8.75 / 3) ** 0.5)
    assert found.p == pytest.approx(2 * stats.t.sf(2 * 1.25 / (8.75 / 3) ** 0.5, 3))
    assert found.effect_lo < found.effect < found.effect_hi  # type: ignore[operator]
    assert found.beside_p == wilcoxon([2, 4, 6, 1], [1, 2, 3, 2]).p
    # One difference for all: t is not defined, and ranks are.
    same = paired_means([1.5, 2.5, 3.5], [1, 2, 3])
    assert (same.test, same.effect, same.beside, same.effect_lo) == ("Wilcoxon signed-rank", 1.0, None, None)
    # Five discordant items, all one way: 2 * 0.5 ** 5.
    shares = paired_shares([1, 1, 1, 1, 1, 0, 1], [0, 0, 0, 0, 0, 0, 1])
    assert shares.p == pytest.approx(0.0625) and shares.effect == pytest.approx(0.5)
    assert (shares.effect_lo, shares.effect_hi) == pytest.approx((wilson(5, 5)[0] - 0.5, 0.5))
    assert paired_means([1, 2], [1, 2]).p is None
    assert mean_interval([3.0]) == (3.0, None, None)
