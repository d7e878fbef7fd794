"""Sums and orders."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from bench.items.templates import Filling, Source, listing, number, phrases, vocabulary

N = 96
OWNERS = vocabulary("Sam Lena Omar Ruth Ivan Mina Carl Tess Jude Nora Piet Sara")
THINGS = vocabulary("marbles stickers pencils shells coins stamps buttons cards badges acorns ribbons candles")
WARES = vocabulary("coat lamp bicycle tent sofa camera kayak violin mattress printer sledge parasol")
WORDS = vocabulary(
    "pear apple grape mango cherry violin drum flute banjo harp tiger otter zebra camel lemur nurse baker pilot judge "
    "farmer tulip daisy rose orchid lily spoon ladle whisk knife bowl oak willow birch elm maple shirt coat belt glove "
    "hat rugby tennis golf hockey judo lamp desk sofa chair bench river lake ocean pond brook cloud storm wind frost "
    "hail onion carrot leek turnip bean train ferry bus tram plane castle tower hut barn igloo iron zinc quartz "
    "ruby umbrella yacht nettle uncle violet jacket vase kettle"
)
# In a fixed order: by size, time or age, from small or early on.
SCALES = tuple(
    (way.strip(), row.strip())
    for way, row in (
        line.split(":")
        for line in phrases(
            """
            from the smallest to the largest animal: ant mouse cat horse elephant
            from the shortest to the longest span of time: second minute hour week century
            as they follow each other in a year, beginning in spring: March May July October December
            as they follow each other in a week, Monday first: Monday Tuesday Thursday Saturday Sunday
            by distance from the sun, nearest first: Mercury Earth Mars Jupiter Neptune
            from the youngest to the oldest person: baby toddler teenager adult
            from slowest to fastest: snail tortoise horse cheetah
            from the smallest to the largest body of water: puddle pond lake ocean
            from the lowest to the highest number: three seven eleven twenty
            from the smallest to the largest place: room house village city country
            from the lightest to the heaviest: feather apple brick car ship
            from the coldest to the hottest: ice water steam lava
            from the shortest to the longest text: letter word sentence paragraph chapter
            in the order of a day, beginning early: dawn noon dusk midnight
            from the quietest to the loudest: whisper talk shout explosion
            from the shortest to the longest length: millimetre centimetre metre kilometre
            from the fewest to the most players: solo duet trio quartet quintet
            in the order of the seasons, spring first: spring summer autumn winter
            from the smallest to the largest animal of the sea: shrimp herring tuna whale
            from the fewest to the most wheels: unicycle bicycle tricycle car
            from the oldest to the newest invention: wheel clock telephone smartphone
            in the order of growing: seed sprout bud flower fruit
            from the smallest to the largest amount: drop spoonful cup bucket
            in the order of the Greek alphabet: alpha beta gamma delta
            from the fewest to the most sides: triangle square pentagon hexagon octagon
            """
        )
    )
)


def _sum(sign: str) -> Callable[[random.Random], Filling]:
    def draw(rng: random.Random) -> Filling:
        if sign == "+":
            a, b = rng.randint(23, 489), rng.randint(12, 378)
            value = a + b
        elif sign == "-":
            b = rng.randint(12, 178)
            a = b + rng.randint(13, 290)
            value = a - b
        elif sign == "*":
            a, b = rng.randint(9, 19), rng.randint(9, 25)
            value = a * b
        else:
            b, value = rng.randint(3, 12), rng.randint(6, 35)
            a = b * value
        return number(f"{a}{sign}{b}", {"a": f"{a}", "b": f"{b}"}, value, (a, b), "The result is", value + 2)

    return draw


def story(rng: random.Random) -> Filling:
    """Things that are given away and found."""
    a, b, c = rng.randint(31, 160), rng.randint(4, 25), rng.randint(16, 60)
    slots = {"owner": rng.choice(OWNERS), "what": rng.choice(THINGS), "a": f"{a}", "b": f"{b}", "c": f"{c}"}
    lead = f"{slots['owner']} now has"
    value = a - b + c
    return number(f"{a}-{b}+{c}", slots, value, (a, b, c, a - b, a + c), lead, value + 3)


def percent(rng: random.Random) -> Filling:
    """A share of a number."""
    share, base = rng.choice((5, 10, 15, 20, 25, 30, 40, 60, 75)), 20 * rng.randint(11, 70)
    value = share * base // 100
    slots = {"share": f"{share}", "base": f"{base}", "ware": rng.choice(WARES)}
    given = (share, base, 100, share / 100, base // 100, base - value, base / 100)
    return number(f"{share}%{base}", slots, value, given, "The result is", value + 5)


def change(rng: random.Random) -> Filling:
    """Money that is left."""
    count, price = rng.randint(3, 8), rng.randint(3, 11)
    note = rng.choice((100, 120, 150))
    value = note - count * price
    slots = {"count": f"{count}", "price": f"{price}", "note": f"{note}", "what": rng.choice(THINGS)}
    return number(f"{note}-{count}*{price}", slots, value, (count, price, note, count * price), "One gets", value + 10)


def rows(rng: random.Random) -> Filling:
    """Rows of seats, some of which are taken."""
    many, each = rng.randint(6, 15), rng.randint(8, 20)
    taken = rng.randint(11, 45)
    value = many * each - taken
    slots = {"rows": f"{many}", "each": f"{each}", "taken": f"{taken}"}
    return number(f"{many}*{each}-{taken}", slots, value, (many, each, taken, many * each), "There are", value + 4)


def order(key: str, slots: dict[str, str], wanted: Sequence[str], given: Sequence[str]) -> Filling:
    """A filling whose answer is a row of names in the right order."""
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
    words = {**slots, "row": ", ".join(given), "told": listing(given), "first": given[0]}
    return Filling(key, words, ", ".join(wanted), facts)


def _shuffled(rng: random.Random, wanted: Sequence[str]) -> list[str]:
    given = list(wanted)
    while given == list(wanted) or given[::-1] == list(wanted):
        rng.shuffle(given)
    return given


def ascending(rng: random.Random) -> Filling:
    """Numbers from low to high."""
    values = sorted(rng.sample(range(11, 990), rng.randint(4, 6)))
    wanted = [f"{value}" for value in values]
    return order(" ".join(wanted), {}, wanted, _shuffled(rng, wanted))


def descending(rng: random.Random) -> Filling:
    """Numbers from high to low."""
    values = sorted(rng.sample(range(11, 99), rng.randint(4, 6)), reverse=True)
    wanted = [f"{value}" for value in values]
    return order(" ".join(wanted), {}, wanted, _shuffled(rng, wanted))


def alphabetical(rng: random.Random) -> Filling:
    """Words by the alphabet, no two of which begin alike."""
    by_letter = {letter: [word for word in WORDS if word[0] == letter] for letter in {word[0] for word in WORDS}}
    wanted = sorted(rng.choice(by_letter[letter]) for letter in rng.sample(sorted(by_letter), rng.randint(4, 6)))
    return order(" ".join(wanted), {}, wanted, _shuffled(rng, wanted))


def backwards(rng: random.Random) -> Filling:
    """A row turned round."""
    given = rng.sample(WORDS, rng.randint(4, 5))
    return order(" ".join(given), {}, given[::-1], given)


def scale(rng: random.Random) -> list[Filling]:
    """Things by size, time or age, each row in two shuffled forms."""
    return [order(way, {"way": way}, row.split(), _shuffled(rng, row.split())) for way, row in SCALES for _ in range(2)]


def _made(draw: Callable[[random.Random], Filling]) -> Source:
    return lambda rng: list({filling.key: filling for filling in (draw(rng) for _ in range(N))}.values())


ARITHMETIC: dict[str, Source] = {
    "plus": _made(_sum("+")),
    "minus": _made(_sum("-")),
    "times": _made(_sum("*")),
    "divided": _made(_sum("/")),
    "story": _made(story),
    "percent": _made(percent),
    "change": _made(change),
    "rows": _made(rows),
}
ORDERING: dict[str, Source] = {
    "ascending": _made(ascending),
    "descending": _made(descending),
    "alphabetical": _made(alphabetical),
    "backwards": _made(backwards),
    "scale": scale,
}
