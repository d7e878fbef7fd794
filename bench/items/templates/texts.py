"""Labels for short texts, and what a short text says."""

from __future__ import annotations

import random

from bench.items.templates import Draft, Maker, claim_draft, vocabulary

REVIEWS = (
    ("positive", "The room was spotless and the staff smiled all day. We will come back."),
    ("negative", "My soup was cold, the waiter was rude, and the bill was wrong."),
    ("positive", "Best headphones I have ever owned, worth every cent."),
    ("negative", "It broke after two days and nobody answers my mails."),
    ("positive", "A charming film; my whole family laughed and cried."),
    ("negative", "Dull from start to finish, I nearly fell asleep."),
    ("positive", "Fast delivery, lovely wrapping, and the cake tasted wonderful."),
    ("negative", "The zip jammed at once and the colour washed out. What a waste."),
    ("positive", "Our guide was patient and knew every stone in the town."),
    ("negative", "Terrible noise all night, and mould on the bathroom wall."),
    ("positive", "I finally sleep well again, thanks to this pillow."),
    ("negative", "The app crashes whenever I open it and has lost my photos."),
    ("positive", "Great value, and the battery lasts for days."),
    ("negative", "Overpriced, tiny portions, and we waited for an hour."),
)
MAILS = (
    ("spam", "CONGRATULATIONS!!! You won a free cruise. Click the link and enter your card number NOW."),
    ("personal", "Hi Grandpa, thanks for the book. Shall I visit you on Saturday?"),
    ("spam", "Dear customer, send us your password within 24 hours or your account is lost."),
    ("personal", "Ben, I left your keys with the neighbour. See you tonight, Mum."),
    ("spam", "Make 5000 dollars a week from home without any work! Offer ends today!"),
    ("personal", "Could you bring a salad to our barbecue? We are so looking forward to seeing you."),
    ("spam", "Miracle pill melts fat overnight. Doctors hate it. Order here!!!"),
    ("personal", "Happy birthday, dear Eva! I hope you like the scarf that I knitted."),
    ("spam", "A prince wishes to share his millions with you. Just pay a small fee first."),
    ("personal", "I am on the train and will be half an hour late. Start eating without me."),
    ("spam", "You have been selected! Claim your gift card at this link before midnight."),
    ("personal", "The baby is here, we are all well. Photos will follow. Love, Ines."),
    ("spam", "Cheap watches, 95% off, only today, buy buy buy!"),
    ("personal", "Sorry about yesterday. Can we talk over a coffee this week?"),
)
HEADLINES = (
    ("sports", "Late goal sends the home side into the final"),
    ("weather", "Heavy snow and icy winds expected in the north on Thursday"),
    ("cooking", "Five tricks for a crust that stays crisp"),
    ("politics", "Parliament votes on new tax law after long debate"),
    ("sports", "Young sprinter breaks national record over 100 metres"),
    ("weather", "Heat wave to end with thunderstorms this weekend"),
    ("cooking", "How to simmer a stew without burning the onions"),
    ("politics", "Minister resigns three weeks before the election"),
    ("sports", "Coach fired after seven lost matches in a row"),
    ("weather", "Fog on the coast will lift by noon"),
    ("cooking", "Fold the egg whites in gently and bake for an hour"),
    ("politics", "Mayor and council argue over the budget"),
    ("sports", "Tennis star withdraws with an injured knee"),
    ("weather", "Mild and dry with long sunny spells"),
)
UTTERANCES = (
    ("question", "Where did you park the van"),
    ("command", "Close the gate behind you"),
    ("statement", "The river is higher than last year"),
    ("question", "Why is the ceiling wet"),
    ("command", "Bring me the longest rope"),
    ("statement", "My cousin collects old maps"),
    ("question", "Who left the oven on"),
    ("command", "Do not touch the wet paint"),
    ("statement", "We have been waiting since nine"),
    ("question", "When does the ferry leave"),
    ("command", "Hand in your essays by Friday"),
    ("statement", "Their new puppy sleeps in a basket"),
    ("question", "How deep is the well"),
    ("command", "Turn left after the chapel"),
)
PEOPLE = vocabulary("Amira Bruno Celine Dario Edith Farid Gwen Henrik Isla Jorge Kira Liam Mona Nadia Otto Petra")
PLACES = vocabulary("library harbour castle museum station bakery stadium theatre")
DAYS = vocabulary("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
TASKS = ("water the plants", "order the cake", "book the hall", "print the tickets", "feed the cat", "paint the sign")


def _labels(form: str, rows: tuple[tuple[str, str], ...], labels: tuple[str, ...], lead: str) -> Maker:
    def make(rng: random.Random) -> list[Draft]:
        drafts = []
        for label, text in rows:
            wrong = [other for other in labels if other != label]
            rng.shuffle(wrong)
            drafts.append(claim_draft(form.format(text), [label], wrong, lead))
        return drafts

    return make


def who_did(rng: random.Random) -> list[Draft]:
    """Which of three people has a task."""
    drafts = []
    for number in range(15):
        people, tasks = rng.sample(PEOPLE, 3), rng.sample(TASKS, 3)
        said = f"{people[0]} will {tasks[0]}, {people[1]} has to {tasks[1]}, and {people[2]} is going to {tasks[2]}."
        place = number % 3
        text = f"{said} Which person has been asked to {tasks[place]}?"
        rivals = [who for who in people if who != people[place]]
        drafts.append(claim_draft(text, [people[place]], rivals, "The person who was asked is"))
    return drafts


def weekday(rng: random.Random) -> list[Draft]:
    """On which day something takes place."""
    drafts = []
    for number in range(15):
        days, places = rng.sample(DAYS, 3), rng.sample(PLACES, 3)
        said = "\n".join(f"{day}: trip to the {place}" for day, place in zip(days, places, strict=True))
        which = number % 3
        text = f"Our holiday plan:\n{said}\n\nAccording to the plan, when do we go to the {places[which]}?"
        rivals = [day for day in days if day != days[which]] + [d for d in DAYS if d not in days]
        drafts.append(claim_draft(text, [days[which]], rivals, f"The trip to the {places[which]} is on"))
    return drafts


def price(rng: random.Random) -> list[Draft]:
    """What one of three things costs."""
    goods = vocabulary("stapler teapot ladder carpet toaster helmet blanket fan")
    drafts = []
    for number in range(15):
        things, prices = rng.sample(goods, 3), rng.sample(range(11, 90), 3)
        said = ", ".join(f"{thing} {cost} euros" for thing, cost in zip(things, prices, strict=True))
        which = number % 3
        text = f"From a price list: {said}. Look up the {things[which]} and tell me its price."
        others = [str(cost) for cost in prices if cost != prices[which]]
        drafts.append(claim_draft(text, [str(prices[which])], others, f"The {things[which]} costs"))
    return drafts


def contact(rng: random.Random) -> list[Draft]:
    """The mail address of one of two people."""
    drafts = []
    for number in range(15):
        first, second = rng.sample(PEOPLE, 2)
        place = PLACES[number % len(PLACES)]
        mails = [f"{who.lower()}{rng.randint(10, 99)}@{place}.example" for who in (first, second)]
        which = number % 2
        text = (
            f"For lost keys write to {first} ({mails[0]}); for anything about parking, {second} can be reached at "
            f"{mails[1]}. Copy out the address for questions about {('lost keys', 'parking')[which]}."
        )
        drafts.append(claim_draft(text, [mails[which]], [mails[1 - which]], "The address is"))
    return drafts


CLASSIFICATION: dict[str, Maker] = {
    "review": _labels(
        "Is the tone of this review positive or negative? {}", REVIEWS, ("positive", "negative"), "The tone is"
    ),
    "mail": _labels(
        "Label the following mail as either spam or personal.\n\n{}", MAILS, ("spam", "personal"), "This mail is"
    ),
    "headline": _labels(
        "Pick one section for this headline (sports, weather, cooking, politics): {}",
        HEADLINES,
        ("sports", "weather", "cooking", "politics"),
        "It belongs in the section",
    ),
    "utterance": _labels(
        "Somebody says, without punctuation: {}. Decide between question, command and statement.",
        UTTERANCES,
        ("question", "command", "statement"),
        "These words are a",
    ),
}
EXTRACTION: dict[str, Maker] = {"who_did": who_did, "weekday": weekday, "price": price, "contact": contact}
