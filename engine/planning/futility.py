"""When to stop early: the chance that McNemar's test shows an effect at the end, given what an interim look counted."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from engine.stats.shares import wilson

FUTILE_BELOW = 0.1


def conditional_power(
    gained: int, lost: int, n: int, planned: int, gain: float, loss: float, alpha: float = 0.05
) -> float:
    """The probability that McNemar's exact two-sided test of all `planned` items favours the tuned model at `alpha`.

    After `n` items `gained` became right and `lost` wrong; each of the rest is gained with probability `gain` and lost
    with `loss`. It is summed over the number of discordant pairs among the rest, exactly (stochastic curtailment: Lan,
    Simon and Halperin 1982, Sequential Analysis 1, 207-219; Jennison and Turnbull 2000, chapter 10). Raises ValueError
    for counts or shares that cannot be.
    """
    if not (gained >= 0 and lost >= 0 and gained + lost + n > 0 and gained + lost <= n <= planned):
        raise ValueError(f"{gained} gained and {lost} lost of {n} items, {planned} planned, cannot be")
    if not (gain >= 0 and loss >= 0 and gain + loss <= 1):
        raise ValueError(f"gain and loss must be shares whose sum is at most 1, not {gain} and {loss}")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be between 0 and 1, not {alpha}")
    rest, discordant = planned - n, gain + loss
    more = np.arange(rest + 1) if discordant else np.zeros(1, dtype=np.int64)
    whole = gained + lost + more
    # The most losses with which so many discordant pairs are still significant; -1 where none is.
    most = stats.binom.ppf(alpha / 2, whole, 0.5)
    most = np.where(stats.binom.cdf(most, whole, 0.5) > alpha / 2, most - 1, most)
    most = np.where(whole > 0, most, -1)
    shown = stats.binom.cdf(most - lost, more, loss / discordant if discordant else 0.0)
    shown = np.where(most - lost >= 0, shown, 0.0)
    return min(float(stats.binom.pmf(more, rest, discordant) @ shown), 1.0)


def futility(
    gained: int, lost: int, n: int, planned: int, *, gain: float, loss: float, alpha: float = 0.05, power: float = 0.8,
    below: float = FUTILE_BELOW,
) -> dict[str, Any]:  # fmt: skip
    """Whether to go on after an interim look: conditional power under the planned effect and the observed trend.

    Advice is "stop" where even the planned effect leaves less than `below`, which raises the chance to miss that effect
    from 1 - power to at most (1 - power) / (1 - below) (Lan, Simon and Halperin 1982) and never raises alpha; "doubt"
    where the observed trend alone does; else "go on". The trend's interval: Wilson's of the share gained among the
    discordant pairs, their number per item as observed. Raises ValueError as `conditional_power` does.
    """
    planned_power = conditional_power(gained, lost, n, planned, gain, loss, alpha)
    discordant = gained + lost
    found: dict[str, Any] = {
        "n": n, "planned": planned, "gained": gained, "lost": lost, "alpha": alpha, "expected_gain": gain,
        "expected_loss": loss, "under_plan": planned_power, "under_trend": None, "trend_lo": None, "trend_hi": None,
        "below": below, "miss_at_most": min((1 - power) / (1 - below), 1.0),
        "method": "conditional power of McNemar's exact test, items taken for independent; trend by Wilson's interval",
    }  # fmt: skip
    if n:
        rate = discordant / n
        low, high = wilson(gained, discordant)

        def under(share: float) -> float:
            return conditional_power(gained, lost, n, planned, rate * share, rate * (1 - share), alpha)

        found["under_trend"] = under(gained / discordant) if discordant else under(0.5)
        found["trend_lo"], found["trend_hi"] = (under(low), under(high)) if discordant else (None, None)
    trend = found["under_trend"]
    found["advice"] = "stop" if planned_power < below else "doubt" if trend is not None and trend < below else "go on"
    return found
