"""The index of near-duplicates misses none, names the earliest of equals, and costs little as it grows."""

import random
import time
import tracemalloc
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.stats.similarity import NearDuplicateIndex, lcs_length, rouge_l, words


def plain_lcs(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    """The textbook's recursion."""

    @cache
    def of(i: int, j: int) -> int:
        if not i or not j:
            return 0
        return of(i - 1, j - 1) + 1 if a[i - 1] == b[j - 1] else max(of(i - 1, j), of(i, j - 1))

    return of(len(a), len(b))


some_words = st.lists(st.sampled_from("abcde"), max_size=12)


@given(some_words, some_words)
def test_the_longest_common_subsequence_is_the_textbooks(a: list[str], b: list[str]) -> None:
    assert lcs_length(a, b) == plain_lcs(tuple(a), tuple(b)) == lcs_length(b, a)


@pytest.mark.parametrize("at_least", [0.2, 0.5, 0.7, 1.0])
@pytest.mark.parametrize("vocabulary", [6, 40, 400])
def test_the_index_finds_what_comparing_with_every_text_finds(at_least: float, vocabulary: int) -> None:
    rng = random.Random(vocabulary)
    index, known, found = NearDuplicateIndex(at_least), [], 0
    for number in range(400):
        often = rng.choices(["the", "of", "write"], k=rng.randint(0, 3))
        text = " ".join(often + rng.choices([f"w{n}" for n in range(vocabulary)], k=rng.randint(0, 9)))
        if known and rng.random() < 0.5:  # a near copy: a word or two of a known text changed, doubled or left out
            near = words(rng.choice(known)[1])
            for _ in range(rng.randint(0, 2)):
                at = rng.randrange(len(near) + 1)
                near[at : at + rng.randint(0, 1)] = rng.choice([[], ["the"], [f"w{rng.randrange(vocabulary)}"]])
            text = " ".join(near)
        scored = [(rouge_l(words(text), words(other)), key) for key, other in known]
        wanted = max(scored, key=lambda one: one[0], default=(0.0, ""))
        match = index.nearest(text)
        if wanted[0] >= at_least:
            assert match is not None and (match.similarity, match.key) == wanted
            found += 1
        else:
            assert match is None
        assert set(index.near(text)) == {key for similarity, key in scored if similarity >= at_least}
        index.add(str(number), text)
        known.append((str(number), text))
    assert found > 40 and len(index) == 400


def test_words_that_every_text_holds_cost_nothing() -> None:
    """Time for one search grows far less than the number of texts: the last of 20,000 as fast as the last of 2,000."""
    rng = random.Random(1)
    index = NearDuplicateIndex(0.5)

    def searching(n: int) -> float:
        texts = [f"Explain how {' '.join(f'w{rng.randrange(20_000)}' for _ in range(6))} work." for _ in range(n)]
        began = time.process_time()
        for text in texts[-1_000:]:
            index.nearest(text)
        spent = time.process_time() - began
        for text in texts:
            index.add(str(len(index)), text)
        return spent

    searching(2_000)
    few = searching(18_000)
    many = searching(1_000)
    assert many < 6 * few  # ten times the texts; comparing with every one would cost ten times as much


@pytest.mark.parametrize(("vocabulary", "bytes_a_text"), [(20_000, 1_100), (1_000, 450)])
def test_a_known_text_takes_little_memory(vocabulary: int, bytes_a_text: int) -> None:
    rng = random.Random(1)
    texts = [f"Explain how {' '.join(f'w{rng.randrange(vocabulary)}' for _ in range(6))} work." for _ in range(2_000)]
    tracemalloc.start()
    try:
        index = NearDuplicateIndex(0.5)
        for number, text in enumerate(texts):
            index.add(f"i-{number}", text)
        assert tracemalloc.get_traced_memory()[0] / len(index) < bytes_a_text
    finally:
        tracemalloc.stop()
