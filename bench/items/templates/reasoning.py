"""Sums and orders."""

from __future__ import annotations

import random
from collections.abc import Sequence

from bench.items.templates import Draft, Maker, number_draft, vocabulary

N = 16
NAMES = vocabulary("Sam Lena Omar Ruth Ivan Mina Carl Tess")
THINGS = vocabulary("marbles stickers pencils shells coins stamps buttons cards")
WORD_LISTS = (
    "pear apple grape mango cherry",
    "violin drum flute banjo harp",
    "tiger otter zebra camel lemur",
    "nurse baker pilot judge farmer",
    "tulip daisy rose orchid lily",
    "spoon ladle whisk knife bowl",
    "oak willow birch elm maple",
    "shirt coat belt glove hat",
    "rugby tennis golf hockey judo",
    "lamp desk sofa chair bench",
    "river lake ocean pond brook",
    "cloud storm wind frost hail",
    "onion carrot leek turnip bean",
    "train ferry bus tram plane",
)
# In a fixed order: by size, time or age, from small or early on.
SCALES = (
    ("from the smallest to the largest animal", "ant mouse cat horse elephant"),
    ("from the shortest to the longest span of time", "second minute hour week century"),
    ("by when you eat them, first to last", "breakfast lunch dinner"),
    ("as they follow each other in a year, starting in spring", "March May July October December"),
    ("as they follow each other in a week, Monday first", "Monday Tuesday Thursday Saturday Sunday"),
    ("by distance from the sun, nearest first", "Mercury Earth Mars Jupiter Neptune"),
    ("from the youngest to the oldest person", "baby toddler teenager adult"),
    ("from slowest to fastest", "snail tortoise horse cheetah"),
    ("from the smallest to the largest body of water", "puddle pond lake ocean"),
    ("from the lowest to the highest number", "three seven eleven twenty"),
    ("from the smallest to the largest place", "room house village city country"),
    ("from the lightest to the heaviest", "feather apple brick car ship"),
    ("from the coldest to the hottest", "ice water steam lava"),
    ("from the shortest to the longest text", "letter word sentence paragraph chapter"),
    ("in the order of a day, beginning early", "dawn noon dusk midnight"),
)


def plain(rng: random.Random) -> list[Draft]:
    """One operation on two numbers."""
    drafts = []
    for number in range(N):
        a, b = rng.randint(23, 89), rng.randint(12, 78)
        if number % 3 == 0:
            value, form = a + b, "What do you get when you add {} to {}?"
        elif number % 3 == 1:
            a += 60
            value, form = a - b, "Work out {} minus {}."
        else:
            a, b = rng.randint(6, 12), rng.randint(7, 15)
            value, form = a * b, "Multiply {} by {} and tell me the product."
        drafts.append(number_draft(form.format(a, b), value, (a, b), "The result is", value + 2))
    return drafts


def word_problem(rng: random.Random) -> list[Draft]:
    """Things that are given away and bought."""
    drafts = []
    for number in range(N):
        a, b, c = rng.randint(31, 60), rng.randint(4, 15), rng.randint(16, 30)
        who, what = NAMES[number % len(NAMES)], THINGS[(number * 3 + number // 8) % len(THINGS)]
        text = f"{who} owns {a} {what}, gives {b} of them to a friend and then finds {c} more. How many {what} now?"
        drafts.append(number_draft(text, a - b + c, (a, b, c, a - b, a + c), f"{who} now has", a - b + c + 3))
    return drafts


def percent(rng: random.Random) -> list[Draft]:
    """A share of a number."""
    drafts = []
    for number in range(N):
        share, base = rng.choice((10, 20, 25, 50, 75)), 4 * rng.randint(21, 70) * 5
        value = share * base // 100
        form = (
            "If somebody owes {1} euros and pays back {0} percent, how much is paid?",
            "A coat costs {1} euros. How many euros is a discount of {0} percent?",
        )
        given = (share, base, 100, share / 100, base // 100, base - value, base / 100)
        drafts.append(number_draft(form[number % 2].format(share, base), value, given, "The result is", value + 5))
    return drafts


def change(rng: random.Random) -> list[Draft]:
    """Money that is left."""
    drafts = []
    for number in range(N):
        count, price = rng.randint(3, 7), rng.randint(3, 9)
        note = 100 if number % 2 else 80
        value = note - count * price
        what = THINGS[number % len(THINGS)]
        text = (
            f"You pay for {count} boxes of {what} at {price} dollars each with {note} dollars in cash. "
            f"What sum do you get back?"
        )
        drafts.append(number_draft(text, value, (count, price, note, count * price), "You get back", value + 10))
    return drafts


def order_draft(prompt: str, wanted: Sequence[str], given: Sequence[str]) -> Draft:
    """A draft whose answer is a row of names in the right order."""
    slip = [wanted[1], wanted[0], *wanted[2:]]
    if slip == list(given):
        slip = [*wanted[:-2], wanted[-1], wanted[-2]]
    facts = {
        "check": "order",
        "wanted": list(wanted),
        "given": list(given),
        "lead": "In the right order they are",
        "slip": ", ".join(slip),
    }
    return Draft(prompt, ", ".join(wanted), facts)


def _shuffled(rng: random.Random, wanted: Sequence[str]) -> list[str]:
    given = list(wanted)
    while given == list(wanted) or given[::-1] == list(wanted):
        rng.shuffle(given)
    return given


def ascending(rng: random.Random) -> list[Draft]:
    """Numbers by size."""
    drafts = []
    for number in range(N):
        values = sorted(rng.sample(range(11, 99), 5))
        falling = number % 2 == 1
        wanted = [str(value) for value in (reversed(values) if falling else values)]
        given = _shuffled(rng, wanted)
        way = "from the highest down to the lowest" if falling else "from low to high"
        drafts.append(order_draft(f"Sort the numbers {', '.join(given)} {way}.", wanted, given))
    return drafts


def alphabetical(rng: random.Random) -> list[Draft]:
    """Words by the alphabet."""
    drafts = []
    for row in WORD_LISTS:
        wanted = sorted(row.split())
        given = _shuffled(rng, wanted)
        drafts.append(order_draft(f"Arrange these words alphabetically: {', '.join(given)}.", wanted, given))
    return drafts


def backwards(rng: random.Random) -> list[Draft]:
    """A row turned round."""
    drafts = []
    for row in WORD_LISTS:
        given = _shuffled(rng, row.split())
        wanted = given[::-1]
        text = f"Here is a row of things: {', '.join(given)}. Give me the same row back to front, last one first."
        drafts.append(order_draft(text, wanted, given))
    return drafts


def scale(rng: random.Random) -> list[Draft]:
    """Things by size, time or age."""
    drafts = []
    for way, row in SCALES:
        wanted = row.split()
        given = _shuffled(rng, wanted)
        drafts.append(order_draft(f"Line these up {way}: {', '.join(given)}.", wanted, given))
    return drafts


ARITHMETIC: dict[str, Maker] = {
    "plain": plain,
    "word_problem": word_problem,
    "percent": percent,
    "change": change,
}
ORDERING: dict[str, Maker] = {
    "ascending": ascending,
    "alphabetical": alphabetical,
    "backwards": backwards,
    "scale": scale,
}
