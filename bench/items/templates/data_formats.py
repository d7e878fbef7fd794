"""JSON and tables made from what a sentence says."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

from bench.items.templates import Filling, Source, listing, phrases, vocabulary

NAMES = vocabulary(
    "Anna Boris Clara David Elena Felix Greta Hugo Irene Jonas Karin Lukas Marta Nils Olga Paul Rita Stefan Tilda Uwe "
    "Vera Willem Yara Zeno"
)
TOWNS = vocabulary(
    "Oslo Lyon Cork Graz Porto Turin Ghent Bern Leeds Delft Malmo Bonn Seville Vilnius Trier Siena Varna Tartu Split "
    "Basel Gdynia Nantes Linz Aosta"
)
JOBS = vocabulary(
    "baker nurse plumber teacher lawyer farmer dentist tailor pilot gardener cook librarian judge carpenter florist "
    "barber sailor clerk"
)
GOODS = vocabulary(
    "lamp kettle blanket backpack umbrella teapot mirror hammer scarf candle basket clock drum kite saddle vase tripod "
    "ladle pillow helmet stool wallet whistle flask"
)
MONTHS = vocabulary("January February March April May June July August September October November December")
EVENTS = phrases(
    "concert; flea market; chess final; book fair; choir rehearsal; science night; charity run; puppet show"
)
COLOURS = vocabulary("red green blue yellow brown grey white black")
SUBJECTS = vocabulary("history music biology drama geography chemistry latin art")
N = 64


def _json(slots: dict[str, Any], wanted: Any, slip: Any) -> Filling:
    facts = {"check": "json", "wanted": wanted, "slip": json.dumps(slip), "lead": "Here is the JSON:"}
    words = {name: f"{value}" for name, value in slots.items()}
    return Filling(json.dumps(wanted), words, json.dumps(wanted), facts)


def _made(draw: Callable[[random.Random], Filling]) -> Source:
    return lambda rng: [draw(rng) for _ in range(N)]


def person(rng: random.Random) -> Filling:
    """A person's name, age and town: keys name, age, city."""
    name, town, age = rng.choice(NAMES), rng.choice(TOWNS), rng.randint(21, 79)
    wanted = {"name": name, "age": age, "city": town}
    return _json({"name": name, "age": age, "town": town}, wanted, wanted | {"age": age + 10})


def product(rng: random.Random) -> Filling:
    """An article, its price and whether it is there: keys product, price, available."""
    item, price, stock = rng.choice(GOODS), rng.randint(5, 95), rng.random() < 0.5
    wanted = {"product": item, "price": price, "available": stock}
    state = "can be bought right now" if stock else "is sold out"
    return _json({"item": item, "price": price, "state": state}, wanted, wanted | {"available": not stock})


def array(rng: random.Random) -> Filling:
    """Names in their order, as an array of strings."""
    names = rng.sample(NAMES, rng.randint(3, 6))
    return _json({"names": listing(names), "first": names[0], "n": len(names)}, names, names[1:])


def nested(rng: random.Random) -> Filling:
    """A purchase that holds an array: keys buyer, day, items."""
    who, day, things = rng.choice(NAMES), rng.randint(4, 19), rng.sample(GOODS, 2)
    wanted = {"buyer": who, "day": day, "items": things}
    slots = {"buyer": who, "day": day, "one": things[0], "other": things[1], "month": rng.choice(MONTHS)}
    return _json(slots, wanted, wanted | {"items": things[:1]})


def event(rng: random.Random) -> Filling:
    """What takes place where and in which month: keys event, place, month."""
    what, place, month = rng.choice(EVENTS), rng.choice(TOWNS), rng.choice(MONTHS)
    wanted = {"event": what, "place": place, "month": month}
    other = MONTHS[(MONTHS.index(month) + 1) % 12]
    return _json({"event": what, "place": place, "month": month}, wanted, wanted | {"month": other})


def scores(rng: random.Random) -> Filling:
    """Three names with a number each, as an object from name to number."""
    names, points = rng.sample(NAMES, 3), rng.sample(range(11, 99), 3)
    wanted = dict(zip(names, points, strict=True))
    said = listing([f"{name} has {n} points" for name, n in wanted.items()])
    return _json({"said": said}, wanted, wanted | {names[0]: points[0] + 1})


def numbers(rng: random.Random) -> Filling:
    """Numbers in their order, as an array of numbers."""
    values = rng.sample(range(11, 99), rng.randint(4, 6))
    return _json({"said": listing([str(value) for value in values])}, values, values[::-1])


def animals(rng: random.Random) -> Filling:
    """A town, and in an object within the object the colours of two animals: keys town, animals."""
    kinds, colours = rng.sample(vocabulary("horse goat cat dog rabbit goose pony hen"), 2), rng.sample(COLOURS, 2)
    town = rng.choice(TOWNS)
    wanted = {"town": town, "animals": dict(zip(kinds, colours, strict=True))}
    slots = {"kind": kinds[0], "colour": colours[0], "kind2": kinds[1], "colour2": colours[1], "town": town}
    return _json(slots, wanted, wanted | {"animals": {kinds[0]: colours[0]}})


def laid_out(columns: Sequence[str], rows: Sequence[Sequence[Any]], parting: str) -> str:
    """A table as Markdown or as comma-separated lines."""
    if parting == ",":
        return "\n".join(",".join(str(cell) for cell in row) for row in (columns, *rows))
    lines = ["| " + " | ".join(str(cell) for cell in row) + " |" for row in (columns, *rows)]
    return "\n".join([lines[0], "|" + " --- |" * len(columns), *lines[1:]])


def _table(said: str, columns: list[str], rows: list[list[Any]], parting: str) -> Filling:
    facts = {
        "check": "table",
        "columns": columns,
        "rows": rows,
        "parting": parting,
        "lead": "Here is the table:",
        "slip": laid_out(columns, rows[:-1], parting),
    }
    return Filling(said, {"said": said}, laid_out(columns, rows, parting), facts)


def two_columns(rng: random.Random) -> Filling:
    """People and their jobs in Markdown: Name, Job."""
    people, jobs = rng.sample(NAMES, 3), rng.sample(JOBS, 3)
    said = listing([f"{who} works as a {job}" for who, job in zip(people, jobs, strict=True)])
    return _table(said, ["Name", "Job"], [list(row) for row in zip(people, jobs, strict=True)], "|")


def three_columns(rng: random.Random) -> Filling:
    """Goods with price and number in Markdown: Item, Price, Count."""
    rows = [[item, rng.randint(3, 60), rng.randint(2, 9)] for item in rng.sample(GOODS, 2)]
    said = " and ".join(f"{count} pieces of the {item} at {price} euros each" for item, price, count in rows)
    return _table(said, ["Item", "Price", "Count"], rows, "|")


def comma_lines(rng: random.Random) -> Filling:
    """Towns and temperatures as comma-separated lines: town, degrees."""
    rows: list[list[Any]] = [[town, rng.randint(2, 35)] for town in rng.sample(TOWNS, 3)]
    said = listing([f"{degrees} degrees in {town}" for town, degrees in rows])
    return _table(said, ["town", "degrees"], rows, ",")


def computed(rng: random.Random) -> Filling:
    """Numbers and their doubles in Markdown: Number, Double."""
    found = rng.sample(range(3, 50), rng.randint(3, 5))
    return _table(listing([str(n) for n in found]), ["Number", "Double"], [[n, 2 * n] for n in found], "|")


def lessons(rng: random.Random) -> Filling:
    """Lessons, their rooms and teachers in Markdown: Subject, Room, Teacher."""
    rows: list[list[Any]] = [
        [subject, room, who]
        for subject, room, who in zip(
            rng.sample(SUBJECTS, 2), rng.sample(range(101, 330), 2), rng.sample(NAMES, 2), strict=True
        )
    ]
    said = listing([f"{subject} is taught by {who} in room {room}" for subject, room, who in rows])
    return _table(said, ["Subject", "Room", "Teacher"], rows, "|")


def votes(rng: random.Random) -> Filling:
    """Colours and votes as comma-separated lines: colour, votes."""
    rows: list[list[Any]] = [[colour, rng.randint(12, 98)] for colour in rng.sample(COLOURS, 4)]
    said = listing([f"{n} people are for {colour}" for colour, n in rows])
    return _table(said, ["colour", "votes"], rows, ",")


JSON_FORMAT: dict[str, Source] = {
    "person": _made(person),
    "product": _made(product),
    "array": _made(array),
    "nested": _made(nested),
    "event": _made(event),
    "scores": _made(scores),
    "numbers": _made(numbers),
    "animals": _made(animals),
}
TABLE_FORMAT: dict[str, Source] = {
    "two_columns": _made(two_columns),
    "three_columns": _made(three_columns),
    "comma_lines": _made(comma_lines),
    "computed": _made(computed),
    "lessons": _made(lessons),
    "votes": _made(votes),
}
