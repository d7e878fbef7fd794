"""Near-duplicates by ROUGE-L, exact and fast enough to run while instructions are being written.

ROUGE-L is the F measure of the longest common subsequence of words (Lin 2004, "ROUGE: A Package for Automatic
Evaluation of Summaries", section 3.1), on lower-cased runs of letters and digits. Self-Instruct rejects at 0.7 (Wang et
al. 2022, arXiv 2212.10560, section 2.2).
"""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

_WORD = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    """Lower-cased runs of letters and digits."""
    return _WORD.findall(text.lower())


def lcs_length(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """Length of the longest common subsequence, one big-integer step a word (Crochemore et al. 2001)."""
    places: dict[Hashable, int] = defaultdict(int)
    for index, word in enumerate(a):
        places[word] |= 1 << index
    full = (1 << len(a)) - 1
    row = full
    for word in b:
        match = row & places.get(word, 0)
        row = ((row + match) | (row - match)) & full
    return len(a) - row.bit_count()


def token_f1(a: str, b: str) -> float:
    """F1 of two texts' words as multisets, 0 to 1 (Rajpurkar et al. 2016, arXiv 1606.05250, section 6.1)."""
    first, second = Counter(words(a)), Counter(words(b))
    shared = (first & second).total()
    return 2 * shared / (first.total() + second.total()) if shared else 0.0


def rouge_l(a: Sequence[Hashable], b: Sequence[Hashable]) -> float:
    """ROUGE-L F of two lists of words; 0 where either is empty."""
    return 2 * lcs_length(a, b) / (len(a) + len(b)) if a and b else 0.0


@dataclass(frozen=True, slots=True)
class Match:
    """The nearest text that is known and its ROUGE-L."""

    key: str
    similarity: float


class NearDuplicateIndex:
    """Finds the nearest known text at or above a similarity, missing none.

    Two texts of m and n words reach similarity t only if they share t(m+n)/2 words, so one of the query's
    m - ceil(t(m+n)/2) + 1 rarest words stands in the other text (prefix filtering: Chaudhuri et al. 2006, "A Primitive
    Operator for Similarity Joins in Data Cleaning", section 4). Texts are held by length, so that those of the query's
    own length, mostly the many, are asked for by its rarest words only, and common words cost nothing. A run has to
    hold all of its texts: with words as numbers they are 0.2 KB each of ten words, and 0.9 where six of them are rare.
    """

    def __init__(self, at_least: float) -> None:
        self.at_least = at_least
        self._keys: list[str] = []
        self._numbers: dict[str, int] = {}  # of the words, as they came
        self._common = array("I")  # in how many texts a word stands, by its number
        self._words = array("I")  # of all texts, one after the other
        self._ends = array("I", [0])  # of each text in these
        self._holders: dict[int, dict[int, int | array[int]]] = {}  # by length and word: one text, or several

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: str, text: str) -> None:
        """Make a text known under a key."""
        number = len(self._keys)
        found = [self._numbers.setdefault(word, len(self._numbers)) for word in words(text)]
        self._common.extend([0] * (len(self._numbers) - len(self._common)))
        holders = self._holders.setdefault(len(found), {})
        for word in set(found):
            self._common[word] += 1
            others = holders.setdefault(word, number)
            if isinstance(others, array):
                others.append(number)
            elif others != number:
                holders[word] = array("I", [others, number])
        self._keys.append(key)
        self._words.extend(found)
        self._ends.append(len(self._words))

    def nearest(self, text: str) -> Match | None:
        """The most similar known text at or above the threshold; the earliest of equals; None where there is none."""
        query = self._numbered(text)
        m, known, rarest = len(query), set(query), self._rarest(query)
        best, at = self.at_least, -1
        for n in self._holders:
            for number in self._holding(rarest, n, best):
                other = self._text(number)
                if sum(map(known.__contains__, other)) < best * (m + n) / 2 - 1e-9:
                    continue
                similarity = rouge_l(query, other)
                if similarity > best or (similarity == best and (at < 0 or number < at)):
                    best, at = similarity, number
        return Match(self._keys[at], best) if at >= 0 else None

    def near(self, text: str) -> list[str]:
        """The keys of all known texts at or above the threshold."""
        query = self._numbered(text)
        rarest = self._rarest(query)
        return [
            self._keys[number]
            for n in self._holders
            for number in self._holding(rarest, n, self.at_least)
            if rouge_l(query, self._text(number)) >= self.at_least
        ]

    def _numbered(self, text: str) -> list[int]:
        """The words of a text as numbers; -1 for one that is in no text."""
        return [self._numbers.get(word, -1) for word in words(text)]

    def _text(self, number: int) -> array[int]:
        return self._words[self._ends[number] : self._ends[number + 1]]

    def _rarest(self, query: Sequence[int]) -> list[int]:
        return sorted(query, key=lambda word: (self._common[word] if word >= 0 else 0, word))

    def _holding(self, rarest: Sequence[int], n: int, at: float) -> set[int]:
        """Texts of n words, among them all that reach similarity `at` to a query, given as its words, rarest first."""
        m, holders = len(rarest), self._holders[n]
        need = max(1, math.ceil(at * (m + n) / 2 - 1e-9))
        found: set[int] = set()
        if need <= min(m, n):
            for word in set(rarest[: m - need + 1]):
                if isinstance(held := holders.get(word, ()), int):
                    found.add(held)
                else:
                    found.update(held)
        return found
