"""Topics with the words that show that a text is about them, and true sentences on each."""

from __future__ import annotations

TOPICS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    (
        "honey bees",
        ("bee", "honey", "hive", "pollen", "nectar"),
        (
            "Honey bees live together in large hives.",
            "They fly from flower to flower and collect nectar.",
            "In the hive the nectar slowly turns into honey.",
            "Many plants need bees to carry their pollen.",
        ),
    ),
    (
        "the moon",
        ("moon", "lunar", "crater"),
        (
            "The moon travels around the earth about once a month.",
            "It does not shine by itself but reflects the light of the sun.",
            "Its surface is covered with craters and grey dust.",
            "People walked on the moon for the first time in 1969.",
        ),
    ),
    (
        "public libraries",
        ("librar", "book", "read", "borrow"),
        (
            "A public library lends books to everybody who lives nearby.",
            "Many people also go there to read or study in peace.",
            "Children can listen to stories and meet their friends.",
            "Most libraries ask very little money for all of this.",
        ),
    ),
    (
        "bread",
        ("bread", "flour", "dough", "bak", "loaf", "loaves"),
        (
            "Bread is made from flour, water, salt and often yeast.",
            "The baker kneads the dough and lets it rest in a warm place.",
            "Then the loaf goes into a hot oven until its crust is brown.",
            "Fresh bread tastes best while it is still a little warm.",
        ),
    ),
    (
        "snow",
        ("snow", "flake", "ice", "winter", "crystal"),
        (
            "Snow falls when water vapour freezes high up in cold clouds.",
            "Every flake is a small crystal of ice with six arms.",
            "A thick layer of snow makes the whole landscape quiet.",
            "Children use it to build snowmen and to ride their sledges.",
        ),
    ),
    (
        "bicycles",
        ("bicycle", "bike", "cycl", "pedal", "wheel"),
        (
            "A bicycle has two wheels and is moved by the rider's legs.",
            "It is cheap, quiet and does not need any fuel.",
            "In many towns a cyclist is faster than a car.",
            "Good brakes and bright lights make the ride safer.",
        ),
    ),
    (
        "elephants",
        ("elephant", "trunk", "tusk", "herd"),
        (
            "Elephants are the largest animals that live on land.",
            "They use their long trunks to drink, to smell and to lift things.",
            "A herd is usually led by an old and experienced female.",
            "Elephants eat grass, leaves, bark and fruit for most of the day.",
        ),
    ),
    (
        "rain",
        ("rain", "drop", "cloud", "umbrella", "water"),
        (
            "Rain falls when the drops in a cloud become too heavy to float.",
            "It fills the rivers and gives water to all plants.",
            "On a rainy day many people carry an umbrella.",
            "After the rain the air often smells fresh and clean.",
        ),
    ),
    (
        "the sea",
        ("sea", "ocean", "wave", "salt", "tide"),
        (
            "The sea covers more than two thirds of the earth.",
            "Its water is salty, so nobody can drink it.",
            "Wind pushes the surface and makes waves of every size.",
            "Countless fish and plants live in the sea.",
        ),
    ),
    (
        "tea",
        ("tea", "leaves", "cup", "drink", "brew"),
        (
            "Tea is made by pouring hot water over dried leaves.",
            "Some people drink it with milk, others with lemon or sugar.",
            "Green and black tea come from the same plant.",
            "A warm cup of tea is welcome on a cold afternoon.",
        ),
    ),
    (
        "volcanoes",
        ("volcan", "lava", "erupt", "magma", "ash"),
        (
            "A volcano is an opening through which hot rock leaves the earth.",
            "During an eruption lava and ash come out of it.",
            "Some volcanoes sleep for hundreds of years.",
            "The soil around an old volcano is often very fertile.",
        ),
    ),
    (
        "trains",
        ("train", "rail", "track", "station", "passenger", "carriage"),
        (
            "Trains run on rails and carry many passengers at once.",
            "Most modern trains are driven by electric motors.",
            "People get on and off at stations along the track.",
            "A long journey by train leaves time to read or to sleep.",
        ),
    ),
    (
        "owls",
        ("owl", "night", "feather", "hunt", "bird"),
        (
            "Owls are birds that hunt mostly at night.",
            "Their soft feathers let them fly without a sound.",
            "With their large eyes they see well in the dark.",
            "An owl can turn its head very far around.",
        ),
    ),
    (
        "potatoes",
        ("potato", "fries", "tuber", "mash", "starch"),
        (
            "Potatoes grow under the ground and were first farmed in South America.",
            "You can boil, bake or fry them.",
            "They are cheap and keep well in a dark and cool room.",
            "Green potatoes should not be eaten.",
        ),
    ),
)
