"""What k in Best-of-N buys on the pilot: the margin of the best of k responses, against what the others cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from engine.planning.forecast import interval, mean_of
from engine.quality.rules import BLOCKING
from store.read import Reader

_MARGINS = """
    WITH texts AS (
        SELECT sample_id AS id, sample_id FROM samples WHERE run_id = $1
        UNION ALL SELECT candidate_id, sample_id FROM candidates WHERE run_id = $1 AND source = 'best_of'),
    drawn AS (SELECT DISTINCT sample_id FROM candidates WHERE run_id = $1 AND source = 'best_of')
    SELECT t.sample_id, j.margin_nats
    FROM texts t JOIN drawn USING (sample_id)
    JOIN judgements j ON j.run_id = $1 AND j.subject_id = t.id AND j.subject_kind IN ('sample', 'candidate')
        AND j.critic = $2
    JOIN verdicts v ON v.run_id = $1 AND v.subject_id = t.id AND v.subject_kind = j.subject_kind
    WHERE NOT list_has_any(v.flags, $3)
    ORDER BY t.sample_id, t.id
"""


@lru_cache(maxsize=256)
def best_of_weights(size: int, k: int) -> NDArray[np.float64]:
    """The probability of each of `size` sorted values to be the largest of k drawn without replacement.

    C(j - 1, k - 1) / C(size, k) for the j-th smallest. Raises ValueError unless 1 <= k <= size.
    """
    if not 1 <= k <= size:
        raise ValueError(f"the best of {k} cannot be drawn from {size} values")
    rank = np.arange(1, size + 1)
    weights: NDArray[np.float64] = special.comb(rank - 1, k - 1) / special.comb(size, k)
    return weights


def expected_best(values: Sequence[float], k: int) -> float:
    """The mean of the largest of k values drawn without replacement, over all C(n, k) draws: exact resampling."""
    return float(best_of_weights(len(values), k) @ np.sort(np.asarray(values, dtype=np.float64)))


def best_of(
    pools: Mapping[str, Sequence[float]], seconds: Sequence[float], usd_per_second: float | None
) -> list[dict[str, Any]]:
    """For each k from 2 on: how far the best of k lies above one response, and above the best of k - 1.

    `pools` are margins in nats of the responses to one instruction; `seconds` what one more response took, each. A k is
    answered from the pools that have k or more members, of which `n` is the number; both gains are within the same
    pools, with percentile bootstrap intervals over them.
    """
    found: list[dict[str, Any]] = []
    took = _mean(seconds) if len(seconds) else (None, None, None)
    for k in range(2, max(map(len, pools.values()), default=0) + 1):
        large = [values for values in pools.values() if len(values) >= k]
        best = [expected_best(values, k) for values in large]
        over_one = [b - expected_best(values, 1) for b, values in zip(best, large, strict=True)]
        over_last = [b - expected_best(values, k - 1) for b, values in zip(best, large, strict=True)]
        row: dict[str, Any] = {"k": k, "n": len(large), "expected_margin_nats": float(np.mean(best))}
        for name, values in (("over_one", over_one), ("over_last", over_last)):
            mean, lo, hi = _mean(values)
            row |= {f"{name}_nats": mean, f"{name}_lo": lo, f"{name}_hi": hi}
        for name, one in zip(("seconds", "seconds_lo", "seconds_hi"), took, strict=True):
            row[name] = None if one is None else one * (k - 1)
        priced = took[0] is not None and usd_per_second is not None
        row["usd"] = row["seconds"] * usd_per_second if priced else None
        last = (took[0] or 0.0) * (usd_per_second or 0.0)  # what the k-th response costs
        row["nats_per_cent"] = row["over_last_nats"] / (100 * last) if last else None
        found.append(row)
    return found


def pools_of(reader: Reader, run_id: str, critic: str) -> dict[str, list[float]]:
    """Margins in nats by sample: its own and of responses drawn again, without what a rule speaks against."""
    pools: dict[str, list[float]] = {}
    for row in reader.query(_MARGINS, [run_id, critic, sorted(BLOCKING)]):
        pools.setdefault(row["sample_id"], []).append(row["margin_nats"])
    return pools


def _mean(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    mean, drawn = mean_of(np.asarray(values, dtype=np.float64))
    return (mean, None, None) if drawn is None else (mean, *interval(drawn))
