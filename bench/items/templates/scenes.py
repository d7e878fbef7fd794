"""Who asks and what goes on meanwhile: words that any wording may have, so that items of one template differ."""

from __future__ import annotations

import random
from collections.abc import Mapping

from bench.items.templates import material, phrases, vocabulary

# Whose names go with whom.
PEOPLE = (
    (
        phrases(
            "my aunt; my landlady; my niece; my stepsister; my grandmother; my colleague; my flatmate; our librarian; "
            "my neighbour; my pen friend; our choir leader"
        ),
        vocabulary(
            "Berit Cosima Dagmar Frida Gisela Inga Ludmila Nerys Odile Rosa Selma Ulla Wanda Xenia Zora Bettina"
        ),
    ),
    (
        phrases(
            "my uncle; my nephew; my stepbrother; my grandfather; my godson; my tutor; our postman; our caretaker; "
            "our goalkeeper; our trainee; my cousin; my dentist"
        ),
        vocabulary("Aldo Egon Horst Jarek Kamil Magnus Pavel Quentin Tadeusz Vito Yusuf Ansgar Cyril Dimitri Emeka"),
    ),
)
DOINGS = phrases(
    """
    sorting old postcards in the attic; repainting a rusty garden gate; waiting for a delayed flight home
    preparing a quiz for pensioners; packing boxes before a big move; knitting a scarf during the news
    polishing shoes on the balcony; rehearsing a speech for a wedding; mending a torn fishing net
    drawing posters for a jumble sale; watching football with the volume off; pruning the hedge behind the garage
    cleaning the aquarium at work; designing worksheets for evening classes; stirring jam in a huge pot
    learning lines for an amateur play; wrapping presents at the last minute; filling in a crossword on the bus
    building a shelf from old crates; camping beside a noisy motorway; decorating a cake for twins
    tidying the cellar after the flood; walking three dogs round the park; minding a stall at the fair
    recovering from a broken ankle; proofreading a cookery magazine; waxing skis in a cold shed
    hosting visitors from overseas; cataloguing records for an auction; commuting with a crowded ferry
    setting up tents for a festival; ironing shirts before a conference; writing captions for a photo album
    assembling a wardrobe without instructions; translating a menu for tourists; raking leaves with the scouts
    baking biscuits for the fire brigade; guarding coats at the theatre; planning a treasure hunt
    restoring a wooden rowing boat; queueing outside a new museum; ironing flags for the parade
    feeding ducks near the town hall; editing a podcast about gardens; sewing costumes for carnival
    testing microphones in an empty hall; labelling jars of pickles; teaching toddlers to swim
    hanging lanterns along the pier; tuning a very old harpsichord; shovelling gravel onto the path
    inspecting beehives in a white suit; sketching boats in the harbour; folding leaflets at the kitchen counter
    rearranging furniture for a party; counting votes in a village hall; scrubbing pans after a banquet
    photographing mushrooms in wet woods; saddling ponies at the stables; replacing a flat tyre in drizzle
    """
)
# What is talked of in between in a conversation, and what is said to it.
ASIDES = (
    ("How can I keep cut roses fresh for longer?", "Cut the stems at an angle and change the water every day."),
    (
        "Why do my windows fog up in the morning?",
        "Warm, moist air meets the cold glass, and its water condenses there.",
    ),
    (
        "Is it better to peel carrots or to scrub them?",
        "Scrubbing is enough while they are young and the peel is thin.",
    ),
    ("What rhymes with light?", "Night, bright and kite all rhyme with it."),
    ("How often should I sharpen kitchen knives?", "Every few months, and more often if you cook daily."),
    ("What makes bread rise?", "Yeast makes gas, and the bubbles lift the dough."),
    ("Can I put wooden boards into the dishwasher?", "Better not: heat and water make them crack."),
    ("Do plants grow faster if you talk to them?", "There is little proof, but it does no harm."),
    ("Why does my radiator gurgle?", "There is air in it, which you can let out with the small valve."),
    ("What is a polite way to leave a party early?", "Thank the host, say that you had a good time, and go."),
    ("Which side of foil should face the food?", "Both sides do the same."),
    ("How do I get chewing gum out of a rug?", "Freeze it with ice cubes and break it off."),
    ("Why do onions make us cry?", "Cutting them sets a gas free that stings."),
    ("Should new jeans be washed before wearing?", "It is a good idea, since the dye may rub off."),
    ("How can I fall asleep sooner?", "A dark, cool bedroom and a fixed hour help most people."),
    ("Why is my bread always dry?", "It may be baked too long, or there is too little liquid in the dough."),
    ("Does rice need rinsing?", "Rinse it until the water stays clear if you like it loose."),
    ("My scarf smells of smoke, what helps?", "Hang it in fresh, damp air overnight."),
)


TOWNS = vocabulary(
    "Ballymena Cuxhaven Esbjerg Duluth Kendal Obidos Quimper Roskilde Sligo Tulln Umea Wexford Yeovil Zwolle Alnwick "
    "Bregenz Castlebar Drogheda Egersund Falmouth Gijon Hexham Imatra Jesolo Kirkwall Lugano Morlaix Nafplio"
)
WEATHERS = phrases(
    "drizzling softly; freezing hard; terribly humid; sunny again; foggy as ever; blowing a gale; thawing slowly; "
    "oddly warm; pitch dark already; raining sideways; misty along the shore; stormier than forecast"
)
DISHES = phrases(
    "lentil stew; pancakes with syrup; a huge pizza; stuffed peppers; noodle soup; fish pie; dumplings; "
    "leftover curry; rhubarb crumble; baked beans; a bowl of porridge; roast chestnuts; potato salad; cold rice pudding"
)
HOBBIES = phrases(
    "stamp auctions; vintage motorbikes; bird calls; crime novels; orchid breeding; folk dancing; model railways; "
    "mountain huts; radio plays; origami; cheap sailing courses; medieval recipes; astronomy clubs; brass bands; "
    "crossword championships; secondhand bookshops; wild swimming; puppet making"
)
TROUBLES = phrases(
    "the lift is out of order; our heating hums like a bee; somebody ate my sandwich; the wifi keeps dropping; "
    "a pigeon sits on the windowsill; my left shoe squeaks; the neighbours argue about parking; the kettle leaks; "
    "half of our street has no power; my glasses are scratched; the printer jams whenever I sneeze; "
    "a fly circles the lampshade; the curtains refuse to close; everybody here has a cold"
)
INTROS = tuple(row[0] for row in material("intros"))
FRAMES = (
    "Greetings from {town}, where it is {weather} and {trouble}.",
    "{Who} has been busy {doing}, and supper will be {dish}.",
    "With {dish} in the oven and {who} {doing}, I finally have time to write.",
    "Outside it is {weather}; in here {trouble}.",
    "I sit on a bench in {town} because {trouble}.",
    "Yesterday {who} talked of nothing but {hobby} and {hobby2}.",
    "{Who} once became famous in {town} for {doing}.",
    "Please excuse typing mistakes: {trouble}, besides, I am {doing}.",
    "My week so far: {hobby}, {dish}, and much too much of {doing}.",
    "You should know that {who} lives for {hobby} and hates {doing}.",
    "It is {weather} in {town}, so {who} stays at home with {dish}.",
    "{Doing} is hard work, as {who} found out, especially when {trouble}.",
    "Between {dish} and {hobby} something came up.",
    "Our club for {hobby} met in {town} although {trouble}.",
    "Sorry for the late message, {who} dragged me to a fair about {hobby}, and now {trouble}.",
    "Half asleep after {doing}, I dreamt of {dish}.",
    "There was {dish} for everybody in {town} while {who} told stories about {hobby}.",
    "If {trouble} once more, I will leave for {town} and take up {hobby}.",
    "Imagine: {who}, {weather} or not, goes on {doing}.",
    "{Trouble}, it is {weather}, and yet {who} keeps smiling.",
)


def _words(rng: random.Random) -> dict[str, str]:
    hobby, hobby2 = rng.sample(HOBBIES, 2)
    relations, names = rng.choice(PEOPLE)
    words = {
        "who": f"{rng.choice(relations)} {rng.choice(names)}",
        "doing": rng.choice(DOINGS),
        "town": rng.choice(TOWNS),
        "weather": rng.choice(WEATHERS),
        "dish": rng.choice(DISHES),
        "hobby": hobby,
        "hobby2": hobby2,
        "trouble": rng.choice(TROUBLES),
    }
    return words | {
        name.capitalize(): f"{words[name][0].upper()}{words[name][1:]}" for name in ("who", "doing", "trouble")
    }


def scene(rng: random.Random) -> Mapping[str, str]:
    """Words for the slots that every wording may have.

    `who`, `Who`, `doing` and `Doing`; `intro`, a few words in front of a short question; `scene` and `scene2`, a
    sentence each on something else; `aside` and `reply`, a question on something else and its answer.
    """
    words = _words(rng)
    first, second = rng.sample(FRAMES, 2)
    aside, reply = rng.choice(ASIDES)
    return {
        **{name: words[name] for name in ("who", "Who", "doing", "Doing")},
        "intro": rng.choice(INTROS),
        "scene": first.format(**_words(rng)),
        "scene2": second.format(**_words(rng)),
        "aside": aside,
        "reply": reply,
    }
