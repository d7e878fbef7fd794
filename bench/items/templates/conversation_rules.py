"""Conversations in which a wish stated earlier has to be kept to, or has been changed since."""

from __future__ import annotations

import random
from typing import Any

from bench.items.templates import Filling, Source, article, beside, claim, others
from bench.items.templates.facts import CAPITALS, CITIES
from bench.items.templates.languages import LANGUAGES, WORDS, rival_words, word_in
from bench.items.templates.lists import CATEGORIES, NUMERALS, laid_out, list_facts

CLOSINGS = (
    "Over and out.", "Ahoy!", "That is all.", "Stay curious!", "Yours, Robin.", "Cheers!", "So much for that.",
    "Greetings from the moon.", "Back to you.", "End of message.", "Sleep well!", "Onwards!"
)  # fmt: skip
TITLES = (
    "Captain", "Professor", "Maestro", "Your Majesty", "Comrade", "Chief", "Admiral", "Milady", "Coach", "Sheriff",
    "Dear Reader", "Boss"
)  # fmt: skip
QUESTIONS: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    ("A ripe lemon has which colour?", "yellow", ("blue", "red", "purple", "green"), "A ripe lemon is"),
    ("Which animal gives us wool?", "sheep|lamb|goat|alpaca", ("crocodile", "hen", "shark", "frog"), "Wool comes from"),
    ("Which sweet food comes from a beehive?", "honey", ("butter", "bread", "cheese", "silk"), "It is called"),
    ("Which season comes after winter?", "spring|springtime", ("autumn", "summer"), "The season after winter is"),
    ("Water that has frozen goes by what short name?", "ice", ("steam", "sand", "wool"), "Frozen water is called"),
    ("Which planet do we live on?", "Earth", ("Mars", "Venus", "Jupiter", "Saturn"), "Our planet is called"),
    ("If water is not cold but quite the reverse, how is it?", "hot|warm", ("wet", "dry", "loud"), "Then the water is"),
    ("Our blood is kept moving by one strong organ. Which?", "heart", ("liver", "lung", "kidney"), "The organ is the"),
    ("Which bird cannot fly and lives in Antarctica?", "penguin|penguins", ("eagle", "owl", "swallow"), "It is the"),
    ("What do cows eat in a meadow?", "grass", ("meat", "fish", "stones"), "In a meadow cows eat"),
    ("What falls from the clouds when it is wet outside?", "rain", ("sand", "leaves", "coins"), "What falls down is"),
    ("Which month comes right after April?", "May", ("June", "March", "July"), "The month after April is"),
    (
        "Young dogs have a name of their own. Which?",
        "puppy|puppies|pup|pups",
        ("kitten", "calf", "foal"),
        "A young dog is a",
    ),
    ("What shape has three sides?", "triangle", ("square", "circle", "hexagon"), "That shape is called a"),
    ("Which meal do people eat in the morning?", "breakfast", ("dinner", "supper", "lunch"), "The morning meal is"),
    ("A caterpillar turns into which winged insect?", "butterfly|moth", ("spider", "worm"), "It becomes a"),
    ("With what small thing is a locked door opened?", "key", ("spoon", "pillow", "candle"), "You open it with a"),
    ("Which star gives us light by day?", "sun", ("moon", "Mars", "Sirius"), "That star is the"),
    ("Cooks crack the hard outer part of eggs. What is that part?", "shell|eggshell", ("yolk", "feather"), "It is the"),
    ("Which tool drives nails into wood?", "hammer", ("saw", "brush", "rake"), "That tool is a"),
    ("Name the pet that says meow.", "cat|kitten", ("dog", "cow", "horse"), "The animal is a"),
    (
        "White flakes cover the garden in winter. They consist of what?",
        "snow|snowflakes|ice|frozen water",
        ("sand", "hail"),
        "They consist of",
    ),
    ("Which room of a flat is meant for cooking?", "kitchen", ("bedroom", "cellar", "garage"), "That room is the"),
    ("A cold makes it run. Which part of the face is meant?", "nose", ("ear", "elbow", "knee"), "It is the"),
    ("Which vehicle runs on rails?", "train|tram|trains", ("bus", "ship", "bicycle"), "It is the"),
    ("Which colour has fresh grass?", "green", ("red", "blue", "purple"), "Fresh grass is"),
    ("If my parents have a daughter besides me, she is my what?", "sister", ("aunt", "cousin", "niece"), "She is your"),
    ("Monday ends at midnight. Which day begins?", "Tuesday", ("Sunday", "Friday", "Thursday"), "The next day is"),
    (
        "Out of which fruit is cider mostly pressed?",
        "apple|apples",
        ("banana", "cherry", "lemon"),
        "Cider is made from",
    ),
    (
        "What do bakers bake from flour, water and salt?",
        "bread|loaf|loaves|rolls",
        ("cheese", "jam", "butter"),
        "They bake",
    ),
    (
        "Which instrument has black and white keys?",
        "piano|keyboard|organ",
        ("violin", "drum", "flute"),
        "That instrument is the",
    ),
    (
        "Outdoors our feet need something. Tell me what people put on.",
        "shoes|boots|shoe|footwear|sandals",
        ("gloves", "hats", "scarves"),
        "People put on",
    ),
    (
        "Fish have no lungs. What do they take in oxygen with?",
        "gills|gill",
        ("skin", "heart", "tail"),
        "They use their",
    ),
    (
        "Trees lose their brown leaves then. What is that season called?",
        "autumn|fall",
        ("spring", "summer"),
        "That season is",
    ),
    ("Which bird hoots at night?", "owl", ("hen", "swan", "sparrow"), "That bird is the"),
    ("What opens above our heads against rain?", "umbrella", ("ladder", "curtain", "lamp"), "What opens is an"),
)


def dressed(style: dict[str, Any], text: str) -> str:
    """A sentence in a style."""
    kind, value = style["kind"], style.get("value")
    if kind == "upper":
        return text.upper()
    if kind == "lower":
        return text.lower()
    if kind == "closing":
        return f"{text} {value}"
    if kind == "address":
        return f"{text.rstrip('.')}, {value}."
    return f"- {text}"


Question = tuple[str, str, tuple[str, ...], str]


def _styled(question: Question, style: dict[str, Any], slots: dict[str, str]) -> Filling:
    text, right, wrong, lead = question
    filling = claim(text, {"question": text, **slots}, right.split("|"), list(wrong), lead)
    return Filling(text, filling.slots, filling.reference, {**filling.facts, "style": style})


def _answer(question: Question) -> str:
    return f"{question[3]} {question[1].split('|')[0]}."


def _earlier(rng: random.Random, question: Question) -> Question:
    near = beside(question[0], [row[0] for row in QUESTIONS])
    return rng.choice([row for row in QUESTIONS if row[0] in near])


def _preference(kind: str, values: tuple[str | None, ...]) -> Source:
    def make(rng: random.Random) -> list[Filling]:
        found = []
        for question in QUESTIONS:
            before, value = _earlier(rng, question), rng.choice(values)
            style = {"kind": kind, "value": value, "old": None}
            slots = {"before": before[0], "dressed": dressed(style, _answer(before)), "value": f"{value}"}
            found.append(_styled(question, style, slots))
        return found

    return make


def new_case(rng: random.Random) -> list[Filling]:
    """From capital letters to small ones, or back."""
    names = {"upper": "capital letters only", "lower": "small letters only"}
    found = []
    for question in QUESTIONS:
        before, (old, new) = _earlier(rng, question), rng.sample(("upper", "lower"), 2)
        style = {"kind": new, "value": None, "old": None}
        slots = {
            "old": names[old],
            "new": names[new],
            "before": before[0],
            "dressed": dressed({"kind": old}, _answer(before)),
            "agreed": dressed(style, "All right."),
        }
        found.append(_styled(question, style, slots))
    return found


def new_closing(rng: random.Random) -> list[Filling]:
    """From one closing phrase to another."""
    found = []
    for question in QUESTIONS:
        before, (old, new) = _earlier(rng, question), rng.sample(CLOSINGS, 2)
        style = {"kind": "closing", "value": new, "old": old.rstrip(".!")}
        slots = {"old": old, "new": new, "before": before[0], "dressed": f"{_answer(before)} {old}"}
        found.append(_styled(question, style, slots))
    return found


def new_number(rng: random.Random) -> list[Filling]:
    """From lists of one length to lists of another."""
    found = []
    for category in sorted(CATEGORIES):
        for layout, kind in (("bullets", "bullet"), ("numbered", "numbered")):
            before = rng.choice(beside(category, sorted(CATEGORIES)))
            old, new = rng.sample((3, 4, 5), 2)
            earlier = list_facts(rng, before, old, layout)["drawn"][:old]
            facts = list_facts(rng, category, new, layout)
            slots = {
                "kind": kind,
                "old": NUMERALS[old],
                "new": NUMERALS[new],
                "before": before,
                "listed": laid_out(earlier, layout),
                "what": category,
            }
            found.append(Filling(category, slots, laid_out(facts["drawn"][:new], layout), facts))
    return found


def new_language(rng: random.Random) -> list[Filling]:
    """From one language to another."""
    found = []
    for row in WORDS:
        near = beside(row[0], [one[0] for one in WORDS])
        other = rng.choice([one for one in WORDS if one[0] in near])
        old, new = rng.sample(sorted(LANGUAGES), 2)
        right = word_in(new, row)
        rivals = [*word_in(old, row), *rival_words(rng, new, row)]
        slots = {"old": old, "new": new, "other": other[0], "said": word_in(old, other)[0], "word": row[0]}
        found.append(claim(row[0], slots, right, rivals, f"In {new}, {article(row[0])} is"))
    return found


def new_topic(rng: random.Random) -> list[Filling]:
    """From one country to another, for questions that name none."""
    found = []
    for new in CAPITALS:
        near = beside(new[0], [row[0] for row in CAPITALS])
        old = rng.choice([row for row in CAPITALS if row[0] in near])
        rivals = [old[1], new[2], *others(rng, CITIES, (old[1], new[1], new[2]), 6)]
        slots = {"old": old[0], "capital": old[1], "new": new[0]}
        found.append(claim(new[0], slots, [new[1]], rivals, f"The capital of {new[0]} is"))
    return found


PREFERENCE: dict[str, Source] = {
    "upper": _preference("upper", (None,)),
    "lower": _preference("lower", (None,)),
    "closing": _preference("closing", CLOSINGS),
    "address": _preference("address", TITLES),
    "bullets": _preference("bullets", (None,)),
}
CONSTRAINT_UPDATE: dict[str, Source] = {
    "new_case": new_case,
    "new_closing": new_closing,
    "new_number": new_number,
    "new_language": new_language,
    "new_topic": new_topic,
}
