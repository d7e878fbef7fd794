"""Translations of common words, and sentences that are rewritten under a rule."""

from __future__ import annotations

import random

from bench.items.templates import Draft, Maker, claim_draft, others

# English, then the right words in French, Spanish and German; articles are left out.
WORDS: tuple[tuple[str, str, str, str], ...] = (
    ("house", "maison", "casa", "Haus"),
    ("dog", "chien|chienne", "perro|perra", "Hund|Hündin"),
    ("cat", "chat|chatte", "gato|gata", "Katze|Kater"),
    ("water", "eau", "agua", "Wasser"),
    ("bread", "pain", "pan", "Brot"),
    ("milk", "lait", "leche", "Milch"),
    ("tree", "arbre", "árbol", "Baum"),
    ("book", "livre|bouquin", "libro", "Buch"),
    ("horse", "cheval", "caballo", "Pferd|Ross"),
    ("moon", "lune", "luna", "Mond"),
    ("sun", "soleil", "sol", "Sonne"),
    ("apple", "pomme", "manzana", "Apfel"),
    ("school", "école", "escuela|colegio", "Schule"),
    ("friend", "ami|amie|copain|copine", "amigo|amiga", "Freund|Freundin"),
    ("window", "fenêtre", "ventana", "Fenster"),
    ("street", "rue", "calle", "Straße|Strasse"),
    ("bird", "oiseau", "pájaro|ave", "Vogel"),
    ("king", "roi", "rey", "König|Koenig"),
    ("flower", "fleur", "flor", "Blume|Blüte"),
    ("cheese", "fromage", "queso", "Käse|Kaese"),
)
IN_ENGLISH = (
    ("German", "Schlüssel", ["key", "keys"]),
    ("French", "cuisine", ["kitchen", "cooking", "cookery"]),
    ("Spanish", "ciudad", ["city", "town"]),
    ("German", "Krankenhaus", ["hospital"]),
    ("French", "voiture", ["car", "automobile"]),
    ("Spanish", "mesa", ["table"]),
    ("German", "Bleistift", ["pencil"]),
    ("French", "papillon", ["butterfly"]),
    ("Spanish", "zapato", ["shoe"]),
    ("German", "Regenschirm", ["umbrella"]),
    ("French", "poisson", ["fish"]),
    ("Spanish", "lluvia", ["rain"]),
    ("German", "Löffel", ["spoon"]),
    ("French", "chemise", ["shirt"]),
    ("Spanish", "huevo", ["egg"]),
    ("German", "Schmetterling", ["butterfly"]),
)
LANGUAGES = {"French": 1, "Spanish": 2, "German": 3}


def word_in(language: str, row: tuple[str, str, str, str]) -> list[str]:
    """The right words of a row in a language."""
    return row[LANGUAGES[language]].split("|")


def rival_words(rng: random.Random, language: str, row: tuple[str, str, str, str]) -> list[str]:
    """Other words of the language, and the same word in the other two."""
    right = word_in(language, row)
    pool = [word for other in WORDS for word in word_in(language, other)]
    foreign = [word for other in LANGUAGES if other != language for word in word_in(other, row)]
    return [*others(rng, pool, right, 8), *foreign]


def _into(language: str, forms: tuple[str, ...]) -> Maker:
    def make(rng: random.Random) -> list[Draft]:
        drafts = []
        for number, row in enumerate(rng.sample(WORDS, len(WORDS))):
            prompt = forms[number % len(forms)].format(row[0])
            rivals = rival_words(rng, language, row)
            drafts.append(claim_draft(prompt, word_in(language, row), rivals, f"In {language}, '{row[0]}' is"))
        return drafts

    return make


def into_english(rng: random.Random) -> list[Draft]:
    """What a foreign word means."""
    meanings = [meaning for _, _, accepted in IN_ENGLISH for meaning in accepted]
    drafts = []
    for number, (language, word, accepted) in enumerate(IN_ENGLISH):
        form = ("A sign reads '{1}' in {0}. What is that in English?", "What does the {} word '{}' mean in English?")
        rivals = others(rng, meanings, accepted, 8)
        prompt = form[number % 2].format(language, word)
        drafts.append(claim_draft(prompt, accepted, rivals, f"The {language} word '{word}' means"))
    return drafts


PAST = (
    ("Maria walks to the market and buys two lemons.", "Maria walked to the market and bought two lemons."),
    ("My uncle drives a blue van and sings loudly.", "My uncle drove a blue van and sang loudly."),
    ("The children eat soup and drink cold milk.", "The children ate soup and drank cold milk."),
    ("Our neighbour writes long letters to her son.", "Our neighbour wrote long letters to her son."),
    ("The thief runs away and leaves his coat.", "The thief ran away and left his coat."),
    ("A small boat comes into the harbour.", "A small boat came into the harbour."),
    ("He gives me a map and shows me the road.", "He gave me a map and showed me the road."),
    ("The bell rings and the pupils stand up.", "The bell rang and the pupils stood up."),
    ("She takes the last bus and sleeps at home.", "She took the last bus and slept at home."),
    ("The gardener cuts flowers and sells them.", "The gardener cut flowers and sold them."),
    ("Two owls sit on the fence and watch us.", "Two owls sat on the fence and watched us."),
    ("The king wears a crown and speaks slowly.", "The king wore a crown and spoke slowly."),
    ("I know the answer but say nothing.", "I knew the answer but said nothing."),
    ("The lake freezes and the wind blows hard.", "The lake froze and the wind blew hard."),
    ("My sister teaches maths and has a dog.", "My sister taught maths and had a dog."),
)
CASES = (
    "The Tall Man Bought Seven Red Balloons In Paris.",
    "Every Monday Our Choir Sings In The Old Church.",
    "Please Bring Your Own Cup To The Picnic On Sunday.",
    "A Grey Cat Slept Under The Table In Berlin.",
    "Doctor Miller Opened A New Office In March.",
    "We Found Three Keys Behind The Green Door.",
    "Grandma Keeps Her Best Plates In The Attic.",
    "The Last Train To Vienna Leaves From Platform Two.",
    "Nobody Knew Why Tom Painted The Fence Black.",
    "In April The Storks Come Back From Africa.",
    "Her Cousin Repairs Clocks In A Tiny Workshop.",
    "The Baker On Queen Street Sells Warm Pretzels.",
    "Peter And Julia Are Learning Dutch Together.",
    "My Brother Lost His Glasses On The Ferry.",
)
SWAPS = (
    ("Tom", "Laura", "Yesterday Tom lost a glove, and Tom still looks for it."),
    ("Rome", "Cairo", "We flew to Rome because the museums of Rome are famous."),
    ("horse", "camel", "The horse was thirsty, so the farmer led the horse to the well."),
    ("tea", "coffee", "My aunt drinks tea at noon and tea again at night."),
    ("river", "road", "Along the river stood houses, and behind the river rose a hill."),
    ("piano", "guitar", "He sold his piano since nobody played the piano any more."),
    ("Monday", "Friday", "The shop is closed on Monday, so do not come on Monday."),
    ("soup", "salad", "The soup was too salty, but we finished the soup."),
    ("Nina", "Oscar", "Nina called a taxi, then Nina waited at the gate."),
    ("blue", "yellow", "She wore a blue scarf and carried a blue bag."),
    ("train", "ship", "The train was late, and the next train was full."),
    ("doctor", "plumber", "A doctor lives upstairs, and his wife is a doctor as well."),
    ("winter", "summer", "Last winter was mild, but this winter feels endless."),
    ("apples", "onions", "Take five apples from the basket and peel the apples."),
)
FRONTED = (
    ("Yesterday", "We visited the castle yesterday.", "Yesterday we visited the castle."),
    ("In June", "My parents will sell their flat in June.", "In June my parents will sell their flat."),
    ("After lunch", "The twins played chess after lunch.", "After lunch the twins played chess."),
    ("On Sundays", "The bakery opens late on Sundays.", "On Sundays the bakery opens late."),
    ("Tomorrow", "The painters will bring their ladders tomorrow.", "Tomorrow the painters will bring their ladders."),
    ("At night", "The foxes search the bins at night.", "At night the foxes search the bins."),
    ("In the garden", "Three old lamps hang in the garden.", "In the garden three old lamps hang."),
    ("Every morning", "Mr Lee feeds the pigeons every morning.", "Every morning Mr Lee feeds the pigeons."),
    ("Last week", "A storm broke the big mirror last week.", "Last week a storm broke the big mirror."),
    ("Before dinner", "She always waters the herbs before dinner.", "Before dinner she always waters the herbs."),
    ("Sometimes", "My phone rings twice sometimes.", "Sometimes my phone rings twice."),
    ("In winter", "The pond behind the mill freezes in winter.", "In winter the pond behind the mill freezes."),
    ("Without a word", "The guest left the room without a word.", "Without a word the guest left the room."),
    ("At the station", "I met my old teacher at the station.", "At the station I met my old teacher."),
)


def _rewrite(prompt: str, original: str, targets: list[str], slip: str, cased: bool = False) -> Draft:
    facts = {
        "check": "rewrite",
        "targets": targets,
        "original": original,
        "cased": cased,
        "lead": "Here is the sentence:",
        "slip": slip,
    }
    return Draft(prompt, targets[0], facts)


def _half(now: str, then: str) -> str:
    """A sentence of which only a part has been changed."""
    front, parting, _ = now.partition(" and ")
    return front + parting + then.partition(" and ")[2] if parting else " ".join(then.split()[:-1]) + " there."


def past_tense(rng: random.Random) -> list[Draft]:
    """A sentence in the past tense."""
    del rng
    return [
        _rewrite(f'Change every verb here from present to simple past: "{now}"', now, [then], _half(now, then))
        for now, then in PAST
    ]


def letter_case(rng: random.Random) -> list[Draft]:
    """A sentence in capitals, or without any."""
    del rng
    drafts = []
    for number, text in enumerate(CASES):
        upper = number % 2 == 0
        wanted = "capital letters only" if upper else "small letters only, without a single capital"
        target = text.upper() if upper else text.lower()
        drafts.append(_rewrite(f"Copy this line in {wanted}: {text}", text, [target], text.capitalize(), True))
    return drafts


def swap_word(rng: random.Random) -> list[Draft]:
    """A sentence with one word replaced throughout."""
    del rng
    return [
        _rewrite(
            f"Wherever it says {old}, put {new} instead and leave the rest as it is: {text}",
            text,
            [text.replace(old, new)],
            text.replace(old, new, 1),
        )
        for old, new, text in SWAPS
    ]


def begin_with(rng: random.Random) -> list[Draft]:
    """A sentence with its parts in another order."""
    del rng
    return [
        _rewrite(
            f"Move the words around so that the sentence starts with '{front}', but drop nothing: {text}",
            text,
            [target],
            " ".join(target.split()[:-1]) + ".",
        )
        for front, text, target in FRONTED
    ]


TRANSLATION: dict[str, Maker] = {
    "into_french": _into(
        "French",
        ("What is the French word for '{}'?", "My French pen friend wants to hear her word for '{}'. What is it?"),
    ),
    "into_spanish": _into(
        "Spanish", ("People in Spain have which word for our '{}'?", "I am in Madrid and need the word for {}.")
    ),
    "into_german": _into(
        "German", ("Give me the German for '{}'.", "I forgot what people in Berlin say for '{}'. Can you help?")
    ),
    "into_english": into_english,
}
REWRITING: dict[str, Maker] = {
    "past_tense": past_tense,
    "letter_case": letter_case,
    "swap_word": swap_word,
    "begin_with": begin_with,
}
