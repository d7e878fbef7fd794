"""How far judges of the same things agree beyond chance: two by Cohen's kappa, more by Krippendorff's alpha."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from engine.stats.intervals import cohen_kappa

DRAWS = 2000
COHEN, KRIPPENDORFF = "Cohen's kappa", "Krippendorff's alpha"


@dataclass(frozen=True, slots=True)
class ReaderAgreement:
    """Of `n` things that two at least of `readers` judged; `value` is None where chance explains everything."""

    readers: int
    n: int
    statistic: str
    value: float | None
    lo: float | None
    hi: float | None


def agreement(judged: Sequence[Mapping[str, bool]]) -> ReaderAgreement:
    """How far readers agree, from what each thing was called by whom; things that one alone judged are left out.

    The interval is a percentile bootstrap over things with a fixed seed.
    """
    both = [of for of in judged if len(of) > 1]
    names = sorted({name for of in both for name in of})
    if len(names) != 2:
        units = [list(of.values()) for of in both]
        return ReaderAgreement(len(names), len(both), KRIPPENDORFF, krippendorff_alpha(units), *alpha_interval(units))
    one, other = ([of[name] for of in both] for name in names)
    return ReaderAgreement(2, len(both), COHEN, cohen_kappa(one, other), *kappa_interval(one, other))


def kappa_interval(a: Sequence[bool], b: Sequence[bool]) -> tuple[float | None, float | None]:
    """Percentile bootstrap limits of Cohen's kappa over items, drawn as counts of the four outcomes with a fixed seed.

    None where there are no items, or where chance explains all of every draw.
    """
    n = len(a)
    if not n:
        return None, None
    cells = np.bincount(2 * np.asarray(a, dtype=int) + np.asarray(b, dtype=int), minlength=4)
    drawn = np.random.default_rng(0).multinomial(n, cells / n, size=DRAWS) / n
    yes_a, yes_b = drawn[:, 2] + drawn[:, 3], drawn[:, 1] + drawn[:, 3]
    chance = yes_a * yes_b + (1 - yes_a) * (1 - yes_b)
    return _limits(drawn[:, 0] + drawn[:, 3] - chance, 1 - chance)


def krippendorff_alpha(units: Sequence[Sequence[Hashable]]) -> float | None:
    """Agreement of any number of judges, not each of whom judged everything (Krippendorff 2011, section C, names).

    `units` are the values that each thing was given, in any order; those of one alone are left out. None where every
    value is the same.
    """
    apart, counts = _coincidences(units)
    values = counts.sum(axis=0)
    expected = _expected(values[None])[0]
    return None if expected <= 0 else float(1 - apart.sum() / expected)


def alpha_interval(units: Sequence[Sequence[Hashable]]) -> tuple[float | None, float | None]:
    """Percentile bootstrap limits of Krippendorff's alpha over things, with a fixed seed."""
    apart, counts = _coincidences(units)
    n = len(apart)
    if not n:
        return None, None
    times = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=DRAWS)
    expected = _expected(times @ counts)
    return _limits(expected - times @ apart, expected)


def _coincidences(units: Sequence[Sequence[Hashable]]) -> tuple[np.ndarray, np.ndarray]:
    """Of each thing with two values at least the disagreement in it, and how often each value is in it."""
    names = {name: place for place, name in enumerate(dict.fromkeys(name for of in units for name in of))}
    both = [of for of in units if len(of) > 1]
    counts = np.zeros((len(both), len(names)))
    for place, of in enumerate(both):
        for name in of:
            counts[place, names[name]] += 1
    size = counts.sum(axis=1)
    return (size**2 - (counts**2).sum(axis=1)) / (size - 1), counts


def _expected(values: np.ndarray) -> np.ndarray:
    """The disagreement that chance would make, a row for each row of how often each value was given."""
    n = values.sum(axis=1)
    return np.asarray((n**2 - (values**2).sum(axis=1)) / np.maximum(n - 1, 1))


def _limits(above: np.ndarray, below: np.ndarray) -> tuple[float | None, float | None]:
    """The 2.5th and 97.5th percentile of ratios, where they are defined."""
    defined = below > 1e-12
    if not defined.any():
        return None, None
    lo, hi = np.quantile(above[defined] / below[defined], [0.025, 0.975])
    return float(lo), float(hi)
