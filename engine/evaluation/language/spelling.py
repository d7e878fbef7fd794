"""Signs that a text says an accepted answer in another form: in the plural, spelled otherwise, in other words."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from functools import lru_cache

SYNONYMS = {
    "positive": ("favourable", "favorable", "good", "thumbs up", "happy", "praise", "enthusiastic"),
    "negative": ("unfavourable", "unfavorable", "bad", "thumbs down", "critical", "unhappy", "complain"),
    "command": ("imperative", "order", "instruction"), "question": ("interrogative", "asking", "query"),
    "statement": ("declarative", "assertion", "says that"), "spam": ("junk", "unsolicited", "scam", "advert"),
    "personal": ("private", "friend", "family"), "sports": ("sport", "athletic"),
    "politics": ("political", "government"),
    "cooking": ("food", "recipe", "culinary", "kitchen"), "weather": ("meteorolog", "forecast"),
}  # fmt: skip


@lru_cache(maxsize=4096)
def forms_of(names: tuple[str, ...]) -> re.Pattern[str]:
    """Any of some names in the plural."""
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, names))})e?s(?!\w)")


def spelled_alike(folded: str, accepted: tuple[str, ...], asked: str) -> bool:
    """Whether a short text has a word, not one of the question, that is an accepted one in another spelling."""
    said = [word for word in re.findall(r"[^\W\d]{5,}", folded[:400]) if word not in asked and word not in accepted]
    names = [name for name in accepted if len(name) >= 5]
    return len(said) <= 40 and any(
        abs(len(word) - len(name)) <= 2
        and not word.startswith(name)
        and SequenceMatcher(None, word, name).ratio() >= 0.76
        for word in said
        for name in names
    )
