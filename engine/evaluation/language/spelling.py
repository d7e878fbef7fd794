"""Signs that a text says an accepted answer in another form: in the plural, spelled otherwise, in other words."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import pairwise

SYNONYMS = {
    "positive": ("favourable", "favorable", "good", "thumbs up", "happy", "praise", "enthusiastic"),
    "negative": ("unfavourable", "unfavorable", "bad", "thumbs down", "critical", "unhappy", "complain"),
    "command": ("imperative", "order", "instruction"), "question": ("interrogative", "asking", "query"),
    "statement": ("declarative", "assertion", "says that"), "spam": ("junk", "unsolicited", "scam", "advert"),
    "personal": ("private", "friend", "family"), "sports": ("sport", "athletic"),
    "german": ("deutsch", "allemand"), "french": ("francais",), "spanish": ("espanol", "castellano"),
    "italian": ("italiano",),
    "mercury": ("quicksilver",), "sodium": ("natrium",), "potassium": ("kalium",), "tungsten": ("wolfram",),
    "politics": ("political", "government"),
    "cooking": ("food", "recipe", "culinary", "kitchen"), "weather": ("meteorolog", "forecast"),
}  # fmt: skip


_SHORT = {
    **{f"{day}day": (day[:3],) for day in ("sun", "mon", "fri")},
    "tuesday": ("tue", "tues"), "wednesday": ("wed", "weds"), "thursday": ("thu", "thur", "thurs"),
    "saturday": ("sat",), "january": ("jan",), "february": ("feb",), "april": ("apr",), "august": ("aug",),
    "september": ("sep", "sept"), "october": ("oct",), "november": ("nov",), "december": ("dec",),
}  # fmt: skip


def with_short(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names and the usual abbreviations of those that are days or months."""
    return tuple(dict.fromkeys(short for name in names for short in (name, *_SHORT.get(name, ()))))


@lru_cache(maxsize=4096)
def forms_of(names: tuple[str, ...], nouns: tuple[str, ...]) -> re.Pattern[str]:
    """Any of some names in the plural, or a noun of them as the beginning of a longer word."""
    long = [re.escape(name) for name in nouns if len(name) > 3]
    plural = rf"(?<!\w)(?:{'|'.join(map(re.escape, names))})e?s(?!\w)"
    return re.compile(plural + (rf"|(?<!\w)(?:{'|'.join(long)})[^\W\d]" if long else ""))


def sounds(name: str) -> str:
    """A name without what spellings of one sound differ by: h, doubled letters, y for i, c for k."""
    plain = name.replace("h", "").replace("y", "i").replace("ck", "k").replace("c", "k").replace("ie", "e")
    return re.sub(r"(.)\1+", r"\1", plain)


def nearly(word: str, key: str) -> bool:
    """Whether two names as they sound are the same, or long and but for a letter."""
    alike = min(len(word), len(key)) > 7 and word[0] == key[0] and abs(len(word) - len(key)) < 2
    return word == key or (alike and SequenceMatcher(None, word, key).ratio() >= 0.88)


def spelled_alike(folded: str, accepted: tuple[str, ...], asked: str) -> bool:
    """Whether a short text has a word, not one of the question, that is an accepted one in another spelling."""
    words = re.findall(r"[^\W\d]+", folded[:400])
    words += [one + other for one, other in pairwise(words)]
    said = [word for word in words if len(word) > 4 and word not in asked and word not in accepted]
    names = [name for name in accepted if len(name) >= 5]
    return len(said) <= 80 and any(
        abs(len(word) - len(name)) <= 2
        and not word.startswith(name)
        and SequenceMatcher(None, word, name).ratio() >= 0.76
        for word in said
        for name in names
    )
