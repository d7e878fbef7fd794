"""The choice of a token against its plain definition over the whole vocabulary, and against the distribution it is of."""

import numpy as np
import pytest
from scipy import stats

from engine.models.local.sampling import choose, uniforms
from engine.models.requests import Decoding

SIZE = 40
DECODINGS = [
    Decoding(1, 0.7, 5, 0.9), Decoding(1, 1.0, 0, 0.8), Decoding(1, 1.6, 12, 1.0), Decoding(1, 1.0, 0, 1.0),
    Decoding(1, 0.3, 1, 0.5), Decoding(1, 2.0, 40, 0.05),
]  # fmt: skip


def plain(logits: np.ndarray, decoding: Decoding) -> np.ndarray:
    """The probability of each token: temperature, then top-k, then the fewest tokens that reach top_p."""
    scaled = logits / decoding.temperature
    order = sorted(range(SIZE), key=lambda token: (-scaled[token], token))
    kept = order[: decoding.top_k or SIZE]
    mass = {token: float(np.exp(scaled[token] - scaled.max())) for token in kept}
    whole, inside, chosen = sum(mass.values()), 0.0, []
    for token in kept:
        chosen.append(token)
        inside += mass[token]
        if inside >= decoding.top_p * whole:
            break
    found = np.zeros(SIZE)
    for token in chosen:
        found[token] = mass[token] / inside
    return found


@pytest.mark.parametrize("decoding", DECODINGS)
def test_each_token_is_chosen_as_often_as_the_definition_says(decoding: Decoding) -> None:
    logits = np.random.default_rng(3).normal(0, 2, SIZE).astype(np.float32)
    expected = plain(logits.astype(np.float64), decoding)
    grid = (np.arange(20_000) + 0.5) / 20_000
    ids = np.arange(SIZE)
    found = np.bincount([choose(logits, ids, decoding, float(u)) for u in grid], minlength=SIZE) / len(grid)
    assert found == pytest.approx(expected, abs=2e-4)


def test_the_order_of_candidates_and_those_too_many_change_nothing() -> None:
    rng = np.random.default_rng(4)
    logits = np.round(rng.normal(0, 2, SIZE), 1).astype(np.float32)  # with ties
    for decoding in (one for one in DECODINGS if one.top_k):
        best = sorted(range(SIZE), key=lambda token: (-logits[token], token))[: decoding.top_k]
        few = rng.permutation(best)
        for u in uniforms(7, 200):
            whole = choose(logits, np.arange(SIZE), decoding, u)
            assert choose(logits[few], few, decoding, u) == whole
    assert choose(logits, np.arange(SIZE), Decoding(1), 0.5) == int(np.argmax(logits))


def test_a_request_s_numbers_are_its_seed_s_and_even() -> None:
    assert list(uniforms(5, 3)) == list(uniforms(5, 10)[:3]) != list(uniforms(6, 3))
    assert stats.kstest(np.concatenate([uniforms(seed, 4) for seed in range(500)]), "uniform").pvalue > 0.001
