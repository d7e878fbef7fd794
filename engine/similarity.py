"""Near-duplicates by ROUGE-L, exact and fast enough to run while instructions are being written.

ROUGE-L is the F measure of the longest common subsequence of words (Lin 2004, "ROUGE: A Package for Automatic
Evaluation of Summaries", section 3.1), on lower-cased runs of letters and digits. Self-Instruct rejects at 0.7 (Wang et
al. 2022, arXiv 2212.10560, section 2.2).
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from dataclasses import dataclass

_WORD = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    """Lower-cased runs of letters and digits."""
    return _WORD.findall(text.lower())


def lcs_length(a: list[str], b: list[str]) -> int:
    """Length of the longest common subsequence, one big-integer step a word (Crochemore et al. 2001)."""
    places: dict[str, int] = defaultdict(int)
    for index, word in enumerate(a):
        places[word] |= 1 << index
    full = (1 << len(a)) - 1
    row = full
    for word in b:
        match = row & places.get(word, 0)
        row = ((row + match) | (row - match)) & full
    return len(a) - row.bit_count()


def rouge_l(a: list[str], b: list[str]) -> float:
    """ROUGE-L F of two lists of words; 0 where either is empty."""
    return 2 * lcs_length(a, b) / (len(a) + len(b)) if a and b else 0.0


@dataclass(frozen=True, slots=True)
class Match:
    """The nearest text that is known and its ROUGE-L."""

    key: str
    similarity: float


class NearDuplicateIndex:
    """Finds the nearest known text at or above a similarity, missing none.

    Two texts of m and n words can reach similarity t only if they share t(m+n)/2 >= tm/(2-t) words, so at least one of
    the query's m - ceil(tm/(2-t)) + 1 rarest words stands in the other text: only texts that hold one are compared.
    """

    def __init__(self, at_least: float) -> None:
        self.at_least = at_least
        self._keys: list[str] = []
        self._texts: list[list[str]] = []
        self._counts: list[Counter[str]] = []
        self._holders: dict[str, list[int]] = defaultdict(list)

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: str, text: str) -> None:
        """Make a text known under a key."""
        found = words(text)
        number = len(self._keys)
        self._keys.append(key)
        self._texts.append(found)
        self._counts.append(Counter(found))
        for word in self._counts[-1]:
            self._holders[word].append(number)

    def nearest(self, text: str) -> Match | None:
        """The most similar known text at or above the threshold; the earliest of equals; None where there is none."""
        query = words(text)
        m, t = len(query), self.at_least
        if not m:
            return None
        must_share = max(1, math.ceil(t * m / (2 - t) - 1e-9))
        rarest = sorted(query, key=lambda word: (len(self._holders.get(word, ())), word))[: m - must_share + 1]
        candidates = {number for word in set(rarest) for number in self._holders.get(word, ())}
        counts = Counter(query)
        best: Match | None = None
        for number in sorted(candidates):
            n = len(self._texts[number])
            need = max(t, best.similarity if best else 0.0) * (m + n) / 2
            if min(m, n) < need - 1e-9 or (counts & self._counts[number]).total() < need - 1e-9:
                continue
            similarity = rouge_l(query, self._texts[number])
            if similarity >= t and (best is None or similarity > best.similarity):
                best = Match(self._keys[number], similarity)
        return best
