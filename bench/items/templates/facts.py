"""Short facts that most people know."""

from __future__ import annotations

import random

from bench.items.templates import Filling, Source, claim, number, others, table

# country, capital, a bigger or better known other place
CAPITALS = table(
    """
    Portugal | Lisbon | Porto
    Austria | Vienna | Salzburg
    Greece | Athens | Thessaloniki
    Norway | Oslo | Bergen
    Egypt | Cairo | Alexandria
    Japan | Tokyo | Osaka
    Canada | Ottawa | Toronto
    Australia | Canberra | Sydney
    Turkey | Ankara | Istanbul
    Poland | Warsaw | Krakow
    Kenya | Nairobi | Mombasa
    Peru | Lima | Cusco
    Cuba | Havana | Holguin
    Finland | Helsinki | Tampere
    Hungary | Budapest | Debrecen
    Thailand | Bangkok | Phuket
    Denmark | Copenhagen | Aarhus
    Ireland | Dublin | Cork
    Italy | Rome | Milan
    Spain | Madrid | Barcelona
    Germany | Berlin | Hamburg
    Russia | Moscow | Novosibirsk
    China | Beijing | Shanghai
    Sweden | Stockholm | Gothenburg
    Morocco | Rabat | Casablanca
    Vietnam | Hanoi | Haiphong
    Pakistan | Islamabad | Karachi
    South Korea | Seoul | Busan
    Iran | Tehran | Isfahan
    Iraq | Baghdad | Basra
    Syria | Damascus | Aleppo
    Nigeria | Abuja | Lagos
    Ghana | Accra | Kumasi
    Argentina | Buenos Aires | Rosario
    Chile | Santiago | Valparaiso
    Colombia | Bogota | Medellin
    Venezuela | Caracas | Maracaibo
    Ecuador | Quito | Guayaquil
    Romania | Bucharest | Timisoara
    Bulgaria | Sofia | Plovdiv
    Serbia | Belgrade | Novi Sad
    Croatia | Zagreb | Dubrovnik
    Latvia | Riga | Liepaja
    Estonia | Tallinn | Tartu
    Lithuania | Vilnius | Kaunas
    Iceland | Reykjavik | Akureyri
    Belgium | Brussels | Antwerp
    the Netherlands | Amsterdam | Rotterdam
    New Zealand | Wellington | Auckland
    Nepal | Kathmandu | Pokhara
    Mongolia | Ulaanbaatar | Erdenet
    Senegal | Dakar | Thies
    Tunisia | Tunis | Sfax
    Algeria | Algiers | Oran
    """
)
CITIES = tuple(city for _, capital, other in CAPITALS for city in (capital, other))

ELEMENTS = table(
    """
    Fe | iron
    Au | gold
    Ag | silver
    Na | sodium
    K | potassium
    Pb | lead
    O | oxygen
    H | hydrogen
    He | helium
    C | carbon
    N | nitrogen
    Cu | copper
    Ca | calcium
    Zn | zinc
    Al | aluminium
    Cl | chlorine
    S | sulphur
    Ne | neon
    Hg | mercury
    Sn | tin
    Mg | magnesium
    Si | silicon
    P | phosphorus
    Li | lithium
    Ni | nickel
    U | uranium
    Pt | platinum
    W | tungsten
    Br | bromine
    F | fluorine
    Ar | argon
    Ti | titanium
    Co | cobalt
    Ba | barium
    Mn | manganese
    Cr | chromium
    Kr | krypton
    Ra | radium
    """
)
SPELLINGS = {"aluminium": ["aluminum"], "sulphur": ["sulfur"], "tungsten": ["wolfram"]}

# what is counted, the number, what the answer begins with, a plausible other number
COUNTS = (
    ("legs on which a healthy spider walks", 8, "A spider has", 6),
    ("days in a leap year", 366, "A leap year has", 365),
    ("sides of a hexagon", 6, "A hexagon has", 8),
    ("strings on an ordinary violin", 4, "A violin has", 6),
    ("letters in the English alphabet", 26, "The English alphabet has", 24),
    ("small squares on a chessboard", 64, "A chessboard has", 81),
    ("planets that circle our sun, Earth included", 8, "Our solar system has", 9),
    ("minutes that make up an hour", 60, "An hour has", 100),
    ("grams that weigh as much as a kilogram", 1000, "A kilogram has", 100),
    ("degrees in a right angle", 90, "A right angle measures", 45),
    ("keys on a full-sized piano", 88, "A piano usually has", 76),
    ("eggs in a dozen", 12, "A dozen is", 10),
    ("players whom a football team sends onto the pitch at kick-off", 11, "A football team has", 9),
    ("corners of a cube", 8, "A cube has", 6),
    ("cents for which one gets a dollar", 100, "A dollar is worth", 10),
    ("legs of a grasshopper or any other insect", 6, "An insect has", 8),
    ("years in a century", 100, "A century has", 10),
    ("sides that an octagon has got", 8, "An octagon has", 6),
    ("hours from one midnight to the next", 24, "A day has", 12),
    ("colours of the rainbow as it is usually told", 7, "A rainbow is said to have", 6),
    ("wheels under a tricycle", 3, "A tricycle has", 4),
    ("months of the year that have 28 days or more", 12, "All months have so many, that is", 1),
    ("seconds in a minute", 60, "A minute has", 100),
    ("weeks that a year holds, rounded down", 52, "A year has", 48),
    ("strings on a common acoustic guitar", 6, "A guitar has", 4),
    ("arms of an octopus", 8, "An octopus has", 10),
    ("degrees of a full circle", 360, "A full circle has", 180),
    ("continents, as they are counted in most English schools", 7, "There are", 5),
    ("players of one basketball team on the court", 5, "A basketball team has", 6),
    ("millimetres in a centimetre", 10, "A centimetre has", 100),
    ("faces of an ordinary die", 6, "A die has", 8),
    ("holes on a full golf course", 18, "A golf course has", 9),
    ("cards in a pack without jokers", 52, "A pack has", 54),
    ("zeros with which a million is written", 6, "A million has", 7),
    ("humps on a Bactrian camel", 2, "A Bactrian camel has", 1),
    ("teeth of a grown person who has lost none", 32, "A grown person has", 28),
)

# what it is, its title, who made it, the short name, somebody else
WORKS = table(
    """
    play | Romeo and Juliet | William Shakespeare | Shakespeare | Charles Dickens
    novel | Oliver Twist | Charles Dickens | Dickens | Mark Twain
    novel | Pride and Prejudice | Jane Austen | Austen | Emily Brontë
    novel | War and Peace | Leo Tolstoy | Tolstoy | Fyodor Dostoevsky
    novel | Nineteen Eighty-Four | George Orwell | Orwell | Aldous Huxley
    novel | Frankenstein | Mary Shelley | Shelley | Bram Stoker
    novel | Dracula | Bram Stoker | Stoker | Mary Shelley
    novel | The Adventures of Tom Sawyer | Mark Twain | Twain | Herman Melville
    novel | Moby-Dick | Herman Melville | Melville | Ernest Hemingway
    novel | The Old Man and the Sea | Ernest Hemingway | Hemingway | Herman Melville
    novel | Crime and Punishment | Fyodor Dostoevsky | Dostoevsky | Leo Tolstoy
    novel | Les Misérables | Victor Hugo | Hugo | Jules Verne
    novel | Around the World in Eighty Days | Jules Verne | Verne | Victor Hugo
    novel | Don Quixote | Miguel de Cervantes | Cervantes | Victor Hugo
    novel | The Hobbit | J. R. R. Tolkien | Tolkien | C. S. Lewis
    novel | Brave New World | Aldous Huxley | Huxley | George Orwell
    novel | Treasure Island | Robert Louis Stevenson | Stevenson | Daniel Defoe
    novel | Robinson Crusoe | Daniel Defoe | Defoe | Jonathan Swift
    satire | Gulliver's Travels | Jonathan Swift | Swift | Daniel Defoe
    novel | Wuthering Heights | Emily Brontë | Brontë | Jane Austen
    novel | The Jungle Book | Rudyard Kipling | Kipling | Mark Twain
    play | Faust | Johann Wolfgang von Goethe | Goethe | Friedrich Schiller
    play | The Importance of Being Earnest | Oscar Wilde | Wilde | Bernard Shaw
    novel | The Great Gatsby | F. Scott Fitzgerald | Fitzgerald | Ernest Hemingway
    novel | The Grapes of Wrath | John Steinbeck | Steinbeck | William Faulkner
    novel | Madame Bovary | Gustave Flaubert | Flaubert | Honoré de Balzac
    story | The Metamorphosis | Franz Kafka | Kafka | Thomas Mann
    poem | The Divine Comedy | Dante Alighieri | Dante | Giovanni Boccaccio
    novel | The Lord of the Flies | William Golding | Golding | Aldous Huxley
    novel | To Kill a Mockingbird | Harper Lee | Lee | John Steinbeck
    play | Waiting for Godot | Samuel Beckett | Beckett | Bernard Shaw
    story | Alice in Wonderland | Lewis Carroll | Carroll | Rudyard Kipling
    novel | Murder on the Orient Express | Agatha Christie | Christie | Arthur Conan Doyle
    tale | The Little Mermaid | Hans Christian Andersen | Andersen | Rudyard Kipling
    """
)
AUTHORS = tuple(dict.fromkeys(name for work in WORKS for name in (work[2], work[4])))
CONTINENTS = table(
    """
    Africa | Angola; Zambia; Namibia; Mali; Chad; Uganda; Rwanda; Botswana; Malawi; Togo
    Asia | Laos; Cambodia; Bhutan; Bangladesh; Malaysia; Oman; Yemen; Sri Lanka; Japan; Myanmar
    Europe | Moldova; Slovakia; Slovenia; Albania; Luxembourg; Malta; Andorra; Monaco; Denmark; Finland
    South America | Bolivia; Paraguay; Guyana; Suriname; Uruguay; Brazil; Argentina; Peru
    North America | Canada; Guatemala; Honduras; Nicaragua
    """
)
CENTRAL = ("Guatemala", "Honduras", "Nicaragua")  # which is as right


def capital(rng: random.Random) -> list[Filling]:
    """The city from which a country is governed."""
    return [
        claim(
            country, {"country": country}, [city], [other, *others(rng, CITIES, (city, other), 14)],
            f"The capital of {country} is",
        )
        for country, city, other in CAPITALS
    ]  # fmt: skip


def element(rng: random.Random) -> list[Filling]:
    """The chemical element that a symbol stands for."""
    names = [name for _, name in ELEMENTS if name != "lead"]
    return [
        claim(
            symbol, {"symbol": symbol}, [name, *SPELLINGS.get(name, [])], others(rng, names, (name,), 12),
            f"The symbol {symbol} stands for",
        )
        for symbol, name in ELEMENTS
    ]  # fmt: skip


def count(rng: random.Random) -> list[Filling]:
    """A number that is common knowledge."""
    del rng
    return [
        number(what, {"what": what}, value, (28, 1) if "28" in what else (), lead, slip)
        for what, value, lead, slip in COUNTS
    ]


def author(rng: random.Random) -> list[Filling]:
    """Who wrote a famous book."""
    found = []
    for kind, title, name, short, other in WORKS:
        rivals = [other, *others(rng, AUTHORS, (name, other), 8)]
        rivals += [rival.split()[-1] for rival in rivals]
        slots = {"kind": kind, "title": title}
        found.append(claim(title, slots, [name, short], rivals, f"The author of {title} is"))
    return found


def continent(rng: random.Random) -> list[Filling]:
    """The part of the world that a country lies in."""
    names = [name for name, _ in CONTINENTS]
    return [
        claim(
            land, {"country": land}, [name, *(["Central America"] if land in CENTRAL else [])],
            others(rng, names, (name,), 4), f"As everybody can see, {land} lies in",
        )
        for name, lands in CONTINENTS
        for land in lands.split("; ")
    ]  # fmt: skip


SHORT_FACT: dict[str, Source] = {
    "capital": capital,
    "element": element,
    "count": count,
    "author": author,
    "continent": continent,
}
