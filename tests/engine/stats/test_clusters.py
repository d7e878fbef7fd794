"""Clustered figures against statsmodels, against dense matrices, and against all flips written out.

R is not here, so no figure is clubSandwich's own. What it computes (CR2 with the identity as working model, and
Satterthwaite's degrees of freedom of a contrast) is computed in `dense` from the definitions of Pustejovsky and Tipton
(2018), with whole matrices, and none of the closed forms of the program.
"""

from __future__ import annotations

import time
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg, stats
from statsmodels.regression.linear_model import OLS

from engine.stats.clusters import (
    ClusterDesign,
    clustered,
    clustered_effect,
    clustered_power,
    clusters_needed,
    clusters_of,
    design_of,
    mean_of,
    sign_flip,
)
from engine.stats.paired import paired_t
from engine.stats.power import t_effect, t_n, t_power
from tests.engine.stats.paired_data import SLEEP_1, SLEEP_2


def drawn(seed: int, sizes: list[list[int]], sd: float = 0.6) -> tuple[np.ndarray, list[str], list[int]]:
    """Differences of -1, 0 and 1, with clusters of these sizes in each stratum; names begin anew in each stratum."""
    rng = np.random.default_rng(seed)
    names = [f"c{number}" for of in sizes for number, size in enumerate(of) for _ in range(size)]
    strata = [place for place, of in enumerate(sizes) for size in of for _ in range(size)]
    shift = np.concatenate(
        [np.full(size, rng.normal(0.1 * place, sd)) for place, of in enumerate(sizes) for size in of]
    )
    return np.clip(np.round(rng.normal(0.2, 0.7, len(names)) + shift), -1, 1), names, strata


def dense(differences: np.ndarray, names: list[str], strata: list[int]) -> tuple[float, float, float]:
    """Mean, CR2 error and Satterthwaite's degrees of freedom, by the definitions and with whole matrices."""
    n, kinds = len(differences), sorted(set(strata))
    x = np.array([[float(kind == of) for kind in kinds] for of in strata])
    contrast = x.mean(axis=0)
    bread = np.linalg.inv(x.T @ x)
    annihilator = np.eye(n) - x @ bread @ x.T
    residual = annihilator @ differences
    variance, columns = 0.0, []
    for cluster in sorted(set(zip(strata, names, strict=True))):
        mine = [at for at, key in enumerate(zip(strata, names, strict=True)) if key == cluster]
        root = linalg.fractional_matrix_power(annihilator[np.ix_(mine, mine)], -0.5).real
        weights = contrast @ bread @ x[mine].T @ root
        variance += float(weights @ residual[mine]) ** 2
        columns.append(annihilator[:, mine] @ weights)
    gram = np.array(columns) @ np.array(columns).T
    return float(contrast @ bread @ x.T @ differences), variance**0.5, float(np.trace(gram) ** 2 / (gram**2).sum())


SIZES = [
    [[1, 2, 3, 8]],
    [[4, 1, 1, 1, 6], [2, 2, 2], [9, 3]],
    [[3] * 5, [2] * 7, [1] * 10, [1, 12]],
]


@pytest.mark.parametrize("sizes", SIZES)
def test_the_closed_form_is_cr2_as_it_is_defined(sizes: list[list[int]]) -> None:
    for seed in range(3):
        differences, names, strata = drawn(seed, sizes)
        found = clustered(differences, np.zeros(len(names)), names, strata)
        mean, se, df = dense(differences, names, strata)
        assert (found.difference, found.se, found.df) == (pytest.approx(mean), pytest.approx(se), pytest.approx(df))
        assert found.p == pytest.approx(2 * stats.t.sf(abs(mean / se), df))
        assert (found.lo, found.hi) == pytest.approx(stats.t.interval(0.95, df, mean, se))


@pytest.mark.parametrize(("groups", "size"), [(12, 5), (30, 2), (4, 10)])
def test_clusters_of_one_size_are_those_of_statsmodels(groups: int, size: int) -> None:
    """There CR2 is the sandwich with the factor G / (G - 1), which statsmodels has, and t has G - 1 degrees of freedom."""
    differences, names, strata = drawn(3, [[size] * groups])
    found = clustered(differences, np.zeros(len(names)), names, strata)
    options = {"groups": np.repeat(np.arange(groups), size), "use_correction": True, "df_correction": True}
    fit = OLS(differences, np.ones(len(names))).fit(cov_type="cluster", cov_kwds=options, use_t=True)
    assert (found.se, found.statistic, found.p) == pytest.approx((fit.bse[0], fit.tvalues[0], fit.pvalues[0]))
    assert (found.lo, found.hi) == pytest.approx(tuple(fit.conf_int()[0]))
    assert found.df == pytest.approx(groups - 1)


def test_strata_of_clusters_of_one_size_are_put_together_from_statsmodels() -> None:
    sizes = [[4] * 6, [4] * 9, [4] * 5]
    differences, names, strata = drawn(5, sizes)
    found = clustered(differences, np.zeros(len(names)), names, strata)
    variance = 0.0
    for place, of in enumerate(sizes):
        mine = differences[np.array(strata) == place]
        options = {"groups": np.repeat(np.arange(len(of)), 4), "use_correction": True}
        fit = OLS(mine, np.ones(len(mine))).fit(cov_type="cluster", cov_kwds=options)
        variance += (len(mine) / len(names) * fit.bse[0]) ** 2
    assert found.se == pytest.approx(variance**0.5)
    # With dummies of the strata and no correction, the sandwich of statsmodels has the same meat.
    x = np.array([[float(kind == of) for kind in range(3)] for of in strata])
    member = np.unique([f"{of} {name}" for of, name in zip(strata, names, strict=True)], return_inverse=True)[1]
    plain = OLS(differences, x).fit(cov_type="cluster", cov_kwds={"groups": member, "use_correction": False})
    share = x.mean(axis=0)
    factors = np.array([len(of) / (len(of) - 1) for of in sizes])
    assert found.se**2 == pytest.approx(float(share**2 * factors @ np.diag(plain.cov_params())))


def test_clusters_of_one_size_are_a_t_test_of_their_means() -> None:
    a = np.random.default_rng(1).normal(size=60) + np.repeat(np.random.default_rng(2).normal(size=12), 5)
    result = clustered(a, np.zeros(60), np.repeat(np.arange(12), 5).tolist())
    other = stats.ttest_1samp(a.reshape(12, 5).mean(axis=1), 0)
    assert (result.statistic, result.p) == (pytest.approx(other.statistic), pytest.approx(other.pvalue))
    assert (result.lo, result.hi) == pytest.approx(tuple(other.confidence_interval()))
    assert result.se > 1.5 * result.se_items and result.icc is not None and result.icc > 0.2


def test_clusters_of_one_item_are_a_paired_t_test() -> None:
    result, plain = clustered(SLEEP_1, SLEEP_2, range(10)), paired_t(SLEEP_1, SLEEP_2)
    assert (result.statistic, result.p) == (pytest.approx(plain.statistic), pytest.approx(plain.p))
    assert result.se == pytest.approx(result.se_items) and result.icc is None


def test_the_likeness_is_that_of_the_analysis_of_variance() -> None:
    # Three clusters of two: between 6 of 2 degrees, within 1.5 of 3, so (3 - 0.5) / (3 + 0.5).
    found = clustered([3, 2, 0, 1, 1, 0], [0] * 6, ["x", "x", "y", "y", "z", "z"])
    between = 2 * ((2.5 - 7 / 6) ** 2 + 2 * (0.5 - 7 / 6) ** 2) / 2
    assert found.icc == pytest.approx((between - 0.5) / (between + 0.5))


def test_strata_of_one_cluster_are_put_together() -> None:
    differences, names, _ = drawn(6, [[2] * 6])
    alone = clustered(differences, np.zeros(12), names, names)  # each cluster a stratum of its own
    together = clustered(differences, np.zeros(12), names)
    assert (alone.se, alone.df) == (pytest.approx(together.se), pytest.approx(together.df))
    joined = clustered(differences, np.zeros(12), names, [0, 0] + [1] * 10)
    assert (joined.se, joined.df) == (pytest.approx(together.se), pytest.approx(together.df))


def test_what_has_no_clustered_error_is_refused() -> None:
    with pytest.raises(ValueError, match="two clusters"):
        clustered(SLEEP_1, SLEEP_2, ["x"] * 10)
    with pytest.raises(ValueError, match="10 items and 2 names"):
        clustered(SLEEP_1, SLEEP_2, ["x", "y"])
    with pytest.raises(ValueError, match="no cluster differs"):
        clustered([1, 3, 1, 3], [0, 0, 0, 0], ["x", "x", "y", "y"])
    with pytest.raises(ValueError, match="no cluster differs"):
        clustered([0.3, 0.4, 1.1], [0.2, 0.3, 1.0], "xyz")
    with pytest.raises(ValueError, match="one value an item in both"):
        clustered([1, 0], [1], "xy")
    same = clustered(SLEEP_1, SLEEP_1, ["x", "y"] * 5)
    assert (same.p, same.se) == (1.0, 0.0)


# -- sign flips


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=1, max_size=10))
def test_sign_flips_are_all_flips(sums: list[int]) -> None:
    whole = abs(sum(sums))
    flips = [
        abs(sum(sign * one for sign, one in zip(signs, sums, strict=True)))
        for signs in product((1, -1), repeat=len(sums))
    ]
    expected = sum(flip >= whole for flip in flips) / len(flips)
    found = sign_flip(clusters_of(sums, range(len(sums))))
    assert found.p == pytest.approx(expected) and "exact" in found.method


def test_sign_flips_of_other_numbers_are_drawn() -> None:
    sums = np.random.default_rng(1).normal(0.5, 1, size=14)
    flips = np.abs(np.array(list(product((1.0, -1.0), repeat=14))) @ sums)
    found = sign_flip(clusters_of(sums, range(14)))
    assert found.p == pytest.approx(float((flips >= abs(sums.sum()) - 1e-9).mean()), abs=0.015)
    assert found == sign_flip(clusters_of(sums, range(14)))


def test_signs_of_single_items_are_mcnemars_test() -> None:
    sums = [1] * 12 + [-1] * 4 + [0] * 20
    assert sign_flip(clusters_of(sums, range(36))).p == pytest.approx(stats.binomtest(4, 16).pvalue)


# -- power


def design(clusters: int, size: int = 1, strata: int = 1) -> ClusterDesign:
    return design_of(np.full(clusters, float(size)), np.arange(clusters) % strata)


def test_power_of_clusters_of_one_item_is_that_of_the_t_test() -> None:
    dz = 0.08 / (0.12 - 0.08**2) ** 0.5
    assert clustered_power(0.10, 0.02, design(200), 0.7).power == pytest.approx(t_power(dz, 200).power)
    needed = clusters_needed(0.10, 0.02, design(50), 0.0)
    assert (needed.design.clusters, needed.design.n) == (t_n(dz).n, t_n(dz).n)
    effect = clustered_effect(design(200), 0.12, 0.3).effect
    assert effect is not None and effect / (0.12 - effect**2) ** 0.5 == pytest.approx(t_effect(200).effect)


def test_alike_items_are_worth_their_clusters() -> None:
    alike, apart = design(60, 10, 6), design(600, 1, 6)
    assert alike.df == pytest.approx(54) and alike.effect(1.0) == 10
    assert clustered_power(0.1, 0.05, alike, 0.0).power == pytest.approx(
        clustered_power(0.1, 0.05, apart, 0.0).power, abs=0.02
    )
    powers = [clustered_power(0.1, 0.05, alike, icc).power for icc in (0.0, 0.1, 0.3, 1.0)]
    assert powers == sorted(powers, reverse=True)
    few, more = (clusters_needed(0.1, 0.02, alike, icc).design for icc in (0.0, 0.2))
    assert more.clusters > 2 * few.clusters and more.n == 10 * more.clusters
    assert clustered_power(0.1, 0.02, design(more.clusters, 10, 6), 0.2).power == pytest.approx(0.8, abs=0.01)
    shown = [clustered_effect(alike, 0.12, icc).effect for icc in (0.0, 0.1)]
    assert shown[0] < shown[1]  # type: ignore[operator]
    assert clustered_effect(design(4, 1), 0.12, 0.0).effect is None


def test_power_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="gain and loss must be"):
        clustered_power(0.9, 0.2, design(20), 0.1)
    with pytest.raises(ValueError, match="likeness"):
        clustered_power(0.1, 0.0, design(20), 1.5)
    with pytest.raises(ValueError, match="are equal"):
        clusters_needed(0.1, 0.1, design(20), 0.1)
    with pytest.raises(ValueError, match="no more than"):
        clustered_effect(design(20), 0.1, 0.1, power=0.05)
    with pytest.raises(ValueError, match="million|clusters would be needed"):
        clusters_needed(0.1, 0.1 - 1e-6, design(20), 0.1)


def test_a_simulated_evaluation_costs_less_than_a_millisecond() -> None:
    differences, names, strata = drawn(9, [[2] * 24] * 14)
    found = clusters_of(differences, names, strata)
    started = time.process_time()
    for _ in range(200):
        mean_of(found)
    assert (time.process_time() - started) / 200 < 2e-3


def test_no_items_are_no_clusters() -> None:
    assert [len(clusters_of([], [], of).sizes) for of in ([], None)] == [0, 0]
