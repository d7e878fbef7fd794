"""Differences over seeds: the crossed model's parts by hand, what few seeds can say, and coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from engine.stats.clusters import clustered
from engine.stats.seeds import over_seeds

MEMBER, STRATUM = np.repeat(np.arange(48), 2), np.repeat(np.arange(4), 12)


def drawn(rng: np.random.Generator, seeds: int, between: float, effect: float = 0.1) -> np.ndarray:
    """Differences with effects of seeds, of templates, of both together, and of items."""
    template, both = rng.normal(0, 0.2, 48), rng.normal(0, 0.15, (seeds, 48))
    item = rng.normal(0, 0.3, 96) + rng.normal(0, 0.2, (seeds, 96))
    return effect + rng.normal(0, between, seeds)[:, None] + template[MEMBER] + both[:, MEMBER] + item


def test_equal_seeds_have_the_interval_of_templates_alone() -> None:
    row = drawn(np.random.default_rng(1), 1, 0.0)[0]
    found = over_seeds(np.stack([row] * 3), MEMBER, STRATUM)
    alone = clustered(row, np.zeros(96), MEMBER.tolist(), STRATUM[MEMBER].tolist())
    assert (found.between, found.between_hi) == (0.0, 0.0)
    assert found.lo == pytest.approx(alone.lo) and found.hi == pytest.approx(alone.hi)
    assert found.df == pytest.approx(alone.df) and (found.seeds, found.n, found.clusters) == (3, 96, 48)


def test_what_seeds_add_is_their_variance_less_what_items_make_of_it() -> None:
    """On items that are all alike within a seed nothing is left of the items: a t interval of the seeds' means."""
    row = drawn(np.random.default_rng(2), 1, 0.0)[0] * 1e-6
    shifts = np.array([0.0, 0.1, 0.3, 0.2])
    found = over_seeds(row + shifts[:, None], MEMBER, STRATUM)
    assert found.between == pytest.approx(shifts.std(ddof=1)) and found.difference == pytest.approx(0.15, abs=1e-5)
    lo, hi = stats.t.interval(0.95, 3, 0.15, shifts.std(ddof=1) / 2)
    assert found.lo == pytest.approx(lo, abs=1e-4) and found.hi == pytest.approx(hi, abs=1e-4)
    low, high = (shifts.std(ddof=1) * (3 / stats.chi2.ppf(one, 3)) ** 0.5 for one in (0.975, 0.025))
    assert (found.between_lo, found.between_hi) == (pytest.approx(low), pytest.approx(high))


def test_of_two_seeds_the_spread_is_told_and_no_interval() -> None:
    found = over_seeds(drawn(np.random.default_rng(3), 2, 0.1), MEMBER, STRATUM)
    assert found.lo is None and found.se is None and found.df is None and len(found.differences) == 2
    assert found.between_lo <= found.between < found.between_hi and found.between_hi > 10 * found.between
    with pytest.raises(ValueError, match="at least two"):
        over_seeds(np.zeros((1, 96)), MEMBER, STRATUM)


@pytest.mark.slow
@pytest.mark.parametrize("between", [0.0, 0.02, 0.05])
def test_intervals_cover_the_effect_of_seeds_and_templates_to_come(between: float) -> None:
    rng = np.random.default_rng(4)
    hits, alone = 0, 0
    for _ in range(800):
        table = drawn(rng, 4, between)
        found = over_seeds(table, MEMBER, STRATUM)
        assert found.lo is not None and found.hi is not None
        hits += found.lo < 0.1 < found.hi
        one = clustered(table[0], np.zeros(96), MEMBER.tolist(), STRATUM[MEMBER].tolist())
        alone += one.lo < 0.1 < one.hi
    assert 0.93 <= hits / 800 <= 0.985, hits
    if between == 0.05:
        assert alone / 800 < 0.90, alone  # one run's interval knows nothing of seeds
