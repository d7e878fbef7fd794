"""Answers of an exact number of words or sentences."""

from __future__ import annotations

import random

from bench.items.templates import Draft, Maker, vocabulary
from bench.items.templates.topics import TOPICS

NUMERALS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight", 9: "nine"}
NOUNS = vocabulary("river garden window bicycle market mountain letter kitchen station forest island candle bridge hat")
OPENERS = vocabulary(
    "Yesterday Sometimes Tomorrow Today Usually Suddenly Often Later Finally Recently Meanwhile Tonight Outside "
    "Everywhere"
)
ENDS = vocabulary("rain home snow music winter night bread silence morning school town spring water summer")
PAIRS = (
    ("moon", "lake"),
    ("baker", "bread"),
    ("child", "kite"),
    ("train", "hill"),
    ("cat", "roof"),
    ("farmer", "barn"),
    ("wind", "door"),
    ("girl", "drum"),
    ("soup", "spoon"),
    ("king", "crown"),
    ("fox", "hen"),
    ("ship", "storm"),
    ("dog", "bone"),
    ("bird", "nest"),
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


def _draft(prompt: str, k: int, forms: tuple[str, str], words: tuple[str, ...], **places: str) -> Draft:
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
    return Draft(prompt, short, facts)


def _right(forms: dict[int, tuple[str, str]], words: int) -> dict[int, tuple[str, str]]:
    """The forms whose short sentence really has as many words as its key says."""
    return {k: pair for k, pair in forms.items() if _count(pair[0].format(*["x"] * words)) == k}


def with_word(rng: random.Random) -> list[Draft]:
    """A sentence that holds a word."""
    forms = _right(WITH_WORD, 1)
    drafts = []
    for word in NOUNS:
        k = rng.choice(sorted(forms))
        text = f"Write a sentence of exactly {NUMERALS[k]} words that contains the word {word}, and stop after it."
        drafts.append(_draft(text, k, forms[k], (word,)))
    return drafts


def with_first(rng: random.Random) -> list[Draft]:
    """A sentence that begins with a word."""
    forms = _right(WITH_OPENER, 1)
    drafts = []
    for word in OPENERS:
        k = rng.choice(sorted(forms))
        text = (
            f'Begin with "{word}" and use {NUMERALS[k]} words in total, no more and no fewer. Add no second sentence.'
        )
        drafts.append(_draft(text, k, forms[k], (word,), first=word))
    return drafts


def with_last(rng: random.Random) -> list[Draft]:
    """A sentence that ends with a word."""
    forms = _right(WITH_END, 1)
    drafts = []
    for word in ENDS:
        k = rng.choice(sorted(forms))
        text = f"I need one line for a poster. It has to have exactly {k} words, the last of which is '{word}'."
        drafts.append(_draft(text, k, forms[k], (word,), last=word))
    return drafts


def with_pair(rng: random.Random) -> list[Draft]:
    """A sentence that holds two words."""
    forms = _right(WITH_PAIR, 2)
    drafts = []
    for pair in PAIRS:
        k = rng.choice(sorted(forms))
        text = f"Use both {pair[0]} and {pair[1]} in a single sentence. Its length: {k} words precisely, nothing after."
        drafts.append(_draft(text, k, forms[k], pair))
    return drafts


def _sentences(form: str, least: int, most: int) -> Maker:
    def make(rng: random.Random) -> list[Draft]:
        drafts = []
        for topic, about, stock in TOPICS:
            k = rng.randint(least, most)
            chosen = stock[:k]
            facts = {
                "check": "sentences",
                "k": k,
                "about": list(about),
                "lead": f"Here is something about {topic}:",
                "slip": " ".join(stock[: k + 1] if k < len(stock) else stock[: k - 1]),
                "spare": stock[k] if k < len(stock) else "That is all there is to say.",
            }
            drafts.append(Draft(form.format(k=NUMERALS[k], topic=topic), " ".join(chosen), facts))
        return drafts

    return make


EXACT_WORDS: dict[str, Maker] = {
    "with_word": with_word,
    "with_first": with_first,
    "with_last": with_last,
    "with_pair": with_pair,
}
EXACT_SENTENCES: dict[str, Maker] = {
    "describe": _sentences("What do you know about {topic}? Stop after exactly {k} sentences.", 2, 3),
    "child": _sentences("A child asks you about {topic}. Reply with {k} sentences, neither more nor fewer.", 3, 3),
    "brochure": _sentences("Our leaflet has room for precisely {k} sentences on {topic}. Write just those.", 2, 3),
    "budget": _sentences("You have {k} full stops to spend: use all of them, one a sentence, on {topic}.", 2, 3),
}
