"""Conversations in which a wish stated earlier has to be kept to, or has been changed since."""

from __future__ import annotations

import random
from typing import Any

from bench.items.templates import Draft, Maker, article, claim_draft, others
from bench.items.templates.facts import CAPITALS, CITIES
from bench.items.templates.languages import LANGUAGES, WORDS, rival_words, word_in
from bench.items.templates.lists import CATEGORIES, NUMERALS, laid_out, list_facts

N = 20
CLOSINGS = ("Over and out.", "Ahoy!", "That is all.", "Stay curious!", "Yours, Robin.", "Cheers!")
TITLES = ("Captain", "Professor", "Maestro", "Your Majesty", "Comrade", "Chief")
QUESTIONS: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    ("A ripe lemon has which colour?", "yellow", ("blue", "red", "purple", "green"), "A ripe lemon is"),
    ("Which animal gives us wool?", "sheep|lamb|goat|alpaca", ("crocodile", "hen", "shark", "frog"), "Wool comes from"),
    ("Which sweet food comes from a beehive?", "honey", ("butter", "bread", "cheese", "silk"), "It is called"),
    ("Which season comes after winter?", "spring|springtime", ("autumn", "summer"), "The season after winter is"),
    ("Water that has frozen goes by what short name?", "ice", ("steam", "sand", "wool"), "Frozen water is called"),
    ("Which planet do we live on?", "Earth", ("Mars", "Venus", "Jupiter", "Saturn"), "Our planet is called"),
    ("If water is not cold but quite the reverse, how is it?", "hot|warm", ("wet", "dry", "loud"), "Then the water is"),
    ("Our blood is kept moving by one strong organ. Which?", "heart", ("liver", "lung", "kidney"), "The organ is the"),
    ("Which bird cannot fly and lives in Antarctica?", "penguin|penguins", ("eagle", "owl", "swallow"), "It is the"),
    ("What do cows eat in a meadow?", "grass", ("meat", "fish", "stones"), "In a meadow cows eat"),
    ("What falls from the clouds when it is wet outside?", "rain", ("sand", "leaves", "coins"), "What falls down is"),
    ("Which month comes right after April?", "May", ("June", "March", "July"), "The month after April is"),
    (
        "Young dogs have a name of their own. Which?",
        "puppy|puppies|pup|pups",
        ("kitten", "calf", "foal"),
        "A young dog is a",
    ),
    ("What shape has three sides?", "triangle", ("square", "circle", "hexagon"), "That shape is called a"),
    ("Which meal do people eat in the morning?", "breakfast", ("dinner", "supper", "lunch"), "The morning meal is"),
    ("A caterpillar turns into which winged insect?", "butterfly|moth", ("spider", "worm"), "It becomes a"),
    ("With what small thing is a locked door opened?", "key", ("spoon", "pillow", "candle"), "You open it with a"),
    ("Which star gives us light by day?", "sun", ("moon", "Mars", "Sirius"), "That star is the"),
    ("Cooks crack the hard outer part of eggs. What is that part?", "shell|eggshell", ("yolk", "feather"), "It is the"),
    ("Which tool drives nails into wood?", "hammer", ("saw", "brush", "rake"), "That tool is a"),
)


def dressed(style: dict[str, Any], text: str) -> str:
    """A sentence in a style."""
    kind, value = style["kind"], style.get("value")
    if kind == "upper":
        return text.upper()
    if kind == "lower":
        return text.lower()
    if kind == "closing":
        return f"{text} {value}"
    if kind == "address":
        return f"{text.rstrip('.')}, {value}."
    return f"- {text}"


def _styled(question: tuple[str, str, tuple[str, ...], str], style: dict[str, Any], history: Any, ask: str) -> Draft:
    _, right, wrong, lead = question
    draft = claim_draft(ask, right.split("|"), list(wrong), lead, history)
    return Draft(ask, draft.reference, dict(draft.facts) | {"style": style}, history)


def _pair(rng: random.Random, number: int) -> tuple[Any, Any]:
    question = QUESTIONS[number]
    before = rng.choice([row for row in QUESTIONS if row is not question])
    return question, before


def _answer(question: tuple[str, str, tuple[str, ...], str]) -> str:
    return f"{question[3]} {question[1].split('|')[0]}."


def _preference(kind: str, wishes: tuple[str, ...], values: tuple[str | None, ...]) -> Maker:
    def make(rng: random.Random) -> list[Draft]:
        drafts = []
        for number in range(N):
            question, before = _pair(rng, number)
            value = values[number % len(values)]
            style = {"kind": kind, "value": value, "old": None}
            wish = wishes[number % len(wishes)].format(value)
            history = ((f"{wish} {before[0]}", dressed(style, _answer(before))),)
            drafts.append(_styled(question, style, history, question[0]))
        return drafts

    return make


def new_case(rng: random.Random) -> list[Draft]:
    """From capital letters to small ones, or back."""
    drafts = []
    for number in range(N):
        question, before = _pair(rng, number)
        old, new = ("upper", "lower") if number % 2 else ("lower", "upper")
        names = {"upper": "capital letters only", "lower": "small letters only"}
        style = {"kind": new, "value": None, "old": None}
        history = (
            (f"Until I say otherwise, use {names[old]}. {before[0]}", dressed({"kind": old}, _answer(before))),
            (f"I changed my mind: from here on, {names[new]}.", dressed(style, "All right.")),
        )
        drafts.append(_styled(question, style, history, question[0]))
    return drafts


def new_closing(rng: random.Random) -> list[Draft]:
    """From one closing phrase to another."""
    drafts = []
    for number in range(N):
        question, before = _pair(rng, number)
        old, new = rng.sample(CLOSINGS, 2)
        style = {"kind": "closing", "value": new, "old": old.rstrip(".!")}
        history = (
            (f'Finish every message with "{old}" {before[0]}', f"{_answer(before)} {old}"),
            (f'That gets boring. Finish your messages with "{new}" instead.', f"I will do so. {new}"),
        )
        drafts.append(_styled(question, style, history, f"Next one: {question[0]}"))
    return drafts


def new_number(rng: random.Random) -> list[Draft]:
    """From lists of one length to lists of another."""
    names = sorted(CATEGORIES)
    drafts = []
    for number in range(N):
        category, before = rng.sample(names, 2)
        old, new = rng.sample((3, 4, 5), 2)
        layout = ("bullets", "numbered")[number % 2]
        kind = {"bullets": "bullet", "numbered": "numbered"}[layout]
        earlier = list_facts(rng, before, old, layout)["drawn"][:old]
        facts = list_facts(rng, category, new, layout)
        history = (
            (
                f"Make {kind} lists with {NUMERALS[old]} entries for me. First topic: {before}.",
                laid_out(earlier, layout),
            ),
            (f"From now on I want {NUMERALS[new]} entries in each list.", f"Fine, {NUMERALS[new]} entries in each."),
        )
        forms = ("The next topic is {}.", "Go on with {}.", "Now take {}.")
        prompt = forms[number % 3].format(category)
        drafts.append(Draft(prompt, laid_out(facts["drawn"][:new], layout), facts, history))
    return drafts


def new_language(rng: random.Random) -> list[Draft]:
    """From one language to another."""
    drafts = []
    for number in range(N):
        row, other = WORDS[number], WORDS[(number + 5) % len(WORDS)]
        old, new = rng.sample(sorted(LANGUAGES), 2)
        history = (
            (f"I name English words and you say them in {old}. '{other[0]}'", f"'{word_in(old, other)[0]}'"),
            (f"Let us switch to {new} for all further words.", f"Very well, I will answer in {new}."),
        )
        right = word_in(new, row)
        rivals = [*word_in(old, row), *rival_words(rng, new, row)]
        forms = ("'{}'", "Next word: '{}'", "My next word is '{}'.")
        prompt = forms[number % 3].format(row[0])
        drafts.append(claim_draft(prompt, right, rivals, f"In {new}, {article(row[0])} is", history))
    return drafts


def new_topic(rng: random.Random) -> list[Draft]:
    """From one country to another, for questions that name none."""
    drafts = []
    for number in range(N):
        old, new = CAPITALS[number], CAPITALS[(number + 9) % len(CAPITALS)]
        history = (
            (f"My holiday goes to {old[0]}. Which capital will I see?", f"You will see {old[1]}."),
            (f"Wait, the flights are too dear. I am going to {new[0]} instead.", f"{new[0]} is a good choice, too."),
        )
        rivals = [old[1], new[2], *others(rng, CITIES, (old[1], new[1], new[2]), 6)]
        forms = ("So which capital is it now?", "Then which capital should I look up on the map?")
        lead = f"The capital of {new[0]} is"
        drafts.append(claim_draft(forms[number % 2], [new[1]], rivals, lead, history))
    return drafts


PREFERENCE: dict[str, Maker] = {
    "upper": _preference(
        "upper",
        ("Please write everything in capital letters, my eyes are bad.", "USE ONLY CAPITALS IN THIS WHOLE CHAT."),
        (None,),
    ),
    "closing": _preference(
        "closing", ('End each of your answers with "{}"', 'The last words of every answer should be "{}"'), CLOSINGS
    ),
    "address": _preference(
        "address", ("In every answer, address me as {}.", "Call me {} each time you reply."), TITLES
    ),
    "bullets": _preference(
        "bullets",
        ("Every line that you write to me has to be a bullet point.", "Answer with bullet points and nothing else."),
        (None,),
    ),
}
CONSTRAINT_UPDATE: dict[str, Maker] = {
    "new_case": new_case,
    "new_closing": new_closing,
    "new_number": new_number,
    "new_language": new_language,
    "new_topic": new_topic,
}
