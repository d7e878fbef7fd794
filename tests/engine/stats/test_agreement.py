"""Agreement of readers: the published example, what two readers' kappa is, and intervals that cover."""

from __future__ import annotations

import numpy as np
import pytest

from engine.stats.agreement import (
    COHEN,
    KRIPPENDORFF,
    agreement,
    alpha_interval,
    kappa_interval,
    krippendorff_alpha,
)
from engine.stats.intervals import cohen_kappa

# Four observers of twelve units, of whom not each saw everything: Krippendorff 2011, section C.
OBSERVED = (
    (1, 1, None, 1), (2, 2, 3, 2), (3, 3, 3, 3), (3, 3, 3, 3), (2, 2, 2, 2), (1, 2, 3, 4), (4, 4, 4, 4), (1, 1, 2, 1),
    (2, 2, 2, 2), (None, 5, 5, 5), (None, None, 1, 1), (None, 3, None, None),
)  # fmt: skip


def test_alpha_is_that_of_the_published_example() -> None:
    units = [[value for value in unit if value is not None] for unit in OBSERVED]
    assert krippendorff_alpha(units) == pytest.approx(0.743, abs=5e-4)
    lo, hi = alpha_interval(units)
    assert lo is not None and hi is not None and 0.2 < lo < 0.743 < hi <= 1
    assert krippendorff_alpha([[1, 1], [1, 1]]) is None and alpha_interval([[1]]) == (None, None)


def test_two_readers_have_kappa_of_what_both_read_and_more_have_alpha() -> None:
    one, other = [True] * 6 + [False] * 6, [True] * 5 + [False] * 7
    judged = [{"ana": x, "ben": y} for x, y in zip(one, other, strict=True)] + [{"ana": True}] * 30
    found = agreement(judged)
    assert (found.readers, found.n, found.statistic) == (2, 12, COHEN)
    assert found.value == cohen_kappa(one, other) and (found.lo, found.hi) == kappa_interval(one, other)
    third = agreement([*judged, {"eve": True, "ana": False}])
    assert (third.readers, third.n, third.statistic) == (3, 13, KRIPPENDORFF) and third.value < found.value
    assert agreement([]).value is None and agreement([{"ana": True, "ben": True}]).value is None


def test_the_interval_of_alpha_covers_what_many_readings_would_give() -> None:
    rng = np.random.default_rng(0)

    def read(n: int) -> list[list[bool]]:
        truth = rng.random(n) < 0.6
        return [[bool(t ^ (rng.random() < 0.1)) for _ in range(3)] for t in truth]

    true = krippendorff_alpha(read(20_000))
    hits = sum(lo < true < hi for lo, hi in (alpha_interval(read(60)) for _ in range(200)))
    assert true is not None and 180 <= hits <= 199, hits
