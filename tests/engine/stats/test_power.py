"""Power, needed n, equivalence and early looks against published figures, other programs' figures and simulation."""

from __future__ import annotations

import math
from functools import cache
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from statsmodels.stats.power import TTestPower

from engine.stats.paired import Pairs, mcnemar
from engine.stats.power import equivalence, looks, mcnemar_effect, mcnemar_n, mcnemar_power, t_effect, t_n, t_power

LENSES = Pairs(43, 0, 1, 0)  # Tango 1998, first example: disinfection of contact lenses
CAVO = Pairs(59, 6, 16, 80)  # Cavo et al. 2012, in the R package contingencytables, tests of chapter 8


@cache
def mcnemar_p(n: int, gained: int, lost: int, exact: bool) -> float:
    return mcnemar(Pairs(n - gained - lost, gained, lost, 0), exact=exact).p


def enumerated(gain: float, loss: float, n: int, alpha: float, exact: bool) -> float:
    """The probability of all tables that McNemar's test, as it is run, rejects."""
    tables = [(b, c) for b, c in product(range(n + 1), repeat=2) if b + c <= n and mcnemar_p(n, b, c, exact) <= alpha]
    return float(sum(stats.multinomial.pmf([b, c, n - b - c], n, [gain, loss, 1 - gain - loss]) for b, c in tables))


# -- golden values


@pytest.mark.parametrize(("gain", "loss", "n"), [(0.3, 0.1, 12), (0.25, 0.05, 30), (0.1, 0.4, 25), (0.5, 0.5, 20)])
@pytest.mark.parametrize("exact", [True, False])
def test_power_of_mcnemar_is_that_of_all_tables(gain: float, loss: float, n: int, exact: bool) -> None:
    assert mcnemar_power(gain, loss, n, exact=exact).power == pytest.approx(enumerated(gain, loss, n, 0.05, exact))


def test_power_of_mcnemar_against_gpower() -> None:
    # G*Power 3.1 manual, chapter 5 (O'Brien 2002): one-sided 5 %, odds ratio 0.25, 40 % discordant, n 50: 0.839343 with
    # a sum that it cuts off early. Here the other tail adds next to nothing.
    assert mcnemar_power(0.08, 0.32, 50, alpha=0.1).power == pytest.approx(0.839343, abs=2e-5)


def test_n_for_mcnemar_is_the_first_from_which_on_the_power_holds() -> None:
    for gain, loss in ((0.3, 0.1), (0.2, 0.02), (0.05, 0.25), (0.4, 0.0)):
        n = mcnemar_n(gain, loss).n
        powers = [mcnemar_power(gain, loss, size).power for size in range(1, 2 * n + 50)]
        assert max(size for size, power in enumerate(powers, 1) if power < 0.8) == n - 1
        # The normal approximation (Connor 1987) is near, and below what the exact test needs.
        z, discordant, difference = stats.norm.isf([0.025, 0.2]), gain + loss, gain - loss
        connor = (z[0] * math.sqrt(discordant) + z[1] * math.sqrt(discordant - difference**2)) ** 2 / difference**2
        assert connor - 1 <= n <= connor + 2.5 / abs(difference) + 6


@pytest.mark.parametrize(("n", "discordant"), [(300, 0.2), (600, 0.1), (50, 0.5), (15_000, 0.2)])
def test_effect_for_mcnemar_is_that_of_which_the_power_comes(n: int, discordant: float) -> None:
    effect = mcnemar_effect(n, discordant).effect
    assert effect is not None
    assert mcnemar_power((discordant + effect) / 2, (discordant - effect) / 2, n).power == pytest.approx(0.8, abs=1e-6)


@pytest.mark.parametrize(
    ("dz", "n", "alpha", "power"),
    [
        (0.421637, 50, 0.05, 0.832114),  # G*Power 3.1 manual, chapter 19
        (0.2828427, 50, 0.05, 0.500352),  # the same
        (0.2, 60, 0.10, 0.4555818),  # R package pwr, help page of pwr.t.test, one sample
        (0.0, 30, 0.05, 0.05),
    ],
)
def test_power_of_the_t_test(dz: float, n: int, alpha: float, power: float) -> None:
    assert t_power(dz, n, alpha).power == pytest.approx(power, abs=1e-6)


@pytest.mark.parametrize(
    ("dz", "power", "alpha", "n"),
    [
        (0.1, 0.90, 0.01, 1492),  # G*Power 3.1 manual, chapter 20
        (1.5, 0.95, 0.05, 8),  # Lakens 2013
        *[(dz, 0.8, 0.05, math.ceil(TTestPower().solve_power(dz, None, 0.05, 0.8))) for dz in (0.2, 0.5, 0.8)],
    ],
)
def test_n_for_the_t_test(dz: float, power: float, alpha: float, n: int) -> None:
    assert t_n(dz, power, alpha).n == n
    assert t_n(-dz, power, alpha).n == n


@pytest.mark.parametrize(("n", "dz"), [(50, 0.421637), (60, 0.2), (30, 0.8), (15_000, 0.02)])
def test_effect_for_the_t_test(n: int, dz: float) -> None:
    assert t_effect(n, t_power(dz, n).power).effect == pytest.approx(dz, abs=1e-6)
    assert TTestPower().power(t_effect(n).effect, n, 0.05) == pytest.approx(0.8, abs=1e-6)


def test_equivalence_of_the_lenses() -> None:
    result = equivalence(LENSES, 0.1)
    assert (result.statistic, result.p_not_worse) == (
        pytest.approx(1.709, abs=5e-4),
        pytest.approx(0.0437, abs=1e-4),
    )  # Tango
    assert result.equivalent and result.not_worse


def test_interval_of_equivalence_is_tangos() -> None:
    result = equivalence(CAVO, 0.1, alpha=0.025)
    assert (result.lo, result.hi) == (
        pytest.approx(-0.1240, abs=5e-5),
        pytest.approx(-0.0054, abs=5e-5),
    )  # contingencytables


def test_without_discordant_pairs_the_score_is_that_of_the_margin_alone() -> None:
    # The constrained estimate then is margin on one side, none on the other: z = n m / sqrt(n m (1 - m)).
    assert equivalence(Pairs(300, 0, 0, 0), 0.02).statistic == pytest.approx(math.sqrt(300 * 0.02 / 0.98))


@pytest.mark.parametrize(("table", "margin"), [(LENSES, 0.1), (CAVO, 0.2), (Pairs(200, 20, 12, 68), 0.05)])
def test_the_variance_of_the_score_is_that_of_the_most_likely_table(table: Pairs, margin: float) -> None:
    """The restricted maximum likelihood found numerically, where a is worse than b by the margin."""

    def unlikely(lost: float) -> float:
        shares = np.array([lost - margin, lost, 1 - 2 * lost + margin])
        counts = np.array([table.gained, table.lost, table.both + table.neither])
        return -float(np.sum(np.where(counts > 0, counts * np.log(np.maximum(shares, 1e-300)), 0.0)))

    lost = optimize.minimize_scalar(
        unlikely, bounds=(margin, (1 + margin) / 2), method="bounded", options={"xatol": 1e-10}
    ).x
    z = (table.gained - table.lost + table.n * margin) / math.sqrt(table.n * (2 * lost - margin - margin**2))
    assert stats.norm.sf(z) == pytest.approx(equivalence(table, margin).p_not_worse, rel=1e-4)


@pytest.mark.parametrize(("first", "boundary"), [(1 / 5, 4.8769), (1 / 4, 4.3326), (1 / 3, 3.7103), (1 / 2, 2.9626)])
def test_first_look_of_obrien_fleming_spending(first: float, boundary: float) -> None:
    # Two-sided 5 %, evenly spaced looks: the first boundaries that the programs of Reboussin et al. 2000 (R: ldbounds) give.
    assert stats.norm.isf(looks([first, 1.0]).levels[0] / 2) == pytest.approx(boundary, abs=1e-4)


def test_looks_share_alpha() -> None:
    assert looks([0.5, 1.0], spending=False).levels == (0.025, 0.025)
    assert looks([1.0]).levels == (pytest.approx(0.05),)
    assert looks([0.1, 0.3, 0.9]).spent[-1] < 0.05  # what is left is for the end


# -- edges and properties


@pytest.mark.parametrize("n", [2, 5, 30, 300, 15_000])
def test_power_of_the_t_test_rises_to_one_without_a_gap(n: int) -> None:
    powers = [t_power(size / math.sqrt(n), n).power for size in np.linspace(0, 60, 200)]
    assert np.isfinite(powers).all() and (np.diff(powers) > -1e-9).all()
    assert powers[-1] > 0.99


def test_what_has_no_answer_is_refused() -> None:
    for ask in (
        lambda: mcnemar_n(0.1, 0.1), lambda: mcnemar_power(0.0, 0.0, 50), lambda: mcnemar_power(0.7, 0.7, 50),
        lambda: mcnemar_power(math.nan, 0.1, 50), lambda: mcnemar_power(0.1, 0.05, 0), lambda: mcnemar_effect(0, 0.2),
        lambda: mcnemar_n(0.2, 0.1, power=1.0), lambda: t_n(0.0), lambda: t_power(math.nan, 20), lambda: t_power(0.5, 1),
        lambda: t_effect(20, power=0.04), lambda: t_n(0.5, alpha=0), lambda: equivalence(CAVO, 0.0),
        lambda: equivalence(CAVO, math.nan), lambda: equivalence(CAVO, 0.1, alpha=0.5), lambda: looks([]),
        lambda: looks([0.5, 0.5]), lambda: looks([0.5, 1.2]), lambda: looks([math.nan]),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"\w+ .*\w+"):
            ask()


def test_too_few_items_show_nothing() -> None:
    result = mcnemar_effect(5, 0.2)
    assert (result.effect, result.power) == (None, 0.0)


@settings(max_examples=60, deadline=None)
@given(st.floats(0.01, 0.5), st.floats(0.0, 0.5), st.integers(1, 2_000))
def test_power_is_a_probability_and_the_same_for_either_condition(gain: float, loss: float, n: int) -> None:
    for exact in (True, False):
        result = mcnemar_power(gain, loss, n, exact=exact)
        assert 0 <= result.power <= 1
        assert result.power == pytest.approx(mcnemar_power(loss, gain, n, exact=exact).power, abs=1e-9)
    # Without an effect no more than alpha; a level that is stricter shows no more.
    assert mcnemar_power(gain, gain, n).power <= 0.05 + 1e-9
    assert mcnemar_power(gain, loss, n, 0.01).power <= mcnemar_power(gain, loss, n, 0.05).power + 1e-9


@settings(max_examples=100, deadline=None)
@given(st.tuples(*[st.integers(0, 60)] * 4).filter(any), st.floats(0.01, 0.5), st.sampled_from([0.01, 0.05, 0.1]))
def test_equivalence_agrees_with_its_interval(counts: tuple[int, int, int, int], margin: float, alpha: float) -> None:
    table = Pairs(*counts)
    result = equivalence(table, margin, alpha)
    assert 0 <= result.p <= 1 and result.lo <= table.difference <= result.hi
    if min(abs(result.p - alpha), abs(result.p_not_worse - alpha)) > 1e-6:
        assert result.equivalent == (-margin < result.lo and result.hi < margin)
        assert result.not_worse == (-margin < result.lo)
    other = equivalence(Pairs(table.both, table.lost, table.gained, table.neither), margin, alpha)
    assert (result.p, result.p_not_worse) == (pytest.approx(other.p), pytest.approx(other.p_not_better))
    assert (result.lo, result.hi) == (pytest.approx(-other.hi, abs=1e-8), pytest.approx(-other.lo, abs=1e-8))


# -- simulation


@pytest.mark.slow
@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(("gain", "loss", "n"), [(0.12, 0.05, 287), (0.2, 0.02, 60), (0.1, 0.08, 1_000)])
def test_forecast_power_of_mcnemar_is_that_of_simulated_runs(gain: float, loss: float, n: int, exact: bool) -> None:
    drawn = np.random.default_rng(31).multinomial(n, [gain, loss, 1 - gain - loss], size=20_000)
    shown = np.mean([mcnemar_p(n, int(b), int(c), exact) <= 0.05 for b, c, _ in drawn])
    assert shown == pytest.approx(mcnemar_power(gain, loss, n, exact=exact).power, abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize(("dz", "n"), [(0.5, 34), (0.2, 100), (0.1, 600)])
def test_forecast_power_of_the_t_test_is_that_of_simulated_runs(dz: float, n: int) -> None:
    drawn = np.random.default_rng(32).normal(dz, 1, size=(10_000, n))
    shown = np.mean(stats.ttest_1samp(drawn, 0, axis=1).pvalue <= 0.05)
    assert shown == pytest.approx(t_power(dz, n).power, abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("spending", [True, False])
def test_error_over_five_looks_is_at_most_alpha(spending: bool) -> None:
    plan = looks([0.2, 0.4, 0.6, 0.8, 1.0], spending=spending)
    steps = np.random.default_rng(33).normal(size=(100_000, 5))
    z = np.abs(np.cumsum(steps, axis=1) / np.sqrt(np.arange(1, 6)))
    corrected = int((2 * stats.norm.sf(z) <= plan.levels).any(axis=1).sum())
    assert stats.binomtest(corrected, 100_000, 0.05, alternative="greater").pvalue > 0.01
    assert corrected > 2_500  # and no more than half of it is given away
    assert (2 * stats.norm.sf(z) <= 0.05).any(axis=1).mean() > 0.13  # what looking five times at 5 % would do


@pytest.mark.slow
def test_equivalence_is_claimed_in_error_at_most_at_its_rate() -> None:
    """a is worse by just the margin of 5 points."""
    drawn = np.random.default_rng(34).multinomial(400, [0.05, 0.10, 0.85], size=10_000)

    @cache
    def claimed(b: int, c: int) -> bool:
        return equivalence(Pairs(400 - b - c, b, c, 0), 0.05).not_worse

    assert np.mean([claimed(int(b), int(c)) for b, c, _ in drawn]) == pytest.approx(0.05, abs=0.01)
