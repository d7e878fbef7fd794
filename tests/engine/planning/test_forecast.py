"""What k buys, and intervals of a ratio and of a sum: against enumeration and simulation."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.planning.best_of import best_of, expected_best
from engine.planning.forecast import DRAWS, GROUPS, Part, interval, mean_of, together
from engine.planning.forecast import _resampled as resampled

# -- the best of k


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=8), st.data())
@settings(max_examples=60, deadline=None)
def test_the_best_of_k_is_that_of_all_draws(values: list[float], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(values)))
    drawn = [max(chosen) for chosen in combinations(values, k)]
    assert expected_best(values, k) == pytest.approx(np.mean(drawn), abs=1e-9)


def test_the_best_of_k_of_a_uniform_distribution() -> None:
    # The k-th order statistic of k uniform variables has mean k / (k + 1) (David and Nagaraja 2003, section 2.5).
    values = ((np.arange(2000) + 0.5) / 2000).tolist()
    for k in (1, 2, 4, 8, 16):
        assert expected_best(values, k) == pytest.approx(k / (k + 1), abs=1e-3)


def test_what_k_buys_is_told_within_the_same_pools() -> None:
    pools = {"a": [0.0, 1.0, 2.0], "b": [10.0, 10.0], "c": [5.0], "d": [-1.0, 1.0, 0.0]}
    two, three = best_of(pools, [2.0, 4.0, 6.0], 0.01)
    assert (two["k"], two["n"], three["k"], three["n"]) == (2, 3, 3, 2)
    assert two["over_one_nats"] == pytest.approx((2 / 3 + 0 + 2 / 3) / 3)
    assert three["over_one_nats"] == pytest.approx(1.0)
    assert three["over_last_nats"] == pytest.approx(1 / 3)
    assert (two["seconds"], three["seconds"], three["usd"]) == (4.0, 8.0, 0.08)
    assert two["nats_per_cent"] == pytest.approx(two["over_one_nats"] / 4)
    assert two["over_one_lo"] <= two["over_one_nats"] <= two["over_one_hi"]
    unpriced = best_of(pools, [], None)[0]
    assert unpriced["seconds"] is unpriced["usd"] is unpriced["nats_per_cent"] is None
    assert best_of({"c": [5.0]}, [1.0], 1.0) == []


# -- intervals


@pytest.mark.parametrize("n", [60, 4 * GROUPS])
def test_intervals_of_a_ratio_hold_their_level(n: int) -> None:
    """Cost per accepted example, where accepted ones cost more: 300 pilots."""
    rng, inside = np.random.default_rng(3), 0
    truth = (0.4 * 3.0 + 0.6 * 1.0) / 0.4
    for _ in range(300 if n < GROUPS else 40):
        accepted = rng.random(n) < 0.4
        cost = rng.gamma(4, np.where(accepted, 3.0, 1.0) / 4)
        drawn = resampled(np.stack([cost, accepted], axis=1))
        low, high = interval(drawn[:, 0] / drawn[:, 1])
        inside += low <= truth <= high
    assert 0.9 <= inside / (300 if n < GROUPS else 40) <= 1.0
    if n < GROUPS:
        assert inside / 300 <= 0.98


def test_a_sum_is_drawn_part_by_part_and_names_what_it_lacks() -> None:
    rng = np.random.default_rng(4)
    one, two = rng.normal(10, 1, DRAWS), rng.normal(20, 2, DRAWS)
    found = together([Part("a", 10.0, one, 50, "m"), Part("b", 20.0, two, 40, "m"), Part("c", 5.0, None, 3, "m"),
                      Part("d", None, None, 0, "", "not seen")])  # fmt: skip
    assert found["value"] == 35 and found["n"] == 40 and found["missing"] == {"d": "not seen"}
    assert "taken as fixed: c" in found["method"]
    spread = 1.96 * 5**0.5
    assert (found["lo"], found["hi"]) == (pytest.approx(35 - spread, abs=0.5), pytest.approx(35 + spread, abs=0.5))
    assert together([Part("d", None, None, 0, "", "not seen")])["reason"] == "not seen"
    assert mean_of(np.array([3.0]))[1] is None
