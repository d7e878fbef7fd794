"""Paired tests and intervals by simulation: they hold their level and their cover, and are quick."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy import stats

from engine.stats.clusters import clustered
from engine.stats.paired import (
    cohen_dz,
    cohen_h,
    holm,
    mcnemar,
    mean_bca,
    newcombe,
    paired_t,
    pairs,
    shares_bca,
    wilcoxon,
)
from tests.engine.stats.paired_data import TUNED, drawn_tables, mcnemar_p


def test_15000_items_with_10000_draws_take_under_two_seconds() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 15_000))
    mcnemar(TUNED), cohen_h(TUNED), clustered([1, 0, 1], [0, 0, 0], "xyz"), holm([0.5])  # statsmodels is imported
    started = time.process_time()
    mean_bca(a, b, draws=10_000), paired_t(a, b), wilcoxon(a, b), cohen_dz(a, b)
    clustered(a, b, [item // 10 for item in range(15_000)])
    table = pairs(a > 0, b > 0)
    shares_bca(table, draws=10_000), newcombe(table), mcnemar(table), mcnemar(table, exact=False), cohen_h(table)
    assert time.process_time() - started < 2


@pytest.mark.slow
@pytest.mark.parametrize("exact", [True, False])
def test_family_wise_error_of_mcnemar_over_twelve_types(exact: bool) -> None:
    """2,000 evaluations of 12 types with 50 items each, in which a and b are equally good."""
    tables = np.random.default_rng(11).multinomial(50, [0.15, 0.15, 0.7], size=(2_000, 12))
    errors = sum(any(holm([mcnemar_p(50, int(row[0]), int(row[1]), exact) for row in run]).rejected) for run in tables)
    # At most the nominal rate, and not so far below it that the test would be of no use.
    assert stats.binomtest(errors, 2_000, 0.05, alternative="greater").pvalue > 0.01
    assert errors > 0


@pytest.mark.slow
def test_family_wise_error_of_the_t_test_over_twelve_types() -> None:
    scores = np.random.default_rng(12).normal(size=(2_000, 12, 50))
    zero = np.zeros(50)
    errors = sum(any(holm([paired_t(kind, zero).p for kind in run]).rejected) for run in scores)
    assert stats.binomtest(errors, 2_000, 0.05).pvalue > 0.01


def coverage(intervals: list[tuple[float | None, float | None]], truth: float) -> float:
    return float(np.mean([lo is not None and hi is not None and lo <= truth <= hi for lo, hi in intervals]))


@pytest.mark.slow
@pytest.mark.parametrize("shares", [[0.6, 0.15, 0.05, 0.2], [0.3, 0.2, 0.2, 0.3], [0.78, 0.12, 0.04, 0.06]])
def test_coverage_of_newcombe(shares: list[float]) -> None:
    drawn = [newcombe(table) for table in drawn_tables(shares, 300, 4_000, seed=21)]
    assert coverage([(one.lo, one.hi) for one in drawn], shares[1] - shares[2]) == pytest.approx(0.95, abs=0.015)


@pytest.mark.slow
@pytest.mark.parametrize("shares", [[0.6, 0.15, 0.05, 0.2], [0.3, 0.2, 0.2, 0.3], [0.78, 0.12, 0.04, 0.06]])
def test_coverage_of_bca_for_shares(shares: list[float]) -> None:
    drawn = [
        shares_bca(table, draws=2_000, seed=seed) for seed, table in enumerate(drawn_tables(shares, 300, 4_000, 22))
    ]
    assert coverage([(one.lo, one.hi) for one in drawn], shares[1] - shares[2]) == pytest.approx(0.95, abs=0.015)


@pytest.mark.slow
def test_coverage_of_bca_for_skewed_scores() -> None:
    rng = np.random.default_rng(23)
    zero = np.zeros(150)
    drawn = [mean_bca(rng.exponential(size=150), zero, draws=1_000, seed=seed) for seed in range(3_000)]
    assert coverage([(one.lo, one.hi) for one in drawn], 1.0) == pytest.approx(0.95, abs=0.015)


@pytest.mark.slow
def test_coverage_of_dz_and_of_clustered_errors() -> None:
    rng = np.random.default_rng(24)
    zero = np.zeros(40)
    effects = [cohen_dz(rng.normal(0.5, 1, size=40), zero) for _ in range(4_000)]
    assert coverage([(one.lo, one.hi) for one in effects], 0.5) == pytest.approx(0.95, abs=0.015)
    names = np.repeat(np.arange(40), 5).tolist()
    zero = np.zeros(200)
    noise = rng.normal(size=(2_000, 200)) + np.repeat(rng.normal(size=(2_000, 40)), 5, axis=1)
    means = [clustered(row, zero, names) for row in noise]
    assert coverage([(one.lo, one.hi) for one in means], 0.0) == pytest.approx(0.95, abs=0.015)
    ignored = np.abs([one.difference for one in means]) < 1.96 * np.array([one.se_items for one in means])
    assert ignored.mean() < 0.85  # what it is for
