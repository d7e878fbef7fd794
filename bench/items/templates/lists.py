"""Lists of k members of a category, in a layout."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from bench.items.templates import Draft, Maker, vocabulary

CATEGORIES: dict[str, tuple[str, ...]] = {
    "fruits": vocabulary(
        "apple banana orange pear grape strawberry blueberry raspberry cherry peach plum apricot mango "
        "pineapple kiwi melon watermelon lemon lime grapefruit fig papaya pomegranate coconut blackberry "
        "blackberries cranberry cranberries nectarine mandarin tangerine guava lychee cantaloupe "
        "passionfruit berry berries currant gooseberry quince persimmon clementine strawberries "
        "blueberries raspberries cherries date avocado tomato"
    ),
    "vegetables": vocabulary(
        "carrot potato onion cucumber lettuce spinach cabbage broccoli cauliflower pea bean garlic leek "
        "celery radish radishes beetroot beet turnip pumpkin courgette zucchini aubergine eggplant kale "
        "corn asparagus parsnip mushroom artichoke sprout fennel chard squash okra swede yam rocket "
        "maize potatoes tomato tomatoes pepper"
    ),
    "colours": vocabulary(
        "red blue green yellow orange purple pink brown black white grey violet turquoise indigo beige "
        "cyan magenta maroon navy teal lavender crimson scarlet cream olive lilac amber ivory tan peach "
        "gray gold silver"
    ),
    "animals": vocabulary(
        "dog cat horse cow pig sheep goat lion tiger bear elephant giraffe zebra monkey fox wolf rabbit "
        "hare deer mouse rat squirrel hedgehog badger otter whale dolphin shark fish eagle owl hawk duck "
        "goose swan chicken penguin parrot snake lizard frog toad turtle tortoise crocodile camel "
        "kangaroo koala panda hippo hippopotamus rhino rhinoceros leopard cheetah gorilla chimpanzee "
        "donkey seal bee ant spider butterfly bat octopus alligator moose buffalo hamster crab salmon "
        "pigeon sparrow robin raccoon sloth jaguar foxes wolves mice hen"
    ),
    "musical instruments": (
        *vocabulary(
            "piano guitar violin drum flute trumpet saxophone clarinet cello harp trombone tuba oboe bassoon "
            "viola banjo "
            "accordion organ ukulele mandolin xylophone harmonica recorder keyboard bass horn percussion cymbal "
            "triangle "
            "tambourine lute bagpipe lyre sitar marimba bugle piccolo synthesizer"
        ),
        "double bass",
        "french horn",
    ),
    "sports": (
        *vocabulary(
            "football tennis basketball volleyball baseball hockey cricket rugby golf swimming running "
            "cycling rowing boxing skiing skating athletics gymnastics badminton handball judo karate "
            "wrestling fencing archery surfing sailing diving climbing softball snowboarding squash polo "
            "lacrosse bowling curling triathlon weightlifting track netball biking soccer"
        ),
        "table tennis",
        "ice hockey",
        "water polo",
    ),
    "European countries": (
        *vocabulary(
            "France Germany Italy Spain Portugal Austria Switzerland Belgium Netherlands Luxembourg Denmark "
            "Sweden Norway "
            "Finland Iceland Ireland Poland Czechia Slovakia Hungary Romania Bulgaria Greece Croatia Serbia Slovenia "
            "Estonia Latvia Lithuania Ukraine Belarus Moldova Albania Malta Cyprus Monaco Andorra Montenegro Kosovo "
            "England Scotland Wales Russia Turkey Liechtenstein"
        ),
        "United Kingdom",
        "UK",
        "Great Britain",
        "Czech Republic",
        "San Marino",
        "North Macedonia",
        "Bosnia",
    ),
    "pieces of furniture": (
        *vocabulary(
            "table chair sofa bed desk wardrobe bookcase bookshelf shelf cupboard cabinet dresser armchair "
            "stool bench nightstand ottoman chest sideboard lamp mattress recliner crib loveseat futon hutch "
            "vanity mirror couch shelves drawer closet"
        ),
        "coffee table",
        "bedside table",
        "tv stand",
    ),
    "items of clothing": vocabulary(
        "shirt trousers jacket coat dress skirt sweater hat cap scarf scarves glove sock shoe boot "
        "shorts blouse pullover cardigan suit tie belt pants hoodie underwear vest pyjamas pajamas "
        "tights t-shirt tshirt sandal bra robe leggings blazer sneaker tunic mittens dresses jumper jean"
    ),
    "kitchen tools": (
        *vocabulary(
            "knife spoon fork whisk ladle spatula pan pot peeler grater colander sieve bowl scissors blender "
            "mixer tongs strainer opener corkscrew saucepan skillet kettle toaster oven timer masher scale "
            "thermometer oven mitt juicer knives"
        ),
        "rolling pin",
        "cutting board",
        "chopping board",
        "measuring cup",
        "can opener",
    ),
    "jobs": (
        *vocabulary(
            "teacher doctor nurse baker farmer lawyer plumber engineer carpenter cook chef driver pilot writer artist "
            "musician actor scientist programmer dentist butcher tailor mechanic electrician firefighter policeman "
            "librarian journalist architect accountant gardener cashier waiter hairdresser painter builder "
            "pharmacist vet veterinarian judge soldier secretary manager banker singer designer developer"
        ),
        "police officer",
    ),
    "parts of the body": vocabulary(
        "head arm leg foot hand finger toe knee elbow shoulder neck eye ear nose mouth tongue hair chest "
        "stomach belly heart lung liver kidney brain skin ankle wrist hip thigh chin cheek forehead lip "
        "thumb face waist heel bone feet tooth teeth back"
    ),
    "trees": vocabulary(
        "oak pine birch maple beech willow ash fir spruce elm poplar cedar palm cherry chestnut walnut apple pear "
        "linden lime larch redwood sequoia cypress hazel alder olive magnolia eucalyptus yew holly hawthorn sycamore "
        "rowan juniper hickory aspen mahogany acacia baobab teak"
    ),
    "metals": vocabulary(
        "iron gold silver copper aluminium tin lead zinc nickel platinum titanium chromium cobalt "
        "magnesium sodium potassium calcium tungsten lithium uranium palladium manganese aluminum steel "
        "brass bronze mercury"
    ),
}
NUMERALS = {3: "three", 4: "four", 5: "five", 6: "six", 7: "seven"}
LAYOUTS: dict[str, tuple[tuple[str, str], ...]] = {
    "numbered": (
        ("Give me a numbered list of {k} {what}.", "numbered"),
        ("Which {what} do you know? Name {k} and number them from 1 to {digit}.", "numbered"),
    ),
    "bullets": (
        ("Make a bullet list with {k} {what}, one bullet for each.", "bullets"),
        ("I need {k} {what} for a slide. Put each behind its own bullet point.", "bullets"),
    ),
    "commas": (
        ("Name {k} {what} on a single line, separated by commas.", "commas"),
        ("I want {k} {what} in one row, with a comma between every two.", "commas"),
    ),
    "lines": (
        ("Write {k} {what}, each on a line of its own, without numbers.", "lines"),
        ("Which {k} {what} come to your mind? Start a new line for each of them.", "lines"),
    ),
}


def laid_out(names: list[str], layout: str) -> str:
    """Names as a list in a layout."""
    if layout == "numbered":
        return "\n".join(f"{number}. {name.capitalize()}" for number, name in enumerate(names, 1))
    if layout == "bullets":
        return "\n".join(f"- {name.capitalize()}" for name in names)
    return ", ".join(names) if layout == "commas" else "\n".join(name.capitalize() for name in names)


def list_facts(rng: random.Random, category: str, k: int, layout: str) -> dict[str, Any]:
    """The facts of a list: k members and a stranger are drawn for its planted answers."""
    members = CATEGORIES[category]
    strangers = [
        name
        for other, names in CATEGORIES.items()
        for name in names[:12]
        if other != category and name not in members and other in ("animals", "pieces of furniture", "metals", "jobs")
    ]
    return {
        "check": "list",
        "k": k,
        "layout": layout,
        "category": category,
        "members": list(members),
        "others": strangers,
        "drawn": rng.sample([name for name in members[:14] if not name.endswith("s")], k + 2),
        "slip": rng.choice(strangers),
        "lead": f"Here are {NUMERALS[k]} {category}:",
    }


def _template(name: str) -> Maker:
    def make(rng: random.Random) -> list[Draft]:
        drafts = []
        for number, category in enumerate(rng.sample(sorted(CATEGORIES), len(CATEGORIES))):
            form, layout = LAYOUTS[name][number % 2]
            k = rng.randint(3, 7) if category != "pieces of furniture" else rng.randint(3, 5)
            facts = list_facts(rng, category, k, layout)
            prompt = form.format(k=NUMERALS[k], digit=k, what=category)
            drafts.append(Draft(prompt, laid_out(facts["drawn"][:k], layout), facts))
        return drafts

    return make


LIST_OF_K: dict[str, Callable[[random.Random], list[Draft]]] = {name: _template(name) for name in LAYOUTS}
