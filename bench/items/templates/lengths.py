"""Answers of an exact number of words or sentences."""

from __future__ import annotations

import random

from bench.items.templates import Filling, Source, material, vocabulary

NUMERALS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight", 9: "nine"}
NOUNS = vocabulary(
    "river garden window bicycle market mountain letter kitchen station forest island candle bridge hat moon baker "
    "child kite train hill cat roof farmer barn door drum soup spoon king crown fox hen ship storm dog bone bird nest "
    "castle clock mirror lamp violin tower cellar pocket ladder blanket camel pirate robot sailor teacher pumpkin"
)
OPENERS = vocabulary(
    "Yesterday Sometimes Tomorrow Today Usually Suddenly Often Later Finally Recently Meanwhile Tonight Outside "
    "Everywhere Upstairs Downstairs Nearby Here There Now Then Afterwards Occasionally Normally Luckily Sadly "
    "Eventually Perhaps Indoors Nowadays Annually Secretly Mostly Still Again Clearly"
)
ENDS = vocabulary(
    "rain home snow music winter night bread silence morning school town spring water summer coffee history weather "
    "football money poetry sleep travel nature chess honey freedom painting holidays ghosts medicine courage trains "
    "autumn dust thunder gardening kindness luck"
)
# Sentences of k words around one or two given ones; the long form of each has words as long as it may.
WITH_WORD = {
    5: ("We really like this {}.", "Photographers wholeheartedly appreciated that {}."),
    6: ("We found a very old {}.", "Photographers enthusiastically documented that extraordinary {}."),
    7: (
        "My brother dreams of a quiet {}.",
        "Photographers enthusiastically documented that extraordinarily picturesque {}.",
    ),
    8: (
        "Nobody in our street has seen this {}.",
        "International photographers enthusiastically documented that extraordinarily picturesque {}.",
    ),
    9: (
        "My sister often talks about a small, quiet {}.",
        "Internationally acclaimed photographers enthusiastically documented that extraordinarily picturesque {}.",
    ),
}
WITH_OPENER = {
    5: ("{} the children play chess.", "{} photographers congratulate extraordinary mathematicians."),
    6: ("{} the old man walks slowly.", "{} international photographers congratulate extraordinary mathematicians."),
    7: (
        "{} a small bird sings for us.",
        "{} internationally acclaimed photographers congratulate mathematicians wholeheartedly.",
    ),
    8: (
        "{} my aunt bakes bread for the neighbours.",
        "{} internationally acclaimed photographers enthusiastically congratulate extraordinary mathematicians.",
    ),
    9: (
        "{} our teacher reads a long story to us.",
        "{} several internationally acclaimed photographers enthusiastically congratulate exceptional mathematicians.",
    ),
}
WITH_END = {
    5: ("They all talk about {}.", "Photographers enthusiastically documented extraordinary {}."),
    6: (
        "My friends often think about {}.",
        "International photographers enthusiastically documented extraordinary {}.",
    ),
    7: (
        "Old people like to talk about {}.",
        "Internationally acclaimed photographers enthusiastically documented extraordinary {}.",
    ),
    8: (
        "The poet wrote a whole book about {}.",
        "Several internationally acclaimed photographers enthusiastically documented extraordinary {}.",
    ),
    9: (
        "She once told us a very sad story about {}.",
        "Several internationally acclaimed newspaper photographers enthusiastically documented extraordinary {}.",
    ),
}
WITH_PAIR = {
    6: ("The {} is near the {}.", "Photographers documented the {} and {}."),
    7: ("We saw the {} and the {}.", "Photographers enthusiastically documented the {} and {}."),
    8: ("In this story the {} loves the {}.", "Photographers enthusiastically documented the extraordinary {} and {}."),
    9: (
        "Tell me why the {} is near the {}.",
        "Photographers enthusiastically documented the {} and the extraordinary {}.",
    ),
}


def _count(text: str) -> int:
    return len(text.replace("-", " ").split())


def _filling(k: int, forms: tuple[str, str], words: tuple[str, ...], slots: dict[str, str], **places: str) -> Filling:
    short, long = (form.format(*words) for form in forms)
    facts = {
        "check": "words",
        "k": k,
        "holds": list(words),
        "first": places.get("first"),
        "last": places.get("last"),
        "long": long if _count(long) == k else short,
        "lead": "Here is the sentence:",
        "slip": f"{short.rstrip('.')} and that is all."
        if not places.get("last")
        else f"It was said that {short[0].lower()}{short[1:]}",
    }
    return Filling(" ".join(words), {"k": NUMERALS[k], "digit": f"{k}", **slots}, short, facts)


def _right(forms: dict[int, tuple[str, str]], words: int) -> dict[int, tuple[str, str]]:
    """The forms whose short sentence really has as many words as its key says."""
    return {k: pair for k, pair in forms.items() if _count(pair[0].format(*["x"] * words)) == k}


def with_word(rng: random.Random) -> list[Filling]:
    """A sentence that holds a word."""
    del rng
    forms = _right(WITH_WORD, 1)
    return [_filling(k, forms[k], (word,), {"word": word}) for word in NOUNS for k in forms]


def with_first(rng: random.Random) -> list[Filling]:
    """A sentence that begins with a word."""
    del rng
    forms = _right(WITH_OPENER, 1)
    return [_filling(k, forms[k], (word,), {"word": word}, first=word) for word in OPENERS for k in forms]


def with_last(rng: random.Random) -> list[Filling]:
    """A sentence that ends with a word."""
    del rng
    forms = _right(WITH_END, 1)
    return [_filling(k, forms[k], (word,), {"word": word}, last=word) for word in ENDS for k in forms]


def with_pair(rng: random.Random) -> list[Filling]:
    """A sentence that holds two words."""
    forms = _right(WITH_PAIR, 2)
    found = []
    for word in NOUNS:
        for k in forms:
            other = rng.choice([noun for noun in NOUNS if noun != word])
            found.append(_filling(k, forms[k], (word, other), {"word": word, "other": other}))
    return found


def about_topic(rng: random.Random) -> list[Filling]:
    """Sentences on a topic."""
    del rng
    found = []
    for topic, about, *stock in material("topics"):
        for k in (2, 3, 4):
            facts = {
                "check": "sentences",
                "k": k,
                "about": about.split(", "),
                "lead": f"Here is something about {topic}:",
                "slip": " ".join(stock[: k + 1] if k < len(stock) else stock[: k - 1]),
                "spare": stock[k] if k < len(stock) else "That is all there is to say.",
            }
            slots = {"k": NUMERALS[k], "digit": f"{k}", "topic": topic}
            found.append(Filling(topic, slots, " ".join(stock[:k]), facts))
    return found


EXACT_WORDS: dict[str, Source] = {
    "with_word": with_word,
    "with_first": with_first,
    "with_last": with_last,
    "with_pair": with_pair,
}
EXACT_SENTENCES: dict[str, Source] = {"about_topic": about_topic}
