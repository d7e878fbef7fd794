"""Lists of k members of a category, in a layout."""

from __future__ import annotations

import random
from typing import Any

from bench.items.templates import Filling, Source, vocabulary

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
    "flowers": vocabulary(
        "rose tulip daisy lily orchid daffodil sunflower violet carnation poppy peony dahlia lavender marigold iris "
        "hyacinth crocus geranium petunia begonia lilac jasmine hydrangea snowdrop primrose chrysanthemum magnolia "
        "hibiscus pansy azalea gladiolus lotus buttercup dandelion anemone lilies daisies"
    ),
    "birds": vocabulary(
        "eagle owl robin sparrow pigeon crow raven swan duck stork heron falcon parrot penguin goose hawk seagull gull "
        "blackbird thrush magpie woodpecker kingfisher finch canary swallow ostrich peacock turkey chicken hen rooster "
        "flamingo pelican vulture dove hummingbird cuckoo nightingale starling wren pheasant quail emu albatross jay "
        "cardinal bluebird toucan cockatoo lark"
    ),
    "drinks": (
        *vocabulary(
            "water tea coffee milk juice lemonade beer wine cocoa cider cola smoothie whisky champagne rum vodka gin "
            "soda espresso cappuccino latte milkshake brandy punch kefir squash ale tonic coke latte mocha"
        ),
        "orange juice",
        "apple juice",
        "hot chocolate",
        "ginger ale",
    ),
    "vehicles": (
        *vocabulary(
            "car bicycle train truck tram van tractor motorcycle scooter lorry taxi boat ship helicopter airplane "
            "plane ferry yacht bike ambulance coach minibus aeroplane submarine wagon carriage sledge subway metro "
            "canoe moped motorbike bus buses jeep caravan trolleybus"
        ),
        "fire engine",
    ),
    "insects": vocabulary(
        "ant bee wasp butterfly moth beetle fly mosquito grasshopper dragonfly ladybird ladybug cricket cockroach "
        "hornet flea louse termite earwig mantis firefly locust bumblebee bumblebees cicada midge gnat aphid weevil "
        "flies butterflies dragonflies lice bug"
    ),
    "school subjects": (
        *vocabulary(
            "history geography biology chemistry music art french german latin drama english spanish science algebra "
            "geometry religion philosophy literature computing sport gymnastics maths mathematics physics math "
            "sociology psychology reading writing grammar calculus astronomy pe"
        ),
        "physical education",
        "computer science",
        "social studies",
    ),
    "Asian countries": (
        *vocabulary(
            "Japan China India Nepal Thailand Vietnam Mongolia Pakistan Iran Iraq Malaysia Cambodia Indonesia Israel "
            "Laos Myanmar Bangladesh Afghanistan Bhutan Jordan Lebanon Syria Oman Yemen Qatar Kuwait Bahrain Singapore "
            "Taiwan Kazakhstan Uzbekistan Turkmenistan Tajikistan Kyrgyzstan Georgia Armenia Azerbaijan Brunei Turkey "
            "Russia Maldives Philippines Korea Burma"
        ),
        "South Korea",
        "North Korea",
        "Sri Lanka",
        "Saudi Arabia",
        "United Arab Emirates",
        "East Timor",
        "Hong Kong",
    ),
    "spices and herbs": (
        *vocabulary(
            "pepper cinnamon nutmeg ginger paprika saffron cumin turmeric basil oregano thyme rosemary parsley mint "
            "sage dill clove coriander cilantro vanilla chilli chili cardamom curry fennel marjoram tarragon anise "
            "mustard garlic sumac caraway lavender salt bay"
        ),
        "star anise",
        "bay leaf",
    ),
    "tools of a workshop": (
        *vocabulary(
            "hammer saw drill wrench chisel file plane axe ruler clamp spanner mallet screwdriver pincer sander vice "
            "crowbar shovel spade rake hatchet knife level lathe pliers scissors vise rasp hacksaw jigsaw awl trowel "
            "tongs anvil"
        ),
        "spirit level",
        "tape measure",
        "utility knife",
    ),
    "things to write or draw with": (
        *vocabulary(
            "pen pencil chalk crayon brush marker quill ballpoint biro highlighter charcoal pastel typewriter keyboard "
            "stylus ink watercolour watercolor paintbrush paint felt-tip brushes computer finger stick"
        ),
        "fountain pen",
        "felt pen",
        "coloured pencil",
    ),
}
NUMERALS = {3: "three", 4: "four", 5: "five", 6: "six", 7: "seven"}


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


def _source(layout: str) -> Source:
    def make(rng: random.Random) -> list[Filling]:
        found = []
        for category in sorted(CATEGORIES):
            for k in range(3, 8):
                facts = list_facts(rng, category, k, layout)
                slots = {"k": NUMERALS[k], "digit": f"{k}", "what": category}
                found.append(Filling(category, slots, laid_out(facts["drawn"][:k], layout), facts))
        return found

    return make


LIST_OF_K: dict[str, Source] = {name: _source(name) for name in ("numbered", "bullets", "commas", "lines")}
