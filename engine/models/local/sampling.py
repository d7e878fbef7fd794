"""Choosing the next token from a few candidates, with random numbers that belong to the request."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.models.requests import Decoding


def uniforms(seed: int, n: int) -> NDArray[np.float64]:
    """The request's random numbers in [0, 1), one a token: they depend on nothing but its seed."""
    return np.random.Generator(np.random.Philox(key=seed & (2**64 - 1))).random(n)


def choose(logits: NDArray[np.float32], ids: NDArray[np.int64], decoding: Decoding, uniform: float) -> int:
    """The next token's id from candidates' logits ([candidates], any order; at least top_k of them).

    Temperature, then top-k, then top-p (the smallest set whose mass reaches top_p; Holtzman et al. 2020,
    arXiv 1904.09751, section 3.1), then the inverse of the cumulative distribution at `uniform`. Ties are ordered by
    token id, so that the choice does not depend on the order of the candidates.
    """
    order = np.lexsort((ids, -logits))
    if decoding.temperature == 0:
        return int(ids[order[0]])
    if decoding.top_k:
        order = order[: decoding.top_k]
    scaled = logits[order].astype(np.float64) / decoding.temperature
    mass = np.exp(scaled - scaled[0])
    cumulative = np.cumsum(mass)
    if decoding.top_p < 1:
        keep = int(np.searchsorted(cumulative, decoding.top_p * cumulative[-1])) + 1
        cumulative = cumulative[:keep]
    chosen = int(np.searchsorted(cumulative, uniform * cumulative[-1], side="right"))
    return int(ids[order[min(chosen, len(cumulative) - 1)]])
