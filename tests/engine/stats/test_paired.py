"""Paired tests, intervals and effect sizes against published figures and other programs' figures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from engine.stats.paired import (
    Pairs,
    benjamini_hochberg,
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
from engine.stats.shares import wilson
from tests.engine.stats.paired_data import (
    APPROVAL,
    BENTUR,
    CAVO,
    DEPRESSION_1,
    DEPRESSION_2,
    MAIZE,
    SLEEP_1,
    SLEEP_2,
    TRIAL,
    TUNED,
    swapped,
)

TABLES = st.tuples(*[st.integers(0, 200)] * 4).filter(any).map(lambda counts: Pairs(*counts))
SCORES = st.integers(2, 30).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(-50, 50), min_size=n, max_size=n)] * 2)
)  # fmt: skip
P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=20)


# -- golden values


@pytest.mark.parametrize(("right", "low", "high"), [(243, 76.2, 85.0), (298, 97.6, 99.8)])
def test_wilson_interval_of_the_worked_example(right: int, low: float, high: float) -> None:
    assert [round(100 * limit, 1) for limit in wilson(right, 300)] == [low, high]


@pytest.mark.parametrize(
    ("table", "statistic", "p"),
    [
        (TUNED, 49.42, 2.06e-12),
        (APPROVAL, 63**2 / 236, stats.chi2.sf(63**2 / 236, 1)),  # (|150 - 86| - 1)^2 / 236
        (CAVO, 1.919**2, 0.055009),  # contingencytables prints Z
        (BENTUR, 25 / 8, stats.chi2.sf(25 / 8, 1)),  # (|1 - 7| - 1)^2 / 8
    ],
)
def test_mcnemar_corrected(table: Pairs, statistic: float, p: float) -> None:
    result = mcnemar(table, exact=False)
    assert result.statistic == pytest.approx(statistic, rel=5e-4)
    assert result.p == pytest.approx(p, rel=2e-3)
    assert (result.n, result.test) == (table.n, "McNemar continuity-corrected")


@pytest.mark.parametrize(
    ("table", "p"),
    [
        (TUNED, 6.1e-15),
        (CAVO, 0.052479),  # contingencytables
        (BENTUR, 2 * 9 / 256),  # 2 (C(8, 0) + C(8, 1)) / 2^8
        (APPROVAL, stats.binomtest(86, 236).pvalue),
    ],
)
def test_mcnemar_exact(table: Pairs, p: float) -> None:
    result = mcnemar(table)
    assert result.p == pytest.approx(p, rel=1e-2 if p < 1e-12 else 1e-5)
    assert (result.statistic, result.test) == (min(table.gained, table.lost), "McNemar exact")


@pytest.mark.parametrize(
    ("table", "low", "high", "places"),
    [
        (Pairs(36, 12, 2, 0), 0.0569, 0.3404, 4),  # Newcombe 1998, his first example
        (CAVO, -0.1186, -0.0046, 4),  # contingencytables, Newcombe_square_and_add_CI_paired_2x2
        (BENTUR, -0.507, -0.026, 3),  # Fagerland, Lydersen and Laake 2014
        (Pairs(14, 5, 0, 22), 0.011, 0.226, 3),  # Altman et al. 2000, Statistics with Confidence, table 6.2
    ],
)
def test_newcombe(table: Pairs, low: float, high: float, places: int) -> None:
    result = newcombe(table)
    assert (result.lo, result.hi) == (
        pytest.approx(low, abs=0.51 * 10**-places),
        pytest.approx(high, abs=0.51 * 10**-places),
    )
    assert result.value == pytest.approx((table.gained - table.lost) / table.n)


@pytest.mark.parametrize(
    ("table", "h", "tolerance"),
    [
        (TUNED, 0.739, 5e-4),
        (Pairs(4, 1, 0, 5), 0.2013579, 1e-7),  # R package pwr, ES.h(0.5, 0.4)
        (Pairs(1, 2, 0, 1), math.pi / 3, 1e-12),  # shares 3/4 and 1/4: 2 pi / 3 - pi / 3
        (Pairs(0, 9, 0, 0), math.pi, 1e-12),  # shares 1 and 0: the largest h there is
    ],
)
def test_cohen_h(table: Pairs, h: float, tolerance: float) -> None:
    assert cohen_h(table).value == pytest.approx(h, abs=tolerance)


@pytest.mark.parametrize(
    ("a", "b", "t", "p"),
    [
        (SLEEP_1, SLEEP_2, -4.0621, 0.002833),  # R, t.test(extra ~ group, paired)
        ([1, 2, 3], [0, 0, 0], 2 * math.sqrt(3), stats.ttest_1samp([1, 2, 3], 0).pvalue),  # mean 2, spread 1
        ([0, 1], [0, 0], 1.0, 0.5),  # one degree of freedom: Cauchy, P(|t| > 1) = 1/2
        (MAIZE, [0] * 15, 2.148, 0.0497),  # Fisher 1935, The Design of Experiments, section 17
    ],
)
def test_paired_t(a: list[float], b: list[float], t: float, p: float) -> None:
    result = paired_t(a, b)
    assert (result.statistic, result.p) == (pytest.approx(t, rel=1e-4), pytest.approx(p, rel=1e-3))


@pytest.mark.parametrize(
    ("a", "b", "statistic", "p", "method"),
    [
        (DEPRESSION_1, DEPRESSION_2, 5, 2 * 0.01953125, "exact"),  # R: V = 40 of 45, one-sided p 0.01953
        (MAIZE, [0] * 15, 24, 0.041259765625, "exact"),  # scipy's help page
        ([1, 2, 3, 4, 5], [0] * 5, 0, 2 / 32, "exact"),  # all above zero: 2 of 2^5 signs
        # One zero left out, one tie: mean 22.5, variance 71.25 - 6 / 48.
        (SLEEP_1, SLEEP_2, 0, 2 * stats.norm.sf(22.5 / math.sqrt(71.125)), "normal"),
    ],
)
def test_wilcoxon(a: list[float], b: list[float], statistic: float, p: float, method: str) -> None:
    result = wilcoxon(a, b)
    assert (result.statistic, result.p) == (statistic, pytest.approx(p, rel=1e-9))
    assert result.method.startswith(method)


@pytest.mark.parametrize(
    ("a", "b", "value", "low", "high", "tolerance"),
    [
        # R package effectsize, cohens_d(extra ~ group, data = sleep, paired = TRUE)
        (SLEEP_1, SLEEP_2, -1.28, -2.12, -0.41, 0.005),
    ],
)
def test_cohen_dz(a: list[float], b: list[float], value: float, low: float, high: float, tolerance: float) -> None:
    result = cohen_dz(a, b)
    assert [result.value, result.lo, result.hi] == pytest.approx([value, low, high], abs=tolerance)


@pytest.mark.parametrize(("a", "b"), [(SLEEP_1, SLEEP_2), (MAIZE, [0] * 15), (DEPRESSION_1, DEPRESSION_2)])
def test_the_limits_of_dz_are_the_effects_under_which_t_would_be_extreme(a: list[float], b: list[float]) -> None:
    result = cohen_dz(a, b, 0.9)
    t = paired_t(a, b).statistic
    assert result.lo is not None and result.hi is not None
    root = math.sqrt(result.n)
    assert stats.nct.sf(t, result.n - 1, result.lo * root) == pytest.approx(0.05, abs=1e-6)
    assert stats.nct.cdf(t, result.n - 1, result.hi * root) == pytest.approx(0.05, abs=1e-6)


@pytest.mark.parametrize(
    "a", [np.subtract(SLEEP_2, SLEEP_1), np.array(MAIZE), np.random.default_rng(3).exponential(size=90)]
)
def test_bca_of_a_mean_against_scipy(a: np.ndarray) -> None:
    result = mean_bca(a, np.zeros(len(a)), draws=40_000)
    other = stats.bootstrap(
        (a,), np.mean, n_resamples=40_000, method="BCa", rng=np.random.default_rng(7)
    ).confidence_interval
    assert [result.lo, result.hi] == pytest.approx([other.low, other.high], abs=0.03 * float(np.std(a)) + 0.01)


@pytest.mark.parametrize("table", [TUNED, CAVO, Pairs(30, 9, 1, 20)])
def test_bca_of_a_difference_of_shares_against_scipy(table: Pairs) -> None:
    outcomes = np.repeat([1, -1, 0], [table.gained, table.lost, table.both + table.neither])
    other = stats.bootstrap(
        (outcomes,), np.mean, n_resamples=40_000, method="BCa", rng=np.random.default_rng(7)
    ).confidence_interval
    result = shares_bca(table, draws=40_000)
    # One item more or less on either side: the draws are multiples of 1 / n.
    assert [result.lo, result.hi] == pytest.approx([other.low, other.high], abs=1.01 / table.n)


def test_holm() -> None:
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]).adjusted == pytest.approx((0.05, 0.08, 0.09, 0.09, 0.09))  # R, p.adjust
    assert holm([0.01, 0.04, 0.03, 0.005]).adjusted == pytest.approx((0.03, 0.06, 0.06, 0.02))  # 3, 1, 2 and 4 times p
    assert sum(holm(TRIAL).rejected) == 3  # as Benjamini and Hochberg say of Bonferroni and of Hochberg's own procedure
    assert holm(TRIAL).adjusted == pytest.approx(multipletests(TRIAL, method="holm")[1])


def test_benjamini_hochberg() -> None:
    assert benjamini_hochberg([0.01, 0.02, 0.03, 0.04, 0.05]).adjusted == pytest.approx((0.05,) * 5)  # R, p.adjust
    assert benjamini_hochberg([0.01, 0.04, 0.03, 0.005]).adjusted == pytest.approx((0.02, 0.04, 0.04, 0.02))
    assert sum(benjamini_hochberg(TRIAL).rejected) == 4  # the paper's result
    assert benjamini_hochberg(TRIAL).adjusted == pytest.approx(tuple(stats.false_discovery_control(TRIAL)))


def test_outcomes_are_counted() -> None:
    assert pairs([1, 1, 0, 0, 1], [1, 0, 1, 0, 0]) == Pairs(1, 2, 1, 1)
    assert pairs([True, False], [True, False]) == Pairs(1, 0, 0, 1)


# -- edges


@pytest.mark.parametrize("table", [Pairs(300, 0, 0, 0), Pairs(0, 0, 0, 7), Pairs(5, 0, 0, 5), Pairs(1, 0, 0, 0)])
@pytest.mark.parametrize("exact", [True, False])
def test_without_discordant_pairs_there_is_nothing_to_test(table: Pairs, exact: bool) -> None:
    assert (mcnemar(table, exact=exact).p, mcnemar(table, exact=exact).statistic) == (1.0, 0.0)
    assert (cohen_h(table).value, shares_bca(table).lo) == (0.0, None)
    interval = newcombe(table)
    assert interval.lo is not None and interval.hi is not None
    assert interval.lo < 0 < interval.hi


def test_all_right_against_all_wrong() -> None:
    table = Pairs(0, 50, 0, 0)
    assert newcombe(table).hi == 1.0
    assert (shares_bca(table).lo, mcnemar(table).p) == (None, pytest.approx(2 / 2**50))


def test_identical_scores() -> None:
    assert (paired_t(SLEEP_1, SLEEP_1).p, wilcoxon(SLEEP_1, SLEEP_1).p) == (1.0, 1.0)
    assert (cohen_dz(SLEEP_1, SLEEP_1).value, cohen_dz(SLEEP_1, SLEEP_1).lo) == (0.0, None)
    assert (mean_bca(SLEEP_1, SLEEP_1).value, mean_bca(SLEEP_1, SLEEP_1).lo) == (0.0, None)


@pytest.mark.parametrize("test", [paired_t, cohen_dz])
def test_differences_without_spread_are_refused_where_it_divides(test: object) -> None:
    with pytest.raises(ValueError, match=r"all differences are 0\.1"):
        test([0.3, 0.4, 1.1], [0.2, 0.3, 1.0])  # type: ignore[operator]


COMPARISONS = [paired_t, wilcoxon, cohen_dz, mean_bca, pairs]


@pytest.mark.parametrize("compare", COMPARISONS)
def test_what_cannot_be_compared_is_refused(compare: object) -> None:
    with pytest.raises(ValueError, match="second condition's score of item 1 .* is nan"):
        compare([1, 0, 1], [0, math.nan, 1])  # type: ignore[operator]
    with pytest.raises(ValueError, match="first condition's score of item 0 .* is inf"):
        compare([math.inf, 0], [0, 1])  # type: ignore[operator]
    with pytest.raises(ValueError, match="there are 0 paired items"):
        compare([], [])  # type: ignore[operator]
    with pytest.raises(ValueError, match="one value an item in both"):
        compare([1, 0], [1])  # type: ignore[operator]


def test_other_things_are_refused() -> None:
    with pytest.raises(ValueError, match="no pairs to compare"):
        Pairs(0, 0, 0, 0)
    with pytest.raises(ValueError, match="whole numbers"):
        Pairs(1, -1, 0, 0)
    with pytest.raises(ValueError, match="0 or 1"):
        pairs([0.5, 1], [0, 1])
    with pytest.raises(ValueError, match="from 0 to 1"):
        holm([0.5, math.nan])
    with pytest.raises(ValueError, match="confidence must be between"):
        newcombe(TUNED, 95)
    with pytest.raises(ValueError, match="at least 1 draw"):
        shares_bca(TUNED, draws=0)


def test_an_empty_family() -> None:
    assert (holm([]).adjusted, benjamini_hochberg([]).n) == ((), 0)


# -- properties


@settings(max_examples=150, deadline=None)
@given(TABLES, st.floats(0.5, 0.999))
def test_shares_turn_with_the_conditions(table: Pairs, confidence: float) -> None:
    for exact in (True, False):
        there, back = mcnemar(table, exact=exact), mcnemar(swapped(table), exact=exact)
        assert 0 <= there.p <= 1
        assert (there.p, there.statistic) == (back.p, back.statistic)
    one, other = newcombe(table, confidence), newcombe(swapped(table), confidence)
    assert one.lo is not None and one.hi is not None
    assert -1 <= one.lo <= one.value <= one.hi <= 1
    assert (one.lo, one.hi) == (pytest.approx(-other.hi), pytest.approx(-other.lo))
    assert cohen_h(table).value == pytest.approx(-cohen_h(swapped(table)).value)
    assert abs(cohen_h(table).value) <= math.pi


@settings(max_examples=60, deadline=None)
@given(TABLES)
def test_a_wider_confidence_holds_the_narrower_interval(table: Pairs) -> None:
    narrow, wide = newcombe(table, 0.8), newcombe(table, 0.99)
    assert wide.lo <= narrow.lo and narrow.hi <= wide.hi  # type: ignore[operator]
    narrow, wide = shares_bca(table, 0.8, draws=500), shares_bca(table, 0.99, draws=500)
    if narrow.lo is not None:
        assert wide.lo <= narrow.lo <= narrow.hi <= wide.hi  # type: ignore[operator]
        assert wide.lo <= table.difference <= wide.hi  # type: ignore[operator]


@settings(max_examples=80, deadline=None)
@given(SCORES)
def test_scores_turn_with_the_conditions(scores: tuple[list[int], list[int]]) -> None:
    a, b = scores
    there, back = wilcoxon(a, b), wilcoxon(b, a)
    assert 0 <= there.p <= 1 and (there.p, there.statistic) == (pytest.approx(back.p), back.statistic)
    if len(set(np.subtract(a, b))) == 1:
        return
    t, turned = paired_t(a, b), paired_t(b, a)
    assert 0 <= t.p <= 1 and (t.p, t.statistic) == (pytest.approx(turned.p), pytest.approx(-turned.statistic))
    effect = cohen_dz(a, b)
    assert effect.lo <= effect.value <= effect.hi  # type: ignore[operator]
    assert (effect.lo > 0 or effect.hi < 0) == (t.p < 0.05)  # type: ignore[operator]
    mean = mean_bca(a, b, draws=400)
    assert mean.lo <= mean.hi and min(np.subtract(a, b)) <= mean.lo  # type: ignore[operator]


@settings(max_examples=100, deadline=None)
@given(P_VALUES)
def test_corrections_keep_the_order_and_only_raise(p_values: list[float]) -> None:
    order = np.argsort(p_values, kind="stable")
    for correct in (holm, benjamini_hochberg):
        result = correct(p_values)
        adjusted = np.asarray(result.adjusted)
        assert (adjusted >= np.asarray(p_values) - 1e-12).all() and (adjusted <= 1).all()
        assert (np.diff(adjusted[order]) >= 0).all()
        assert correct(p_values[::-1]).adjusted == pytest.approx(result.adjusted[::-1])
    assert (np.asarray(holm(p_values).adjusted) >= np.asarray(benjamini_hochberg(p_values).adjusted) - 1e-12).all()


def test_a_seed_fixes_the_bootstrap() -> None:
    scores = np.random.default_rng(5).normal(size=(2, 200))
    assert mean_bca(*scores, seed=3) == mean_bca(*scores, seed=3)
    assert mean_bca(*scores, seed=3).lo != mean_bca(*scores, seed=4).lo
    assert shares_bca(TUNED, seed=3) == shares_bca(TUNED, seed=3)


def test_resamples_by_counts_are_those_by_items() -> None:
    few = np.random.default_rng(6).integers(0, 5, size=400).astype(float)
    many = few + np.linspace(0, 1e-9, 400)  # the same scores, but too many different ones to count
    one, other = mean_bca(few, np.zeros(400)), mean_bca(many, np.zeros(400))
    assert [one.lo, one.hi] == pytest.approx([other.lo, other.hi], abs=0.02)
