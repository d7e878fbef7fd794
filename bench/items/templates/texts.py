"""Labels for short texts, and what a short text says."""

from __future__ import annotations

import random
from collections.abc import Callable

from bench.items.templates import Filling, Source, claim, listing, material, phrases, vocabulary

N = 96
PEOPLE = vocabulary(
    "Amira Bruno Celine Dario Edith Farid Gwen Henrik Isla Jorge Kira Liam Mona Nadia Otto Petra Rahul Silke Tomas "
    "Ursula Viktor Wiebke"
)
PLACES = vocabulary("library harbour castle museum station bakery stadium theatre planetarium zoo brewery cathedral")
DAYS = vocabulary("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
TASKS = phrases(
    """
    water the plants; order the cake; book the hall; print the tickets; feed the cat; paint the sign; rent a van
    call the plumber; tune the guitars; sweep the yard; buy the stamps; fix the lamp; iron the flags; bake the rolls
    """
)
GOODS = vocabulary("stapler teapot ladder carpet toaster helmet blanket fan mirror kettle stool drill vase tripod")
ROOMS = phrases("cellar; attic; canteen; workshop; chapel; gym; laundry; greenhouse; garage; studio")
MATTERS = phrases("lost keys; parking; refunds; guided tours; broken lights; group tickets; wedding photos; late buses")
FIELDS = vocabulary("barley potatoes clover maize lentils cabbage flax hops")


def _labels(name: str, lead: str) -> Source:
    rows = material(name)
    labels = tuple(dict.fromkeys(label for label, _ in rows))

    def make(rng: random.Random) -> list[Filling]:
        found = []
        for label, text in rows:
            wrong = [other for other in labels if other != label]
            rng.shuffle(wrong)
            found.append(claim(text, {"text": text}, [label], wrong, lead))
        return found

    return make


def _one_of(rng: random.Random, names: list[str]) -> tuple[int, str, list[str]]:
    which = rng.randrange(len(names))
    return which, names[which], [name for name in names if name != names[which]]


def who_did(rng: random.Random) -> Filling:
    """Which of three people has a task."""
    people, tasks = rng.sample(PEOPLE, 3), rng.sample(TASKS, 3)
    said = f"{people[0]} will {tasks[0]}, {people[1]} has to {tasks[1]}, and {people[2]} is going to {tasks[2]}"
    which, right, rivals = _one_of(rng, people)
    return claim(said, {"said": said, "task": tasks[which]}, [right], rivals, "The person who was asked is")


def weekday(rng: random.Random) -> Filling:
    """On which day something takes place."""
    days, places = rng.sample(DAYS, 3), rng.sample(PLACES, 3)
    said = listing([f"{place} on {day}" for day, place in zip(days, places, strict=True)])
    which, right, rivals = _one_of(rng, days)
    rivals += [day for day in DAYS if day not in days]
    slots = {"said": said, "place": places[which]}
    return claim(said, slots, [right], rivals, f"The trip to the {places[which]} is on")


def price(rng: random.Random) -> Filling:
    """What one of three things costs."""
    things, costs = rng.sample(GOODS, 3), [f"{cost}" for cost in rng.sample(range(13, 90), 3)]
    said = ", ".join(f"{thing} {cost} euros" for thing, cost in zip(things, costs, strict=True))
    which, right, rivals = _one_of(rng, costs)
    return claim(said, {"said": said, "thing": things[which]}, [right], rivals, f"The {things[which]} costs")


def contact(rng: random.Random) -> Filling:
    """The mail address of one of two people."""
    people, matters = rng.sample(PEOPLE, 2), rng.sample(MATTERS, 2)
    place = rng.choice(PLACES)
    mails = [f"{who.lower()}{rng.randint(10, 99)}@{place}.example" for who in people]
    said = f"for {matters[0]} write to {people[0]} ({mails[0]}), for {matters[1]} to {people[1]} ({mails[1]})"
    which, right, rivals = _one_of(rng, mails)
    return claim(said, {"said": said, "matter": matters[which]}, [right], rivals, "The address is")


def room(rng: random.Random) -> Filling:
    """Where something lies that was put away."""
    things, rooms = rng.sample(GOODS, 3), rng.sample(ROOMS, 3)
    said = listing([f"the {thing} is in the {place}" for thing, place in zip(things, rooms, strict=True)])
    which, right, rivals = _one_of(rng, rooms)
    return claim(said, {"said": said, "thing": things[which]}, [right], rivals, f"The {things[which]} is in the")


def crop(rng: random.Random) -> Filling:
    """What one of three people grows."""
    people, crops = rng.sample(PEOPLE, 3), rng.sample(FIELDS, 3)
    said = listing([f"{who} grows {what}" for who, what in zip(people, crops, strict=True)])
    which, right, rivals = _one_of(rng, crops)
    return claim(said, {"said": said, "name": people[which]}, [right], rivals, f"What {people[which]} grows is")


def _made(draw: Callable[[random.Random], Filling]) -> Source:
    return lambda rng: [draw(rng) for _ in range(N)]


CLASSIFICATION: dict[str, Source] = {
    "review": _labels("reviews", "The tone is"),
    "mail": _labels("mails", "This mail is"),
    "headline": _labels("headlines", "It belongs in the section"),
    "utterance": _labels("utterances", "These words are a"),
    "language": _labels("sentences", "The language is"),
}
EXTRACTION: dict[str, Source] = {
    "who_did": _made(who_did),
    "weekday": _made(weekday),
    "price": _made(price),
    "contact": _made(contact),
    "room": _made(room),
    "crop": _made(crop),
}
