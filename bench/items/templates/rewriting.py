"""Sentences that are rewritten under a rule."""

from __future__ import annotations

import random

from bench.items.templates import Filling, Source, phrases, table, vocabulary

N = 96
PAST = table(
    """
    Maria walks to the market and buys two lemons. | Maria walked to the market and bought two lemons.
    My uncle drives a blue van and sings loudly. | My uncle drove a blue van and sang loudly.
    The children eat soup and drink cold milk. | The children ate soup and drank cold milk.
    Our neighbour writes long letters to her son. | Our neighbour wrote long letters to her son.
    The thief runs away and leaves his coat. | The thief ran away and left his coat.
    A small boat comes into the harbour. | A small boat came into the harbour.
    He gives me a map and shows me the road. | He gave me a map and showed me the road.
    The bell rings and the pupils stand up. | The bell rang and the pupils stood up.
    She takes the last bus and sleeps at home. | She took the last bus and slept at home.
    The gardener cuts flowers and sells them. | The gardener cut flowers and sold them.
    Two owls sit on the fence and watch us. | Two owls sat on the fence and watched us.
    The king wears a crown and speaks slowly. | The king wore a crown and spoke slowly.
    I know the answer but say nothing. | I knew the answer but said nothing.
    The lake freezes and the wind blows hard. | The lake froze and the wind blew hard.
    My sister teaches maths and has a dog. | My sister taught maths and had a dog.
    Dad finds his keys and opens the cellar. | Dad found his keys and opened the cellar.
    The storm begins at noon and breaks three trees. | The storm began at noon and broke three trees.
    Somebody steals the bell and hides it in a barn. | Somebody stole the bell and hid it in a barn.
    The swimmers feel tired but swim on. | The swimmers felt tired but swam on.
    Lisa draws a horse and throws the pencil away. | Lisa drew a horse and threw the pencil away.
    The guests bring cake and stay until midnight. | The guests brought cake and stayed until midnight.
    An old man falls on the ice and hurts his knee. | An old man fell on the ice and hurt his knee.
    The crew flies to Oslo and meets the new captain. | The crew flew to Oslo and met the new captain.
    They build a hut and dig a deep well. | They built a hut and dug a deep well.
    The baby wakes at six and cries for an hour. | The baby woke at six and cried for an hour.
    My cat catches a mouse and eats it. | My cat caught a mouse and ate it.
    You forget my name and call me Peter. | You forgot my name and called me Peter.
    The tourists choose a boat and pay too much. | The tourists chose a boat and paid too much.
    The sun rises and the birds fly south. | The sun rose and the birds flew south.
    The boys become friends and go to sea. | The boys became friends and went to sea.
    We hear music and think of home. | We heard music and thought of home.
    The dog bites the postman and hides. | The dog bit the postman and hid.
    The teacher reads a poem and asks for silence. | The teacher read a poem and asked for silence.
    Her tea gets cold and she makes another pot. | Her tea got cold and she made another pot.
    The pirates sink two ships and keep the gold. | The pirates sank two ships and kept the gold.
    The skier wins a medal and shakes many hands. | The skier won a medal and shook many hands.
    """
)
NAMES = vocabulary("Tom Laura Peter Julia Nina Oscar Hannah Simon Clara Victor Paula Ralf")
PLACES = vocabulary("Paris Vienna Berlin Africa Dublin Madrid Prague Iceland Athens Sicily")
DEEDS = phrases(
    """
    found three keys behind a green door; bought seven red balloons; painted the old fence; opened a tiny workshop
    repaired clocks for a choir; sold warm pretzels at the station; lost a pair of glasses on a ferry
    planted beans along the wall; sang in a church by the river; kept the best plates in a trunk
    waited for the last train; taught Dutch to a dozen pupils; slept under a table; baked bread for a whole village
    """
)
TIMES = vocabulary("Monday Tuesday April March June Friday Sunday October")
# what is replaced, by what, and a sentence that has it twice
SWAPS = table(
    """
    Tom | Laura | Yesterday Tom lost a glove, and Tom still looks for it.
    Rome | Cairo | We flew to Rome because the museums of Rome are famous.
    horse | camel | The horse was thirsty, so the farmer led the horse to the well.
    tea | coffee | My aunt drinks tea at noon and tea again at night.
    river | road | Along the river stood houses, and behind the river rose a hill.
    piano | guitar | He sold his piano since nobody played the piano any more.
    Monday | Friday | The shop is closed on Monday, so do not come on Monday.
    soup | salad | The soup was too salty, but we finished the soup.
    Nina | Oscar | Nina called a taxi, then Nina waited at the gate.
    blue | yellow | She wore a blue scarf and carried a blue bag.
    train | ship | The train was late, and the next train was full.
    doctor | plumber | A doctor lives upstairs, and his wife is a doctor as well.
    winter | summer | Last winter was mild, but this winter feels endless.
    apples | onions | Take five apples from the basket and peel the apples.
    window | door | Close the window at night because the window rattles in the wind.
    dog | goat | The dog barked until another dog answered from the hill.
    Sunday | Thursday | Every Sunday we cook together, and this Sunday it is your turn.
    violin | harp | The violin is older than the girl who plays the violin.
    garden | balcony | Our garden is small, yet the garden is full of bees.
    letters | parcels | The postman lost two letters and found three other letters.
    cold | hot | It was a cold day, and the tea was cold as well.
    bridge | tunnel | The old bridge is closed, so everybody uses the new bridge.
    sister | brother | My sister is taller than your sister.
    bread | rice | There was bread for lunch, and for dinner there was bread again.
    castle | museum | The castle opens at ten, and the tours of the castle begin at eleven.
    red | white | Paint the gate red, but do not use the red from last year.
    king | pilot | Once a king met another king on a narrow path.
    lake | desert | They crossed the lake by night and rested behind the lake.
    carpet | mirror | The carpet costs more than the carpet in the hall.
    Anna | Felix | If Anna is late again, begin without Anna.
    milk | juice | The milk is in the fridge, unless the children drank the milk.
    chess | tennis | People who love chess often talk about nothing but chess.
    teacher | sailor | Our teacher told us what a teacher earns.
    boat | kite | His boat was red, and her boat was striped.
    Berlin | Prague | From Berlin one can see little of what Berlin once was.
    candle | lantern | Light the candle first, then carry the candle upstairs.
    """
)
FRONTS = phrases(
    "Yesterday; In June; After lunch; On Sundays; Last week; Before dinner; Without a word; At the station; Long ago; "
    "On the third day; For no reason; In the end; During the storm; After the concert; At dawn; Behind the mill; "
    "With great care; To our surprise; Twice a year; In this heat; Under the old bridge; By mistake"
)
CLAUSES = phrases(
    """
    we visited the castle; my parents sold their flat; the twins played chess; the bakery closed its doors
    the painters brought their ladders; the foxes searched the bins; three old lamps fell down; Mr Lee fed the pigeons
    the mayor danced with a firefighter; she watered the herbs; my phone rang twice; the guests left the room
    I met my old teacher; nobody noticed the missing spoon; the bus driver told a long joke; a stranger gave us apples
    our team scored four goals; the librarian sneezed loudly; they repaired the broken swing; the choir sang too fast
    two geese blocked the road; the waiter dropped a tray; my brother burnt the pancakes; the lights went out
    the judge ate a sandwich; half of the audience fell asleep; the goat climbed onto the roof; everybody wore a hat
    the clock struck thirteen; a letter arrived from Peru; the cook added more salt; his umbrella flew away
    """
)


def _rewrite(slots: dict[str, str], original: str, target: str, slip: str, cased: bool = False) -> Filling:
    facts = {
        "check": "rewrite",
        "targets": [target],
        "original": original,
        "cased": cased,
        "lead": "Here is the sentence:",
        "slip": slip,
    }
    return Filling(original, {"text": original, **slots}, target, facts)


def _half(now: str, then: str) -> str:
    """A sentence of which only a part has been changed."""
    for word in (" and ", " but "):
        front, parting, _ = now.partition(word)
        if parting:
            return front + parting + then.partition(word)[2]
    return " ".join(then.split()[:-1]) + " there."


def past_tense(rng: random.Random) -> list[Filling]:
    """A sentence in the past tense."""
    del rng
    return [_rewrite({}, now, then, _half(now, then)) for now, then in PAST]


def _line(rng: random.Random) -> str:
    who, deed, place, time = (rng.choice(words) for words in (NAMES, DEEDS, PLACES, TIMES))
    return f"In {time} {who} {deed} in {place}."


def capitals(rng: random.Random) -> list[Filling]:
    """A sentence in capitals."""
    lines = sorted({_line(rng) for _ in range(N)})
    return [_rewrite({}, line, line.upper(), line.title(), True) for line in lines]


def small(rng: random.Random) -> list[Filling]:
    """A sentence without any capital."""
    lines = sorted({_line(rng).title() for _ in range(N)})
    return [_rewrite({}, line, line.lower(), line.capitalize(), True) for line in lines]


def swap_word(rng: random.Random) -> list[Filling]:
    """A sentence with one word replaced throughout."""
    del rng
    return [
        _rewrite({"old": old, "new": new}, text, text.replace(old, new), text.replace(old, new, 1))
        for old, new, text in SWAPS
    ]


def begin_with(rng: random.Random) -> list[Filling]:
    """A sentence with its parts in another order."""
    found = []
    for clause in CLAUSES:
        for front in rng.sample(FRONTS, 3):
            text = f"{clause[0].upper()}{clause[1:]} {front[0].lower()}{front[1:]}."
            text = text.replace(" in june", " in June").replace(" on sundays", " on Sundays")
            target = f"{front} {clause}."
            filling = _rewrite({"front": front}, text, target, " ".join(target.split()[:-1]) + ".")
            found.append(Filling(clause, filling.slots, filling.reference, filling.facts))
    return found


REWRITING: dict[str, Source] = {
    "past": past_tense,
    "capitals": capitals,
    "small": small,
    "swap": swap_word,
    "begin": begin_with,
}
