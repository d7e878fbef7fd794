"""The win rate at equal length: against the estimating equations by hand, where it is needed, and where it cannot be."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from engine.stats.length_control import length_controlled


def drawn(seed: int, *, taste: float, longer: float, better: float = 0.0, clusters: int = 60, each: int = 4):
    """Outcomes of a judge whose taste for length is `taste`, of answers that are `longer` and `better` in log odds."""
    rng = np.random.default_rng(seed)
    names = np.repeat(np.arange(clusters), each)
    lengths = rng.normal(longer, 200, len(names))
    alike = np.repeat(rng.normal(0, 0.4, clusters), each)
    won = rng.random(len(names)) < special.expit(better + taste * np.tanh(lengths / 200) + alike)
    return np.where(rng.random(len(names)) < 0.15, 0.5, won.astype(float)), lengths, names.tolist()


def by_hand(won, lengths, names):
    """Newton's steps, and the sandwich over clusters with its two factors."""
    x = np.column_stack([np.ones(len(won)), np.tanh(lengths / np.std(lengths, ddof=1))])
    beta = np.zeros(2)
    for _ in range(50):
        p = special.expit(x @ beta)
        information = (x * (p * (1 - p))[:, None]).T @ x
        beta = beta + np.linalg.solve(information, x.T @ (won - p))
    p = special.expit(x @ beta)
    scores = x * (won - p)[:, None]
    sums = np.array([scores[np.array(names) == name].sum(axis=0) for name in sorted(set(names))])
    n, groups = len(won), len(sums)
    bread = np.linalg.inv((x * (p * (1 - p))[:, None]).T @ x)
    factor = groups / (groups - 1) * (n - 1) / (n - 2)
    return beta, np.sqrt(np.diag(factor * bread @ sums.T @ sums @ bread))


def test_it_is_the_estimating_equation_with_its_clustered_error() -> None:
    data = drawn(1, taste=0.8, longer=150)
    found = length_controlled(*data)
    beta, se = by_hand(*data)
    assert found is not None
    assert (found.log_odds, found.slope) == pytest.approx(tuple(beta), abs=1e-6)
    assert found.se == pytest.approx(se[0], rel=1e-6)
    assert found.win_rate == pytest.approx(special.expit(beta[0])) and found.lo < found.win_rate < found.hi
    assert (found.n, found.clusters) == (240, 60)


def test_a_judge_that_likes_length_gives_longer_answers_no_win_at_equal_length() -> None:
    raw, controlled, inside = [], [], 0
    for seed in range(40):
        data = drawn(seed, taste=1.2, longer=250)
        found = length_controlled(*data)
        assert found is not None
        raw.append(data[0].mean())
        controlled.append(found.win_rate)
        inside += found.lo <= 0.5 <= found.hi
    assert np.mean(raw) > 0.62 and abs(np.mean(controlled) - 0.5) < 0.03 and inside >= 35


def test_what_cannot_be_fitted_is_none() -> None:
    won, lengths, names = drawn(3, taste=0.5, longer=50)
    assert length_controlled(np.ones(len(won)), lengths, names) is None  # nothing but wins
    assert length_controlled(won, np.full(len(won), 12.0), names) is None  # one difference in length
    assert length_controlled((lengths > 0).astype(float), lengths, names) is None  # the longer one always
    assert length_controlled(won, lengths, [name % 2 for name in names]) is None  # two clusters
    with pytest.raises(ValueError, match="outcomes"):
        length_controlled(won[1:], lengths, names)
