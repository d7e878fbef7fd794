"""Comparisons of what is no yes or no: which of them are tested, and which are described only."""

from __future__ import annotations

import statistics
from datetime import UTC, datetime
from typing import Any

import pytest
from scipy import stats

from engine.evaluation.graded import MEASURES, NATS, graded
from engine.evaluation.inference import ENOUGH_CLUSTERS


def answers(templates: int) -> list[dict[str, Any]]:
    """Two items of each template, answered by the base and by a model that is right twice as often."""
    return [
        {
            "split": "test", "capability": "instruction_following", "condition": condition, "item_id": f"i{n}",
            "item_type": "short_fact", "template": f"t{n // 2}", "n_tokens": 10 + n % 5 + (n % 3) * (every == 2),
            **dict.fromkeys(("strict", "correct", "loose"), n % every == 0),
        }
        for condition, every in (("base_formatted", 4), ("sft", 2))
        for n in range(2 * templates)
    ]  # fmt: skip


@pytest.mark.parametrize(("templates", "tested"), [(ENOUGH_CLUSTERS - 1, False), (ENOUGH_CLUSTERS, True)])
def test_a_comparison_over_too_few_templates_is_described_only(templates: int, tested: bool) -> None:
    rows = graded(answers(templates), datetime.now(UTC))
    assert [row["measure"] for row in rows] == list(MEASURES)
    for row in rows:
        assert row["clusters"] == templates and row["difference"] > 0 and row["bca_lo"] < row["bca_hi"]
        assert [row[name] is not None for name in ("lo", "hi", "p", "q")] == [tested] * 4


def test_log_probabilities_and_margins_have_the_paired_tests_with_their_effects() -> None:
    found = answers(12)
    for row in found:
        row["correct"] = None  # undecided: a log-probability has nothing to do with a verdict
    nats = {(row["condition"], row["item_id"]): -row["n_tokens"] / 10 for row in found}
    margins = {f"i{n}": 0.3 - n % 7 / 10 for n in range(20)}
    of_judge = {"a margin": {("base_formatted", "sft", item): value for item, value in margins.items()}}
    likely, judged = graded(found, datetime.now(UTC), nats, of_judge)
    after, before = ([nats[name, f"i{n}"] for n in range(24)] for name in ("sft", "base_formatted"))
    assert (likely["measure"], likely["n"]) == (NATS, 24)
    assert likely["t_p"] == pytest.approx(stats.ttest_rel(after, before).pvalue)
    moved = [round(a - b, 12) for a, b in zip(after, before, strict=True)]
    assert likely["dz"] == pytest.approx(sum(moved) / 24 / statistics.stdev(moved))
    assert likely["dz_lo"] < likely["dz"] < likely["dz_hi"] and likely["rank_biserial"] == -1.0
    assert (judged["measure"], judged["n"], judged["before_mean"]) == ("a margin", 20, 0.0)
    assert judged["t_p"] == pytest.approx(stats.ttest_1samp(list(margins.values()), 0.0).pvalue)
    smaller, larger = sorted((likely, judged), key=lambda row: row["p"])
    assert larger["q"] == pytest.approx(larger["p"]) and smaller["q"] == pytest.approx(
        min(2 * smaller["p"], larger["p"])
    )
