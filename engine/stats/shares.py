"""Wilson's interval of a share, for Python and for SQL; light enough for the first frame of a screen."""

from __future__ import annotations

from math import sqrt

Z = 1.959963984540054  # of the standard normal distribution, two-sided 95 %


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion (Wilson 1927); (0, 1) where n is 0.

    The formula is written out as scipy's binomtest has it, to the last bit, which takes a second to import. Raises
    ValueError where there are more successes than trials.
    """
    if n <= 0:
        return 0.0, 1.0
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is no share")
    z, p = _quantile(confidence), successes / n
    below = 2 * (n + z**2)
    centre = (2 * n * p + z**2) / below
    spread = z / below * sqrt(4 * n * p * (1 - p) + z**2)
    return 0.0 if successes == 0 else centre - spread, 1.0 if successes == n else centre + spread


def _quantile(confidence: float) -> float:
    if confidence == 0.95:
        return Z
    from scipy.special import ndtri  # heavy, and no screen asks for another level

    return float(ndtri(0.5 + 0.5 * confidence))


def wilson_columns(successes: str, n: str, lo: str, hi: str) -> str:
    """Two columns of a SELECT with the Wilson 95 % limits of two expressions; null where n is 0."""
    root = f"{Z} * sqrt({successes} * ({n} - {successes}) / {n}::DOUBLE + {Z**2 / 4})"
    middle, below = f"{successes} + {Z**2 / 2}", f"({n} + {Z**2})"
    return (
        f"CASE WHEN {n} > 0 THEN greatest(0, ({middle} - {root}) / {below}) END AS {lo}, "
        f"CASE WHEN {n} > 0 THEN least(1, ({middle} + {root}) / {below}) END AS {hi}"
    )
