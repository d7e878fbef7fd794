"""When to stop: against enumeration and simulation."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy import stats

from engine.planning.futility import conditional_power, futility
from engine.stats.paired import Pairs, mcnemar
from engine.stats.power import mcnemar_n, mcnemar_power


def enumerated(gained: int, lost: int, n: int, planned: int, gain: float, loss: float, alpha: float) -> float:
    """Over every table that the rest can give, tested by McNemar's test as it is run."""
    rest, total = planned - n, 0.0
    for more, less in product(range(rest + 1), repeat=2):
        if more + less > rest:
            continue
        b, c = gained + more, lost + less
        if b > c and mcnemar(Pairs(planned - b - c, b, c, 0)).p <= alpha:
            total += stats.multinomial.pmf([more, less, rest - more - less], rest, [gain, loss, 1 - gain - loss])
    return float(total)


@pytest.mark.parametrize(
    ("gained", "lost", "n", "planned", "gain", "loss", "alpha"),
    [
        (4, 1, 10, 30, 0.3, 0.1, 0.05),
        (0, 0, 10, 30, 0.25, 0.05, 0.05),
        (0, 6, 15, 40, 0.3, 0.1, 0.05),
        (9, 0, 12, 24, 0.1, 0.4, 0.05),
        (3, 3, 20, 45, 0.4, 0.0, 0.01),
        (5, 2, 12, 30, 0.5, 0.5, 0.2),
        (5, 0, 20, 20, 0.3, 0.1, 0.05),
        (6, 0, 20, 20, 0.3, 0.1, 0.05),
        (7, 1, 20, 30, 0.0, 0.0, 0.05),
    ],
)
def test_conditional_power_is_that_of_all_tables(
    gained: int, lost: int, n: int, planned: int, gain: float, loss: float, alpha: float
) -> None:
    found = conditional_power(gained, lost, n, planned, gain, loss, alpha)
    assert found == pytest.approx(enumerated(gained, lost, n, planned, gain, loss, alpha), abs=1e-12)


@pytest.mark.parametrize(
    ("gained", "lost", "n", "planned", "gain", "loss"),
    [(12, 5, 100, 300, 0.12, 0.02), (6, 6, 150, 400, 0.12, 0.02), (20, 14, 200, 600, 0.1, 0.07), (2, 9, 80, 250, 0.15, 0.03)],
)  # fmt: skip
def test_conditional_power_is_what_simulated_ends_show(
    gained: int, lost: int, n: int, planned: int, gain: float, loss: float
) -> None:
    rng = np.random.default_rng(1)
    drawn = rng.multinomial(planned - n, [gain, loss, 1 - gain - loss], size=20_000)
    b, c = gained + drawn[:, 0], lost + drawn[:, 1]
    known = {
        (x, y): x > y and stats.binomtest(int(x), int(x + y)).pvalue <= 0.05 for x, y in set(zip(b, c, strict=True))
    }
    share = np.mean([known[pair] for pair in zip(b, c, strict=True)])
    assert conditional_power(gained, lost, n, planned, gain, loss) == pytest.approx(share, abs=0.02)


def test_before_the_first_item_it_is_the_power_of_the_design() -> None:
    # Golden: G*Power 3.1 manual, chapter 5: one-sided 5 %, odds ratio 0.25, 40 % discordant, n 50: 0.839343.
    first = [conditional_power(0, 0, 0 + 1, 51, 0.32, 0.08, 0.1)]  # a first item that told nothing
    assert first[0] == pytest.approx(0.839343, abs=2e-5)
    assert first[0] <= mcnemar_power(0.32, 0.08, 50, 0.1).power


def test_futility_stops_what_cannot_be_saved() -> None:
    design: dict[str, Any] = {"gain": 0.12, "loss": 0.02}
    assert futility(12, 2, 100, 300, **design)["advice"] == "go on"
    doubt = futility(6, 6, 150, 300, **design)
    assert doubt["advice"] == "doubt" and doubt["under_trend"] < 0.1 <= doubt["under_plan"]
    stop = futility(4, 14, 250, 300, **design)
    assert stop["advice"] == "stop" and stop["under_plan"] < 0.1
    assert stop["miss_at_most"] == pytest.approx(0.2 / 0.9)
    for found in (doubt, stop):
        assert found["trend_lo"] <= found["under_trend"] <= found["trend_hi"]
    nothing = futility(0, 0, 50, 300, **design)
    assert (nothing["under_trend"], nothing["trend_lo"]) == (0.0, None)


def test_stopping_for_futility_misses_no_more_than_it_says() -> None:
    """A design of power 0.8, looked at after half of its items, 4,000 times under the planned effect."""
    gain, loss = 0.12, 0.02
    wanted = mcnemar_n(gain, loss)
    n, half = wanted.n, wanted.n // 2
    rng = np.random.default_rng(2)
    one = rng.multinomial(half, [gain, loss, 1 - gain - loss], size=4000)
    two = one + rng.multinomial(n - half, [gain, loss, 1 - gain - loss], size=4000)
    at_half = {(b, c): conditional_power(b, c, half, n, gain, loss) for b, c in {(int(r[0]), int(r[1])) for r in one}}
    found = 0
    for first, last in zip(one, two, strict=True):
        b, c = int(last[0]), int(last[1])
        on = at_half[int(first[0]), int(first[1])] >= 0.1
        found += on and b > c and mcnemar(Pairs(n - b - c, b, c, 0)).p <= 0.05
    missed = 1 - found / 4000
    bound = (1 - wanted.power) / 0.9
    assert 1 - wanted.power - 0.02 <= missed <= bound + 0.02


@pytest.mark.parametrize(
    "bad", [(-1, 0, 5, 10, 0.1, 0.1), (3, 3, 5, 10, 0.1, 0.1), (1, 1, 11, 10, 0.1, 0.1), (0, 0, 0, 10, 0.1, 0.1),
            (1, 1, 5, 10, 0.9, 0.2), (1, 1, 5, 10, -0.1, 0.2)],
)  # fmt: skip
def test_counts_that_cannot_be_are_refused(bad: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError):
        conditional_power(*bad)
    with pytest.raises(ValueError, match="alpha"):
        conditional_power(1, 1, 5, 10, 0.1, 0.1, alpha=1.0)
