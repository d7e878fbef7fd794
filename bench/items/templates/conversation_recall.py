"""Conversations in which something said earlier has to be remembered, or is what a later question is about."""

from __future__ import annotations

import random
from collections.abc import Callable

from bench.items.templates import Filling, Source, beside, claim, number, others, phrases, vocabulary
from bench.items.templates.facts import CAPITALS, CITIES, ELEMENTS, SPELLINGS
from bench.items.templates.languages import LANGUAGES, WORDS, rival_words, word_in

N = 96
PETS = vocabulary("parrot hamster rabbit tortoise goat pony puppy kitten goose ferret gecko budgie")
PET_NAMES = vocabulary(
    "Biscuit Pepper Rocket Waffle Nutmeg Comet Pickle Domino Ziggy Mango Clover Turbo Pancake Sultan Pixel Gizmo Tofu "
    "Bandit"
)
PEOPLE = vocabulary(
    "Henry Sofia Marco Ellen Tariq Linda Victor Priya Oscar Helga Bruno Wendy Amina Jasper Renate Colin"
)
THINGS = vocabulary("drill tent guitar camera suitcase ladder projector blender telescope sledge tripod hammock")
TOWNS = vocabulary("Naples Geneva Bristol Antwerp Valencia Gdansk Lille Zagreb Bergen Aachen Odense Graz Leeds Bilbao")
SUBJECTS = vocabulary("dentist hairdresser optician plumber lawyer tutor mechanic physiotherapist tailor vet notary")
SMALL = vocabulary("passport ring medal key watch diary compass necklace")
SPOTS = phrases("piano; teapot; cellar; wardrobe; greenhouse; letterbox; toolbox; chimney; beehive; aquarium")
FOODS = vocabulary("mushrooms nuts fish garlic celery eggs onions olives beans cheese")
OPERATIONS: tuple[tuple[str, Callable[[int], int], Callable[[int], int]], ...] = (
    ("double it", lambda total: 2 * total, lambda total: total + 2),
    ("take away ten from it", lambda total: total - 10, lambda total: total + 10),
    ("make it three times as much", lambda total: 3 * total, lambda total: total + 3),
    ("add a hundred to it", lambda total: total + 100, lambda total: total + 10),
    ("multiply it by five", lambda total: 5 * total, lambda total: total + 5),
)


def _two(rng: random.Random, names: tuple[str, ...]) -> tuple[int, list[str]]:
    return rng.randrange(2), rng.sample(names, 2)


def pet(rng: random.Random) -> Filling:
    """The name of one of two pets."""
    which, animals = _two(rng, PETS)
    names = rng.sample(PET_NAMES, 2)
    slots = {"mine": animals[0], "name": names[0], "hers": animals[1], "other": names[1], "animal": animals[which]}
    rivals = [names[1 - which], *others(rng, PET_NAMES, names, 5)]
    return claim(" ".join(names), slots, [names[which]], rivals, f"The {animals[which]} is called")


def lent(rng: random.Random) -> Filling:
    """Who has borrowed a thing."""
    which, things = _two(rng, THINGS)
    people = rng.sample(PEOPLE, 2)
    slots = {"first": things[0], "one": people[0], "second": things[1], "two": people[1], "thing": things[which]}
    rivals = [people[1 - which], *others(rng, PEOPLE, people, 5)]
    return claim(" ".join((*things, *people)), slots, [people[which]], rivals, "The person is")


def appointment(rng: random.Random) -> Filling:
    """At what hour an appointment is."""
    which, subjects = _two(rng, SUBJECTS)
    hours = [f"{hour}" for hour in rng.sample(range(2, 13), 2)]
    slots = {"first": subjects[0], "early": hours[0], "second": subjects[1], "late": hours[1], "asked": subjects[which]}
    rivals = [hours[1 - which], *(f"{hour}" for hour in range(2, 13) if f"{hour}" not in hours)]
    return claim(" ".join((*subjects, *hours)), slots, [hours[which]], rivals, f"The {subjects[which]} expects you at")


def moved(rng: random.Random) -> Filling:
    """Where somebody lives, works or was born."""
    who, towns = rng.choice(PEOPLE), rng.sample(TOWNS, 3)
    which = rng.randrange(3)
    verb = ("was born", "lives", "works")[which]
    slots = {"name": who, "born": towns[0], "home": towns[1], "work": towns[2], "verb": verb}
    rivals = [town for town in towns if town != towns[which]] + others(rng, TOWNS, towns, 4)
    return claim(" ".join((who, *towns)), slots, [towns[which]], rivals, f"{who} {verb} in")


def hidden(rng: random.Random) -> Filling:
    """Where something was hidden."""
    which, things = _two(rng, SMALL)
    spots = rng.sample(SPOTS, 2)
    slots = {"first": things[0], "spot": spots[0], "second": things[1], "spot2": spots[1], "thing": things[which]}
    rivals = [spots[1 - which], *others(rng, SPOTS, spots, 5)]
    return claim(" ".join((*things, *spots)), slots, [spots[which]], rivals, f"You put the {things[which]} into the")


def diet(rng: random.Random) -> Filling:
    """What a guest does not eat."""
    which, people = _two(rng, PEOPLE)
    foods = rng.sample(FOODS, 2)
    slots = {"one": people[0], "food": foods[0], "two": people[1], "food2": foods[1], "guest": people[which]}
    rivals = [foods[1 - which], *others(rng, FOODS, foods, 5)]
    return claim(" ".join((*people, *foods)), slots, [foods[which]], rivals, f"What {people[which]} cannot eat is")


def next_capital(rng: random.Random) -> list[Filling]:
    """A question about another country that does not say what is asked."""
    found = []
    for country, city, big in CAPITALS:
        near = beside(country, [row[0] for row in CAPITALS])
        one, two = rng.sample([row for row in CAPITALS if row[0] in near], 2)
        rivals = [big, one[1], two[1], *others(rng, CITIES, (city, big, one[1], two[1]), 6)]
        slots = {"one": one[0], "city1": one[1], "two": two[0], "city2": two[1], "country": country}
        found.append(claim(country, slots, [city], rivals, f"The capital of {country} is"))
    return found


def _words(rng: random.Random, *, switched: bool) -> list[Filling]:
    found = []
    for row in WORDS:
        near = beside(row[0], [one[0] for one in WORDS])
        other = rng.choice([one for one in WORDS if one[0] in near])
        first, second = rng.sample(sorted(LANGUAGES), 2)
        language = second if switched else first
        slots = {
            "other": other[0],
            "first": first,
            "second": second,
            "said": word_in(first, other)[0],
            "said2": word_in(second, other)[0],
            "word": row[0],
            "told": word_in(first, row)[0],
        }
        right = word_in(language, row)
        rivals = [name for name in rival_words(rng, language, row) + word_in(language, other) if name not in right]
        found.append(claim(row[0], slots, right, rivals, f"In {language} it is"))
    return found


def next_language(rng: random.Random) -> list[Filling]:
    """The same word in another language."""
    return _words(rng, switched=True)


def next_word(rng: random.Random) -> list[Filling]:
    """Another word in the language that was asked for first."""
    return _words(rng, switched=False)


def next_number(rng: random.Random) -> Filling:
    """A sum with the last result."""
    a, b = rng.randint(11, 79), rng.randint(12, 59)
    told, right, slip = rng.choice(OPERATIONS)
    total = a + b
    slots = {"a": f"{a}", "b": f"{b}", "total": f"{total}", "then": told}
    key = f"{a}+{b}"
    return number(key, slots, right(total), (a, b, total, 2, 3, 5, 10, 100), "The result is", slip(total))


def next_element(rng: random.Random) -> list[Filling]:
    """A symbol after a question about another symbol."""
    names = [name for _, name in ELEMENTS if name != "lead"]
    found = []
    for symbol, name in ELEMENTS:
        near = beside(symbol, [row[0] for row in ELEMENTS])
        known = rng.choice([row for row in ELEMENTS if row[0] in near and row[1] != "lead"])
        slots = {"known": known[0], "name": known[1], "symbol": symbol}
        rivals = [known[1], *others(rng, names, (name, known[1]), 8)]
        lead = f"The symbol {symbol} stands for"
        found.append(claim(symbol, slots, [name, *SPELLINGS.get(name, [])], rivals, lead))
    return found


def _made(draw: Callable[[random.Random], Filling]) -> Source:
    return lambda rng: list({filling.key: filling for filling in (draw(rng) for _ in range(N))}.values())


MEMORY: dict[str, Source] = {
    "pet": _made(pet),
    "lent": _made(lent),
    "appointment": _made(appointment),
    "moved": _made(moved),
    "hidden": _made(hidden),
    "diet": _made(diet),
}
TOPIC_CONTINUITY: dict[str, Source] = {
    "next_capital": next_capital,
    "next_language": next_language,
    "next_word": next_word,
    "next_number": _made(next_number),
    "next_element": next_element,
}
