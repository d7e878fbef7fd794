"""Responses made worse by a rule: hard negatives whose fault is known because it was put there.

Each works on the words of a real response and changes one thing about it, so that the two sides of a pair differ by the
fault and by little else. What a rule cannot do to a text it leaves to another rule.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.quality.rules import QUOTED
from engine.stats.similarity import words

_NUMBER = re.compile(r"(?<![\w.,:])\d{1,6}(?![\w]|[.,:]\d)(?![.)]\s)")
_PERCENT = re.compile(r"\s?(?:%|percent\b|per cent\b)")
_NAME = re.compile(r"(?<=[a-z,;:] )[A-Z][a-z]{2,}\b")
_VERB = re.compile(r"\b(?:is|are|was|were|can|will|has|have)\b(?= \w)")
_NEGATED = frozenset(words("not never no none nothing nobody neither nor hardly only rarely seldom"))
_OF_A_NOUN = frozenset(words("a an the this that his her my your our their its free last strong good ill each every"))
_OF_AN_INFINITIVE = frozenset(
    words("to can could will would shall should must may might cannot not never do does did let help make")
)
_PARTICIPLES = frozenset(
    words(
        "been become begun built come done fallen found given gone grown kept known left lost made seen shown taken "
        "won written"
    )
)
_OF_AN_OBJECT = frozenset(
    words(
        "a an the many several some their two three four five six seven eight nine ten twelve long short large small "
        "big strong sharp"
    )
)
_ITEM = re.compile(r"(?:^|\s)(\d{1,2})[.)]\s+")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'])")


@dataclass(frozen=True, slots=True)
class Corrupted:
    """A worse response and what was done to it."""

    text: str
    detail: str


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another sample of the run: where off-topic responses and wrong names come from."""

    instruction: str
    response: str


def wrong_fact(rng: random.Random, instruction: str, response: str, others: Sequence[Neighbour]) -> Corrupted | None:
    """Another number, another name, or the opposite statement in the place of one that was there."""
    if numbers := [
        (found, most) for found in _outside(_NUMBER, response) if (most := _most(response, found)) is not None
    ]:
        found, most = rng.choice(numbers)
        value = int(found[0])
        new = value + rng.choice([d for d in (-7, -3, -2, -1, 1, 2, 3, 5, 8) if 0 <= value + d <= most])
        return Corrupted(_put(response, found, str(new)), f"number {value} became {new}")
    if names := _outside(_NAME, response):
        own = {found[0] for found in _NAME.finditer(response)}
        pool = sorted({f[0] for other in others for f in _NAME.finditer(other.response)} - own)
        if pool:
            found = rng.choice(names)
            new_name = rng.choice(pool)
            return Corrupted(_put(response, found, new_name), f"name {found[0]} became {new_name}")
    if verbs := [(found, no) for found in _outside(_VERB, response) if (no := _negated(response, found))]:
        found, new_verb = rng.choice(verbs)
        return Corrupted(_put(response, found, new_verb), f"{found[0]!r} became {new_verb!r}")
    return None


def _outside(pattern: re.Pattern[str], text: str) -> list[re.Match[str]]:
    """What is found outside quotations: a text that is only spoken of is not stated."""
    quoted = [found.span() for found in QUOTED.finditer(text)]
    return [f for f in pattern.finditer(text) if not any(start <= f.start() < end for start, end in quoted)]


def _most(text: str, found: re.Match[str]) -> float | None:
    """The largest number that may stand in the place of one: of a share 100; None for "100% sure", no figure at all."""
    if int(found[0]) > 100 or not _PERCENT.match(text, found.end()):
        return math.inf
    return None if int(found[0]) == 100 else 100


def _negated(text: str, found: re.Match[str]) -> str | None:
    """The verb's opposite in proper English; None where there is none, or none that makes a statement false."""
    verb, rest = found[0], text[found.end() :]
    after = rest.split(maxsplit=1)[0].lower().strip(",;:")
    last = next(reversed(re.findall(r"[\w'’]+", text[: found.start()].lower())), "")
    if re.match(r"[^.!?]*\?", rest) or after in _NEGATED:
        return None
    if verb in ("can", "will"):
        return None if last in _OF_A_NOUN else "cannot" if verb == "can" else "will not"
    if verb not in ("has", "have"):
        return f"{verb} not"
    if last in _OF_AN_INFINITIVE or last.endswith(("n't", "n’t")):
        return None
    if after in _PARTICIPLES:
        return f"{verb} not"
    return "do not have" if verb == "have" and after in _OF_AN_OBJECT else None


def off_topic(rng: random.Random, instruction: str, response: str, others: Sequence[Neighbour]) -> Corrupted | None:
    """A response that was right for another instruction, of about the same length and with none of this one's words."""
    asked = {word for word in words(instruction) if len(word) >= 4}
    size = len(words(response))
    fit = [
        other
        for other in others
        if not asked & set(words(other.response))
        and not asked & set(words(other.instruction))
        and other.response.split() != response.split()
    ]
    fit.sort(key=lambda other: abs(len(words(other.response)) - size))
    if not fit:
        return None
    other = rng.choice(fit[:5])
    return Corrupted(other.response, f"the response to: {other.instruction}")


def format_violation(
    rng: random.Random, instruction: str, response: str, others: Sequence[Neighbour]
) -> Corrupted | None:
    """The same content in a form that nobody asked for: a list run together, sentences in table cells."""
    if re.search(r"\b(?:table|json|csv|markdown|columns?)\b", instruction, re.IGNORECASE):
        return None
    numbers = [int(found[1]) for found in _ITEM.finditer(response)]
    items = [item.strip(" .;,") for item in _ITEM.split(response)[::2] if item.strip(" .;,")]
    if len(numbers) >= 2 and numbers == list(range(1, len(numbers) + 1)):
        return Corrupted(" and ".join(items) + ".", "a numbered list run together")
    sentences = [part.strip() for part in _SENTENCE.split(response) if part.strip()]
    if len(sentences) >= 2:
        rows = " ".join(f"| {number} | {sentence} |" for number, sentence in enumerate(sentences, 1))
        return Corrupted(rows, "sentences put into the cells of a table")
    if len(words(response)) >= 5:
        quoted = response.replace('"', "'")
        return Corrupted(f'{{"answer": {{"text": "{quoted}", "n": 1}}}}', "a sentence put into JSON")
    return None


def truncated(rng: random.Random, instruction: str, response: str, others: Sequence[Neighbour]) -> Corrupted | None:
    """The response cut off in the middle of a sentence."""
    found = response.split()
    places = [at for at in range(len(found)) if 0.35 <= at / len(found) <= 0.75 and _ends(found[at - 1]) not in ".!?:;"]
    if len(found) < 6 or not places:
        return None
    at = rng.choice(places)
    return Corrupted(" ".join(found[:at]), f"cut after {at} of {len(found)} words")


Rule = Callable[[random.Random, str, str, Sequence[Neighbour]], Corrupted | None]
RULES: dict[str, Rule] = {
    "wrong_fact": wrong_fact,
    "off_topic": off_topic,
    "format_violation": format_violation,
    "truncated": truncated,
}


def _ends(word: str) -> str:
    """The last character of a word but for quotation marks and brackets."""
    return (word.rstrip("\"')”’") or word)[-1]


def _put(text: str, found: re.Match[str], new: str) -> str:
    return f"{text[: found.start()]}{new}{text[found.end() :]}"
