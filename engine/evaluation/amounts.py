"""The check of an answer that is a number."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from engine.evaluation.language.polarity import (
    ATTRIBUTED,
    CORRECTED,
    DENIED,
    DOUBT,
    HEDGE,
    OPINION,
    RETRACTS,
    VIEW_AFTER,
    clause_before,
)
from engine.evaluation.reading import Reading, right, unsure, wrong
from engine.evaluation.text import core, fold, numbers, placed_numbers, sentences, without_enumerators

_ROUNDABOUT = re.compile(r"\b(?:dozens?|score|twice|double|triple|half|less than|more than|short of)\b")
_DOZENS = re.compile(r"\b(\d{1,4}|half a|a) (dozens?|score|gross)\b")
_SIZE = {"dozen": 12, "dozens": 12, "score": 20, "gross": 144}
_COMPARED = re.compile(
    r"\b(?:short of|shy of|away from|more than|less than|fewer than|out of|than|below|under|above|beyond|half of|"
    r"twice|double|triple|between) (?:a |an |the )?$"
)
_RESULT = re.compile(r"= ?[*_\"' ]*[$€£]?(\d[\d,]*(?:\.\d+)?)")
_SIGN_AFTER = re.compile(r" ?(?:[-+*x×/÷]|plus|minus|times) ?\d")
_SIGN_BEFORE = re.compile(r"(?:[-+*x×/÷]|plus|minus|times) ?$")
_MORE_THAN = re.compile(r" (?:[^\W\d]+ )?(?:more|less|fewer|further) (?:\w+ )?than\b")
_WORKS = re.compile(r"=|\d ?[+*×x/÷] ?\d|\d - \d|\b(?:makes?|gives?|leaves?|equals?|comes? to|plus|minus|times)\b")
_STATES = re.compile(r"\b(?:is|are|equals?|makes?|be|answer|was|were|gives?|leaves?)[:=]?[ $€£\"'*_]*$")
_CONCLUDES = re.compile(
    r"^\W*(?:so|thus|hence|therefore|the answer|answer|final|in total|altogether)\b"
    r"|\b(?:correct|right|final|true|actual) (?:result|answer|number|value|total|sum|amount|1)\b"
    r"|\b(?:misread|miscounted|mistake|correction|i mean|scratch that|make that|sorry)\b"
)
_MINUS = re.compile(r"(?:^|\b(?:is|equals|gives|makes|be|answer|to)\b|[=:]) ?[\"'*_]*(?:minus |negative )?$")
_REASON = re.compile(r" ?\(|,? (?:because|since|as)\b|[;,] (?:to )?check\b")
_TURNS = re.compile(r"\b(?:so|thus|hence|therefore|but|no|not|half|twice|which)\b|=")
_MAYBE = re.compile(r"\b(?:maybe|perhaps|possibly|or|might|could)\b")
_EITHER_NUMBER = re.compile(
    r"(?<![\d,.])(\d[\d,.]{0,15})\W{1,3}(?:\w{1,12}\W{1,3})?or\W{1,3}"
    r"(?:(?:maybe|perhaps|possibly|even)\W{1,3})?(\d[\d,.]{0,15})"
)
_ANSWER = re.compile(r"\banswer\b")
_TOTAL = re.compile(
    r"^\W*(?:so|thus|hence|therefore|finally|in total|altogether|in conclusion|the (?:result|total|sum))\b"
    r"|\b(?:therefore|final (?:result|number|amount)|in total|altogether)\b"
)
_UNIT = re.compile(
    r"(?<![\d.,])(\d[\d,.]{0,15}) ?(%|percent|per cent|cents|¢|pence|kilomet\w+|centimet\w+|met(?:er|re)s|miles|"
    r"years|days|hours|"
    r"minutes|degrees|kilos?|kilograms?|times|grams?|kg|g|pounds?|tons?|tonnes?)(?!\w)"
)
# Units of one kind: another one than the question's is wrong.
_KINDS = (
    re.compile(r"(?:years|weeks|days|hours|minutes|seconds)"),
    re.compile(r"(?:grams?|kg|kilos?|kilograms?|pounds?|tons?|tonnes?)"),
    re.compile(r"(?:kilomet\w+|centimet\w+|met(?:er|re)s|miles)"),
)
_NEARLY = re.compile(
    r"(?:(?:^|\b(?:is|equals) |[=:] ?)-|\b(?:about|around|roughly|approximately|nearly|almost|over|"
    r"under) )(\d[\d,.]{0,15})"
)


def _dozens(found: re.Match[str]) -> str:
    size = _SIZE[found[2]]
    return str(size // 2 if found[1] == "half a" else size * (1 if found[1] == "a" else int(found[1])))


def _decisive(sentence: str, given: set[float]) -> list[float]:
    """The numbers that a folded sentence claims, without those that are given or denied."""
    found, compared = [], []
    for value, start, end in placed_numbers(sentence):
        beside = _COMPARED.search(sentence[max(0, start - 24) : start]) or _MORE_THAN.match(sentence[end : end + 30])
        if value not in given and beside:
            compared.append(value)
        elif value not in given and not DENIED.search(sentence[max(0, start - 48) : start]):
            before = sentence[max(0, start - 60) : start]
            attributed = (ATTRIBUTED.search(before) or OPINION.search(clause_before(before))) and CORRECTED.search(
                sentence[end:]
            )
            if not attributed and not VIEW_AFTER.match(sentence[end:]):
                found.append(value)
    return found or compared


def _only_on_the_way(folded: str, value: float) -> bool:
    """Whether a number stands only beside the signs of a sum, never as its result or by itself."""
    places = [(start, end) for other, start, end in placed_numbers(folded) if other == value]
    return all(
        _SIGN_AFTER.match(folded[end:]) or _SIGN_BEFORE.search(folded[max(0, start - 4) : start])
        for start, end in places
    )


def _of_what_was_asked(facts: Mapping[str, Any], part: str) -> float | None:
    """The only number in a sentence that stands before a noun of the question; None where there is no such one."""
    asked = {word[:4] for word in re.findall(r"[^\W\d]{3,}", fold(facts.get("prompt", "")))}
    of_it = {
        value
        for value, _, end in placed_numbers(part)
        if (noun := re.match(r" ([^\W\d]{3,})", part[end:])) and noun[1][:4] in asked
    }
    return of_it.pop() if len(of_it) == 1 else None


def _stated(said: list[str]) -> float | None:
    """The number, a given one too, that the last of some sentences states as its conclusion."""
    for sentence in reversed(said):
        placed = placed_numbers(sentence)
        if placed and _CONCLUDES.search(sentence) and _STATES.search(sentence[: placed[-1][1]]):
            return placed[-1][0]
    return None


def _concluding(said: list[str], found: list[tuple[int, list[float]]]) -> list[int]:
    """Places in `found` of sentences that conclude, or follow a heading that does."""
    for sign in (_ANSWER, _TOTAL):
        places = [
            place
            for place, (index, _) in enumerate(found)
            if sign.search(said[index]) or (index and len(said[index - 1].split()) <= 4 and sign.search(said[index - 1])
                                            and index - 1 not in {one for one, _ in found})
        ]  # fmt: skip
        if places:
            return places
    return []


def _roundabout(facts: Mapping[str, Any], folded: str) -> bool:
    """Whether a text may give a number as a part or a multiple of another, in words that are not the question's."""
    words = set(_ROUNDABOUT.findall(folded))
    return bool(words - set(_ROUNDABOUT.findall(fold(facts.get("prompt", "")))))


def number(facts: Mapping[str, Any], text: str) -> Reading:
    """Whether a text gives a number as its answer.

    Numbers of the question and of the way to the answer are passed over, and what is denied. The last sentence that
    concludes decides, else the first that has another number; a bare other number or an alternative after it takes the
    answer back. A number beside the noun that was asked for counts, one that is compared with does not. Where a text
    works its way to the number, or may not commit itself, nothing is decided but what it says in the end. Facts: value,
    given (numbers that may stand in an explanation).
    """
    value = float(facts["value"])
    shown = f"{value:g}" if value < 1e6 else str(int(value))
    given = {float(other) for other in facts["given"]} - {value}
    if value != 1:
        given.add(1.0)  # the word "one" is rarely a number
    folded = fold(text)
    if not _DOZENS.search(fold(facts.get("prompt", ""))):
        folded = _DOZENS.sub(_dozens, folded)
    said = sentences(without_enumerators(folded, inline=False))
    said = [part for part in said if not part.endswith("?")] or said
    found = [(index, values) for index, part in enumerate(said) if (values := _decisive(part, given))]
    if not found:
        if re.search(rf"\b{100 * value:g} ?(?:cents|¢)", folded.replace(",", "")) or _roundabout(facts, folded):
            return unsure(f"It may say {shown} in other words.")
        return wrong(f"It does not give the number {shown}.")
    places = _concluding(said, found)
    place = places[-1] if places else 0
    index, values = found[place]
    part = said[index]
    before_reason = _decisive(_REASON.split(part)[0], given)
    if before_reason[-1:] == [value]:
        values = before_reason
    choice = _EITHER_NUMBER.search(part)
    if choice and len(set(both := numbers(f"{choice[1]} {choice[2]}"))) > 1 and value in both:
        return wrong(f"It leaves open whether it is {both[0]:g} or {both[1]:g}.")
    final = _stated(said[index + 1 :])
    if final is not None and final != value:
        return wrong(f"It gives {final:g} in the end, not {shown}.")
    of_asked = None if facts["given"] or len(set(values)) < 2 else _of_what_was_asked(facts, part)
    if of_asked is not None and not HEDGE.search(part) and not _TURNS.search(part):
        return (
            right(f"It gives {shown}.", False) if of_asked == value else wrong(f"It gives {of_asked:g}, not {shown}.")
        )
    if values[0] == value and values[-1] != value and not facts["given"] and not HEDGE.search(part):
        return unsure(f"It gives {shown}, and {values[-1]:g} for something else.")
    if values[0] != value and values[-1] == value and not facts["given"] and not _WORKS.search(part):
        return unsure(f"It gives {values[0]:g} and {shown}.")
    if values[-1] != value:
        last = found[-1]
        works = not places and place < len(found) - 1 and last[1][-1] == value
        if (
            works
            and (_WORKS.search(part) or _WORKS.search(said[last[0]]) or RETRACTS.match(said[last[0]]))
            and not _MAYBE.search(said[last[0]])
        ):
            return right(f"It works its way to {shown}.", False)
        clause = re.split(r";| while | whereas | but ", part)[0]
        if value in values and clause != part and value in _decisive(clause, given)[-1:] and not HEDGE.search(clause):
            return unsure(f"It gives {shown}, and {values[-1]:g} for something else.")
        if works and not HEDGE.search(said[last[0]]) and len(said[last[0]].split()) > 2:
            return unsure(f"It gives {values[-1]:g} first and {shown} in the end.")
        return wrong(f"It gives {values[-1]:g}, not {shown}.")
    if len(set(values)) > 1 and HEDGE.search(part):
        return wrong(f"It names both {values[0]:g} and {shown}.")
    for later, more in found[place + 1 :]:
        if more[-1] != value and (HEDGE.search(said[later]) or len(said[later].split()) <= 2):
            return wrong(f"It gives {shown} first and {more[-1]:g} later.")
    if DOUBT.search(part) or any(RETRACTS.match(later) and len(later.split()) <= 8 and value not in numbers(later)
                                  for later in said[index + 1 :]):  # fmt: skip
        return unsure(f"It may not commit itself to {shown}.")
    units = [unit for unit in _UNIT.findall(folded) if value in numbers(unit[0])]
    if units and all(unit[1].replace("¢", "cents")[:4] not in fold(facts.get("prompt", "")) for unit in units):
        kind = next((kind for kind in _KINDS if kind.fullmatch(units[0][1])), None)
        if kind is not None and kind.search(re.sub(r"[^a-z%]", " ", fold(facts.get("prompt", "")))):
            return wrong(f"It gives {shown} {units[0][1]}.")
        return unsure(f"It gives {shown} {units[0][1]}.")
    negative = [
        (folded[start] == "-" or folded[:start].endswith(("minus ", "negative ")))
        and _MINUS.search(folded[:start]) is not None
        for other, start, _ in placed_numbers(folded)
        if other == value
    ]
    if all(negative):
        return wrong(f"It gives -{shown}, not {shown}.")
    results = [float(found.replace(",", "")) for found in _RESULT.findall(folded)]
    if results and value not in results and _only_on_the_way(folded, value):
        asked = numbers(fold(facts.get("prompt", "")))
        return unsure(f"It may check {shown}.") if results[-1] in asked else wrong(f"It gives {results[-1]:g}.")
    if any(value in numbers(match[1]) for match in _NEARLY.finditer(folded)):
        return unsure(f"It gives about {shown}, or below zero.")
    bare = numbers(core(folded))
    return right(f"It gives {shown}.", len(folded.split()) == 1 and bare == [value])
