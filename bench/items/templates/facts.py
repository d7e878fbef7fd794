"""Short facts that most people know."""

from __future__ import annotations

import random

from bench.items.templates import Draft, Maker, claim_draft, number_draft, others

# country, capital, a bigger or better known other place
CAPITALS = (
    ("Portugal", "Lisbon", "Porto"),
    ("Austria", "Vienna", "Salzburg"),
    ("Greece", "Athens", "Thessaloniki"),
    ("Norway", "Oslo", "Bergen"),
    ("Egypt", "Cairo", "Alexandria"),
    ("Japan", "Tokyo", "Osaka"),
    ("Canada", "Ottawa", "Toronto"),
    ("Australia", "Canberra", "Sydney"),
    ("Turkey", "Ankara", "Istanbul"),
    ("Poland", "Warsaw", "Krakow"),
    ("Kenya", "Nairobi", "Mombasa"),
    ("Peru", "Lima", "Cusco"),
    ("Cuba", "Havana", "Santiago"),
    ("Finland", "Helsinki", "Tampere"),
    ("Hungary", "Budapest", "Debrecen"),
    ("Thailand", "Bangkok", "Phuket"),
    ("Denmark", "Copenhagen", "Aarhus"),
    ("Ireland", "Dublin", "Cork"),
    ("Italy", "Rome", "Milan"),
    ("Spain", "Madrid", "Barcelona"),
    ("Germany", "Berlin", "Hamburg"),
    ("Russia", "Moscow", "Novosibirsk"),
    ("China", "Beijing", "Shanghai"),
    ("Sweden", "Stockholm", "Gothenburg"),
)
CITIES = tuple(city for _, capital, other in CAPITALS for city in (capital, other))

ELEMENTS = (
    ("Fe", "iron"),
    ("Au", "gold"),
    ("Ag", "silver"),
    ("Na", "sodium"),
    ("K", "potassium"),
    ("Pb", "lead"),
    ("O", "oxygen"),
    ("H", "hydrogen"),
    ("He", "helium"),
    ("C", "carbon"),
    ("N", "nitrogen"),
    ("Cu", "copper"),
    ("Ca", "calcium"),
    ("Zn", "zinc"),
    ("Al", "aluminium"),
    ("Cl", "chlorine"),
    ("S", "sulphur"),
    ("Ne", "neon"),
    ("Hg", "mercury"),
    ("Sn", "tin"),
)
SPELLINGS = {"aluminium": ["aluminum"], "sulphur": ["sulfur"]}

# question, number, what the answer begins with, a plausible other number
COUNTS = (
    ("A healthy spider is walking over the table. On how many legs?", 8, "A spider has", 6),
    ("Tell me the number of days in a leap year.", 366, "A leap year has", 365),
    ("Count the sides of a hexagon and tell me the number.", 6, "A hexagon has", 8),
    ("A friend buys strings for her violin. How many strings does she need for a full set?", 4, "A violin has", 6),
    ("Count the letters from A to Z. What do you get?", 26, "The English alphabet has", 24),
    ("What is the total number of squares on a chessboard's grid of eight by eight?", 64, "A chessboard has", 81),
    ("Counting Earth, how many planets circle our sun?", 8, "Our solar system has", 9),
    ("How many minutes make up an hour?", 60, "An hour has", 100),
    ("Say how many grams there are in one kilogram.", 1000, "A kilogram has", 100),
    ("State the size of a right angle in degrees.", 90, "A right angle measures", 45),
    ("Pianos with a full keyboard come with what number of keys?", 88, "A piano usually has", 76),
    ("I bought a dozen eggs. What number is that?", 12, "A dozen is", 10),
    ("On a football pitch, one team starts the game with how many players?", 11, "A football team has", 9),
    ("Name the number of corners that a cube has.", 8, "A cube has", 6),
    ("How many cents is a dollar worth?", 100, "A dollar is worth", 10),
    ("An insect stands on how many legs?", 6, "An insect has", 8),
    ("How many years make a century?", 100, "A century has", 10),
    ("How many sides has an octagon got?", 8, "An octagon has", 6),
)

WORKS = (
    ("play", "Romeo and Juliet", "William Shakespeare", "Shakespeare", "Charles Dickens"),
    ("novel", "Oliver Twist", "Charles Dickens", "Dickens", "Mark Twain"),
    ("novel", "Pride and Prejudice", "Jane Austen", "Austen", "Emily Brontë"),
    ("novel", "War and Peace", "Leo Tolstoy", "Tolstoy", "Fyodor Dostoevsky"),
    ("novel", "Nineteen Eighty-Four", "George Orwell", "Orwell", "Aldous Huxley"),
    ("novel", "Frankenstein", "Mary Shelley", "Shelley", "Bram Stoker"),
    ("novel", "Dracula", "Bram Stoker", "Stoker", "Mary Shelley"),
    ("novel", "The Adventures of Tom Sawyer", "Mark Twain", "Twain", "Herman Melville"),
    ("novel", "Moby-Dick", "Herman Melville", "Melville", "Ernest Hemingway"),
    ("novel", "The Old Man and the Sea", "Ernest Hemingway", "Hemingway", "Herman Melville"),
    ("novel", "Crime and Punishment", "Fyodor Dostoevsky", "Dostoevsky", "Leo Tolstoy"),
    ("novel", "Les Misérables", "Victor Hugo", "Hugo", "Jules Verne"),
    ("novel", "Around the World in Eighty Days", "Jules Verne", "Verne", "Victor Hugo"),
    ("novel", "Don Quixote", "Miguel de Cervantes", "Cervantes", "Victor Hugo"),
    ("novel", "The Hobbit", "J. R. R. Tolkien", "Tolkien", "C. S. Lewis"),
    ("novel", "Brave New World", "Aldous Huxley", "Huxley", "George Orwell"),
)
AUTHORS = tuple(dict.fromkeys(name for work in WORKS for name in (work[2], work[4])))


def capital(rng: random.Random) -> list[Draft]:
    """The city from which a country is governed."""
    forms = (
        "If I flew to the capital of {}, in which city would I land?",
        "The government of {} sits in which capital city?",
        "I am filling in a map. What should I write down as the capital of {}?",
    )
    drafts = []
    for number, (country, city, other) in enumerate(CAPITALS):
        prompt = forms[number % len(forms)].format(country)
        rivals = [other, *others(rng, CITIES, (city, other), 14)]
        drafts.append(claim_draft(prompt, [city], rivals, f"The capital of {country} is"))
    return drafts


def element(rng: random.Random) -> list[Draft]:
    """The chemical element that a symbol stands for."""
    forms = ("Which chemical element has the symbol {}?", "In chemistry, the letters {} stand for which element?")
    names = [name for _, name in ELEMENTS]
    drafts = []
    for number, (symbol, name) in enumerate(ELEMENTS):
        prompt = forms[len(symbol) - 1 if number % 3 else 0].format(symbol)
        rivals = others(rng, [n for n in names if n != "lead"], (name,), 12)
        drafts.append(claim_draft(prompt, [name, *SPELLINGS.get(name, [])], rivals, f"The symbol {symbol} stands for"))
    return drafts


def count(rng: random.Random) -> list[Draft]:
    """A number that is common knowledge."""
    del rng
    return [number_draft(prompt, value, (), lead, slip) for prompt, value, lead, slip in COUNTS]


def author(rng: random.Random) -> list[Draft]:
    """Who wrote a famous book."""
    forms = ("Which writer do we owe the {} {} to?", "The {} {} came from whose pen?")
    drafts = []
    for number, (kind, title, name, short, other) in enumerate(WORKS):
        prompt = forms[number % 2].format(kind, title)
        rivals = [other, *others(rng, AUTHORS, (name, other), 8)]
        rivals += [rival.split()[-1] for rival in rivals]
        drafts.append(claim_draft(prompt, [name, short], rivals, f"The author of {title} is"))
    return drafts


SHORT_FACT: dict[str, Maker] = {"capital": capital, "element": element, "count": count, "author": author}
