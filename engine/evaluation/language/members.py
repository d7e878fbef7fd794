"""Which words belong to a category that lists are asked of: shipped lists, and those of an item's facts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from engine.core.data import read_data
from engine.evaluation.text import fold, word_set

MEMBERS = "evaluation_members"
_BEFORE = re.compile(r"^(?:(?:the|a|an|my|your|his|her|our|some|left|right|both|pair of|1)\s+)+")
_SAYS = word_set("i for is are which that with in to from because the a and as when on like")
_TREE = re.compile(r"(?<=\w)(?: trees?)$")


def _singulars(word: str) -> Iterable[str]:
    yield word
    for end, instead in (("ies", "y"), ("ves", "f"), ("ves", "fe"), ("es", ""), ("s", ""), ("'s", "")):
        if word.endswith(end) and len(word) > len(end) + 1:
            yield word.removesuffix(end) + instead


@lru_cache(maxsize=256)
def _shipped(category: str) -> tuple[frozenset[str], frozenset[str]]:
    """Folded members of a category, and what is known to be something else; both empty for one without a list."""
    own, elsewhere = set(), set()
    for row in read_data(MEMBERS):
        if row["category"] == category:
            own |= set(map(fold, row["members"]))
        elif not row.get("own"):
            elsewhere |= set(map(fold, row["members"]))
    return frozenset(own), frozenset(elsewhere)


@lru_cache(maxsize=1024)
def _lists(category: str, members: tuple[str, ...], others: tuple[str, ...]) -> tuple[frozenset[str], frozenset[str]]:
    own, elsewhere = _shipped(category)
    own |= {fold(member) for member in members}
    return own, (elsewhere | {fold(other) for other in others}) - own


_TWINS = (
    ("netherlands", "holland"), ("united kingdom", "uk", "great britain", "britain"), ("czechia", "czech republic"),
    ("grey", "gray"), ("pyjamas", "pajamas"), ("t-shirt", "tshirt", "tee shirt", "tee"),
    ("table tennis", "ping pong"), ("aubergine", "eggplant"), ("courgette", "zucchini"), ("aluminium", "aluminum"),
    ("cilantro", "coriander"), ("mathematics", "maths", "math"), ("physical education", "pe", "p.e.", "gym"),
    ("fly", "housefly"),
    ("united states", "usa", "america"), ("turkey", "turkiye"), ("burma", "myanmar"),
)  # fmt: skip
_TWIN_OF = {name: names[0] for names in _TWINS for name in names}


def _compound(word: str, members: frozenset[str]) -> bool:
    """Whether a word is one more before a member, as in mayfly."""
    return word.isalpha() and any(word[size:] in members for size in range(3, len(word) - 2))


class Category:
    """A category's members and strangers, from its name and an item's own lists."""

    def __init__(self, category: str, members: tuple[str, ...], others: tuple[str, ...]) -> None:
        self._own, self._strangers = _lists(category, members, others)

    def member(self, head: str) -> str | None:
        """The member that a folded entry names: all of it, its last words, or what stands before an "of"."""
        found = self._member(head)
        return _TWIN_OF.get(found, found) if found else None

    def _member(self, head: str) -> str | None:
        head = _BEFORE.sub("", head)
        for name in (head, _TREE.sub("", head), head.split(" of ")[0]):
            words = name.replace("-", " ").split()
            for size in range(min(5, len(words)), 0, -1):
                found = next((one for one in _singulars(" ".join(words[-size:])) if one in self._own), None)
                if found is not None:
                    return found
            if name in self._own:
                return name
            if _compound(name, self._own) and name not in self._strangers:
                return name
        return self.begins(head)

    @staticmethod
    def twin(head: str) -> str:
        """An entry by the first of several names of one thing."""
        return _TWIN_OF.get(bare := _BEFORE.sub("", head), bare)

    def begins(self, head: str) -> str | None:
        """The member that a folded entry begins with, where something is said of it without a mark between."""
        words = head.split()
        for size in range(min(3, len(words) - 1), 0, -1):
            found = next((one for one in _singulars(" ".join(words[:size])) if one in self._own), None)
            if words[size] in _SAYS and found is not None:
                return found
        return None

    def stranger(self, head: str) -> str | None:
        """What a folded entry is as a whole where that is known to be no member."""
        return next((one for one in _singulars(_BEFORE.sub("", head)) if one in self._strangers), None)
