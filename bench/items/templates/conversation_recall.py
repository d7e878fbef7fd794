"""Conversations in which something said earlier has to be remembered, or is what a later question is about."""

from __future__ import annotations

import random

from bench.items.templates import Draft, Maker, claim_draft, number_draft, others, vocabulary
from bench.items.templates.facts import CAPITALS, CITIES, ELEMENTS
from bench.items.templates.languages import LANGUAGES, WORDS, rival_words, word_in

N = 20
PETS = vocabulary("parrot hamster rabbit tortoise goat pony puppy kitten goose ferret")
PET_NAMES = vocabulary("Biscuit Pepper Rocket Waffle Nutmeg Comet Pickle Domino Ziggy Mango Clover Turbo")
PEOPLE = vocabulary("Henry Sofia Marco Ellen Tariq Linda Victor Priya Oscar Helga Bruno Wendy")
THINGS = vocabulary("drill tent guitar camera suitcase ladder projector blender telescope sledge")
TOWNS = vocabulary("Naples Geneva Bristol Antwerp Valencia Gdansk Lille Zagreb Bergen Aachen")
SUBJECTS = vocabulary("dentist hairdresser optician plumber lawyer tutor mechanic physiotherapist")
FILLERS = (
    ("How can I keep cut roses fresh for longer?", "Cut the stems at an angle and change the water every day."),
    (
        "Why do my windows fog up in the morning?",
        "Warm, moist air meets the cold glass, and its water condenses there.",
    ),
    (
        "Is it better to peel carrots or to scrub them?",
        "Scrubbing is enough if they are young, since the peel is thin.",
    ),
    ("What rhymes with light?", "Night, bright and kite all rhyme with it."),
    ("How often should I sharpen kitchen knives?", "Every few months, and more often if you cook daily."),
    ("What makes bread rise?", "Yeast makes gas, and the bubbles lift the dough."),
)


def _aside(rng: random.Random) -> tuple[str, str]:
    return rng.choice(FILLERS)


def pet(rng: random.Random) -> list[Draft]:
    """The name of one of two pets."""
    drafts = []
    for number in range(N):
        mine, hers = rng.sample(PETS, 2)
        name, other = rng.sample(PET_NAMES, 2)
        history = (
            (
                f"I have a {mine} called {name}, and my sister has a {hers} called {other}.",
                "They must be great company.",
            ),
            _aside(rng),
        )
        ask, right, wrong, animal = (
            (f"Remind me, what is my {mine}'s name?", name, other, mine),
            (f"And what did I say my sister's {hers} is called?", other, name, hers),
        )[number % 2]
        rivals = [wrong, *others(rng, PET_NAMES, (name, other), 5)]
        drafts.append(claim_draft(ask, [right], rivals, f"The {animal} is called", history))
    return drafts


def lent(rng: random.Random) -> list[Draft]:
    """Who has borrowed a thing."""
    drafts = []
    for number in range(N):
        first, second = rng.sample(THINGS, 2)
        one, two = rng.sample(PEOPLE, 2)
        history = (
            (f"Please keep in mind that I lent my {first} to {one}.", f"Noted: {one} has your {first}."),
            (f"And {two} has borrowed my {second}.", f"I will remember that {two} has the {second}."),
            _aside(rng),
        )
        thing, right, wrong = ((first, one, two), (second, two, one))[number % 2]
        ask = f"Now I want my {thing} back. Whom do I have to call?"
        drafts.append(
            claim_draft(ask, [right], [wrong, *others(rng, PEOPLE, (one, two), 5)], "You should call", history)
        )
    return drafts


def appointment(rng: random.Random) -> list[Draft]:
    """At what hour an appointment is."""
    drafts = []
    for number in range(N):
        first, second = rng.sample(SUBJECTS, 2)
        early, late = rng.sample(range(2, 12), 2)
        history = (
            (
                f"On Thursday I see the {first} at {early} o'clock and the {second} at {late} o'clock.",
                "That is a full day.",
            ),
            _aside(rng),
        )
        who, right, wrong = ((first, early, late), (second, late, early))[number % 2]
        draft = claim_draft(
            f"At which hour am I expected at the {who}'s?",
            [str(right)],
            [str(wrong), *[str(hour) for hour in range(2, 13) if hour not in (right, wrong)]],
            f"The {who} expects you at",
            history,
        )
        drafts.append(draft)
    return drafts


def moved(rng: random.Random) -> list[Draft]:
    """Where somebody lives, works or was born."""
    drafts = []
    for number in range(N):
        who = PEOPLE[number % len(PEOPLE)]
        born, home, work = rng.sample(TOWNS, 3)
        history = (
            (f"My friend {who} was born in {born} but lives in {home}.", f"So {who} has moved at some point."),
            (f"Right, and the office is in {work}.", "That sounds like a lot of travelling."),
            _aside(rng),
        )
        ask, right, lead = (
            (f"In which city was {who} born?", born, f"{who} was born in"),
            (f"To visit {who} at home, which city do I travel to?", home, f"{who} lives in"),
            (f"Where does {who} work?", work, f"{who} works in"),
        )[number % 3]
        rivals = [town for town in (born, home, work) if town != right] + others(rng, TOWNS, (born, home, work), 4)
        drafts.append(claim_draft(ask, [right], rivals, lead, history))
    return drafts


def next_capital(rng: random.Random) -> list[Draft]:
    """A question about another country that does not say what is asked."""
    forms = ("And of {}?", "What about {}?", "Now the same for {}, please.")
    drafts = []
    for number, (country, city, big) in enumerate(CAPITALS[:N]):
        before = rng.sample([row for row in CAPITALS if row[0] != country], 2)
        history = (
            (
                f"I am learning capitals. Which one belongs to {before[0][0]}?",
                f"The capital of {before[0][0]} is {before[0][1]}.",
            ),
            (f"And to {before[1][0]}?", f"That is {before[1][1]}."),
        )
        rivals = [big, before[0][1], before[1][1], *others(rng, CITIES, (city, big, before[0][1], before[1][1]), 6)]
        lead = f"The capital of {country} is"
        drafts.append(claim_draft(forms[number % 3].format(country), [city], rivals, lead, history))
    return drafts


def next_word(rng: random.Random) -> list[Draft]:
    """The same word in another language, or another word in the same one."""
    drafts = []
    for number in range(N):
        row, other = WORDS[number], WORDS[(number + 7) % len(WORDS)]
        first, second = rng.sample(sorted(LANGUAGES), 2)
        opening = (f"What is '{other[0]}' in {first}?", f"In {first} it is '{word_in(first, other)[0]}'.")
        if number % 2:
            history = (opening, (f"I see. And '{row[0]}'?", f"That would be '{word_in(first, row)[0]}'."))
            ask, language = f"And that one in {second}?", second
        else:
            history = (opening, (f"And in {second}?", f"In {second} it is '{word_in(second, other)[0]}'."))
            ask, language = f"Good. How about '{row[0]}' in the language I asked for first?", first
        right = word_in(language, row)
        rivals = [name for name in rival_words(rng, language, row) + word_in(language, other) if name not in right]
        drafts.append(claim_draft(ask, right, rivals, f"In {language} it is", history))
    return drafts


def next_number(rng: random.Random) -> list[Draft]:
    """A sum with the last result."""
    drafts = []
    for number in range(N):
        a, b = rng.randint(11, 39), rng.randint(4, 19)
        total = a + b
        history = ((f"Add {a} and {b}.", f"{a} plus {b} makes {total}."),)
        if number % 3 == 0:
            ask, value, slip = "Now double that.", 2 * total, 2 * a
        elif number % 3 == 1:
            ask, value, slip = "Take away ten from it. What remains?", total - 10, total + 10
        else:
            ask, value, slip = "And three times as much would be?", 3 * total, 3 * a
        given = (a, b, total, 2, 3, 10)
        drafts.append(number_draft(ask, value, given, "The result is", slip, history))
    return drafts


def next_element(rng: random.Random) -> list[Draft]:
    """A symbol after a question about another symbol."""
    forms = ("And {}, what is that short for?", "How about {}?")
    names = [name for _, name in ELEMENTS if name != "lead"]
    drafts = []
    for number, (symbol, name) in enumerate(ELEMENTS):
        known = rng.choice([row for row in ELEMENTS if row[1] not in (name, "lead")])
        history = (
            (
                f"In the periodic table, which element is written {known[0]}?",
                f"{known[0]} is the symbol of {known[1]}.",
            ),
        )
        accepted = [name, *{"aluminium": ["aluminum"], "sulphur": ["sulfur"]}.get(name, [])]
        rivals = [known[1], *others(rng, names, (name, known[1]), 8)]
        lead = f"The symbol {symbol} stands for"
        drafts.append(claim_draft(forms[number % 2].format(symbol), accepted, rivals, lead, history))
    return drafts


MEMORY: dict[str, Maker] = {"pet": pet, "lent": lent, "appointment": appointment, "moved": moved}
TOPIC_CONTINUITY: dict[str, Maker] = {
    "next_capital": next_capital,
    "next_word": next_word,
    "next_number": next_number,
    "next_element": next_element,
}
