"""JSON and tables made from what a sentence says."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

from bench.items.templates import Draft, Maker, vocabulary

NAMES = vocabulary("Anna Boris Clara David Elena Felix Greta Hugo Irene Jonas Karin Lukas Marta Nils Olga Paul")
TOWNS = vocabulary("Oslo Lyon Cork Graz Porto Turin Ghent Bern Leeds Delft Malmo Bonn Seville Vilnius")
JOBS = vocabulary("baker nurse plumber teacher lawyer farmer dentist tailor pilot gardener cook librarian")
GOODS = vocabulary("lamp kettle blanket backpack umbrella teapot mirror hammer scarf candle basket clock drum kite")
FRUITS = (
    ("apple", "red"),
    ("banana", "yellow"),
    ("lime", "green"),
    ("plum", "purple"),
    ("pumpkin", "orange"),
    ("coconut", "brown"),
    ("lemon", "yellow"),
    ("cherry", "red"),
)
N = 15


def _json(prompt: str, wanted: Any, slip: Any) -> Draft:
    facts = {"check": "json", "wanted": wanted, "slip": json.dumps(slip), "lead": "Here is the JSON:"}
    return Draft(prompt, json.dumps(wanted), facts)


def person(rng: random.Random) -> list[Draft]:
    """An object with a person's name, age and town."""
    drafts = []
    for number in range(N):
        name, town, age = NAMES[number], TOWNS[number % len(TOWNS)], rng.randint(21, 79)
        text = (
            f"Turn this into a JSON object with the keys name, age and city: {name} is {age} years old and lives in "
            f"{town}."
        )
        wanted = {"name": name, "age": age, "city": town}
        drafts.append(_json(text, wanted, wanted | {"age": age + 10}))
    return drafts


def product(rng: random.Random) -> list[Draft]:
    """An object with a truth value."""
    drafts = []
    for number in range(N - 1):
        item, price, stock = GOODS[number], rng.randint(5, 95), bool(rng.randint(0, 1))
        state = "can be bought right now" if stock else "is sold out"
        text = (
            f"Our shop has a {item} for {price} euros, and it {state}. Describe it as JSON with exactly these keys: "
            f"product (text), price (number), available (true or false)."
        )
        wanted = {"product": item, "price": price, "available": stock}
        drafts.append(_json(text, wanted, wanted | {"available": not stock}))
    return drafts


def array(rng: random.Random) -> list[Draft]:
    """An array of the names in a sentence, in their order."""
    drafts = []
    for _ in range(N):
        names = rng.sample(NAMES, rng.randint(3, 5))
        listing = ", ".join(names[:-1]) + f" and {names[-1]}"
        text = f"The guests {listing} have arrived. Output their names, in this order, as a JSON array of strings."
        drafts.append(_json(text, names, names[1:]))
    return drafts


def nested(rng: random.Random) -> list[Draft]:
    """An object that holds an array."""
    drafts = []
    for number in range(N - 1):
        things = rng.sample(GOODS, 2)
        who, day = NAMES[-1 - number], rng.randint(2, 28)
        text = (
            f"{who} bought a {things[0]} and a {things[1]} on the {day}th of May. Answer in JSON: an object with "
            f'"buyer", "day" (the number) and "items" (an array of the two things).'
        )
        wanted = {"buyer": who, "day": day, "items": things}
        drafts.append(_json(text, wanted, wanted | {"items": things[:1]}))
    return drafts


def laid_out(columns: Sequence[str], rows: Sequence[Sequence[Any]], parting: str) -> str:
    """A table as Markdown or as comma-separated lines."""
    if parting == ",":
        return "\n".join(",".join(str(cell) for cell in row) for row in (columns, *rows))
    lines = ["| " + " | ".join(str(cell) for cell in row) + " |" for row in (columns, *rows)]
    return "\n".join([lines[0], "|" + " --- |" * len(columns), *lines[1:]])


def _table(prompt: str, columns: list[str], rows: list[list[Any]], parting: str) -> Draft:
    facts = {
        "check": "table",
        "columns": columns,
        "rows": rows,
        "parting": parting,
        "lead": "Here is the table:",
        "slip": laid_out(columns, rows[:-1], parting),
    }
    return Draft(prompt, laid_out(columns, rows, parting), facts)


def two_columns(rng: random.Random) -> list[Draft]:
    """People and their jobs, in Markdown."""
    drafts = []
    for _ in range(N):
        people, jobs = rng.sample(NAMES, 3), rng.sample(JOBS, 3)
        said = "; ".join(f"{who} works as a {job}" for who, job in zip(people, jobs, strict=True))
        text = f"Put this into a Markdown table with the columns Name and Job: {said}."
        drafts.append(_table(text, ["Name", "Job"], [list(row) for row in zip(people, jobs, strict=True)], "|"))
    return drafts


def three_columns(rng: random.Random) -> list[Draft]:
    """Goods with price and number, in Markdown."""
    drafts = []
    for _ in range(N):
        rows = [[item, rng.randint(3, 60), rng.randint(2, 9)] for item in rng.sample(GOODS, 2)]
        said = " and ".join(f"{count} pieces of the {item} at {price} euros each" for item, price, count in rows)
        text = f"Our stock: {said}. Show it as a Markdown table whose headers are Item, Price and Count, numbers only."
        drafts.append(_table(text, ["Item", "Price", "Count"], rows, "|"))
    return drafts


def comma_lines(rng: random.Random) -> list[Draft]:
    """Towns and temperatures as comma-separated lines with a heading."""
    drafts = []
    for _ in range(N):
        rows: list[list[Any]] = [[town, rng.randint(2, 35)] for town in rng.sample(TOWNS, 3)]
        said = ", ".join(f"{degrees} degrees in {town}" for town, degrees in rows)
        text = f"Today we measured {said}. Write this as CSV. The header line is town,degrees with one town a line."
        drafts.append(_table(text, ["town", "degrees"], rows, ","))
    return drafts


def computed(rng: random.Random) -> list[Draft]:
    """Numbers and their doubles, in Markdown."""
    drafts = []
    for _ in range(N):
        found = rng.sample(range(3, 50), 3)
        listing = f"{found[0]}, {found[1]} and {found[2]}"
        text = (
            f"For the numbers {listing}, draw up a Markdown table: column Number holds each, column Double twice that."
        )
        drafts.append(_table(text, ["Number", "Double"], [[n, 2 * n] for n in found], "|"))
    return drafts


JSON_FORMAT: dict[str, Maker] = {"person": person, "product": product, "array": array, "nested": nested}
TABLE_FORMAT: dict[str, Maker] = {
    "two_columns": two_columns,
    "three_columns": three_columns,
    "comma_lines": comma_lines,
    "computed": computed,
}
