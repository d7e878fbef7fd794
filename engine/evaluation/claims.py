"""Checks of short answers: which of several possible answers a text claims, and which number."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from engine.evaluation.reading import Reading, right, wrong
from engine.evaluation.text import core, fold, numbers, sentences, without_enumerators

_DENIED = re.compile(
    r"(?:\b(?:not|never|neither|nor|nothing|unlike|cannot be|isn't|aren't|wasn't|n't)\W+(?:[\w']+\W+){0,2}"
    r"|\bn't\W+(?:\w+\W+){0,2}|n't\W+(?:\w+\W+){0,2}|\b(?:instead of|rather than)\W+(?:\w+\W+){0,1})$"
)
_ASIDE = re.compile(
    r"(?:\b(?:no|than|think|thinks|thought|believe|assume|confuse|confused with|mistake|although|though|while|whereas|"
    r"like|unlike|despite|without|from|besides|as opposed to|different from|same as|friend of)\W+(?:[\w']+\W+){0,3})$"
)
_OR_BEFORE = re.compile(r"\bor\W+(?:(?:maybe|perhaps|possibly|even|just|the|a|an|in|at|on|it|is|it's|be)\W+){0,3}$")
_OR_AFTER = re.compile(r"^\W{0,4}or\W+(?!(?:so|more|less|in other words|simply|just)\b)(.{0,40})")
_HEDGE = re.compile(
    r"\b(?:or|either|maybe|perhaps|possibly|might|could|actually|alternatively|not sure|unsure|i guess|correction|"
    r"wait|on second thought|probably)\b"
)
_CONTRAST = re.compile(r"\b(?:but|while|whereas|although|though|however|instead of|rather than|yet)\b")
_CONCLUSION = re.compile(
    r"\b(?:(?:final|correct|right) answer|answer (?:is|would be|to)|the answer|answer:|therefore|thus|hence|"
    r"in conclusion|to conclude)\b|\banswer\W*:"
)
_TAKES_BACK = re.compile(
    r"^\W*(?:or|no|wait|maybe|perhaps|possibly|correction)\b"
    r"|\b(?:actually|alternatively|on second thought|correction|not sure|unsure|i guess|"
    r"or (?:maybe|perhaps|possibly|even)|"
    r"(?:could|might|may) (?:also )?(?:be|say)|it(?:'s| is) (?:also|probably))\b"
)
_CLAUSE = re.compile(r"[,;]\s+(?:and|but|while|whereas)?\s*")
_OWN_VERB = re.compile(r"\b(?:is|are|was|were|has|have|had|will|does|did|means|costs|lives|works|goes|belongs|plays)\b")
_SAME_AGAIN = re.compile(r"^(?:it is|it's|this is|that is|or|maybe|perhaps)\b|\b(?:also|too|as well|both)\b")
_ANSWER = re.compile(r"\banswer\b")
_TOTAL = re.compile(
    r"^\W*(?:so|thus|hence|therefore|finally|in total|altogether|in conclusion|the (?:result|total|sum))\b"
    r"|\b(?:therefore|final (?:result|number|amount)|in total|altogether)\b"
)


_EITHER_NUMBER = re.compile(
    r"(?<![\d,.])(\d[\d,.]{0,15})\W{1,3}(?:\w{1,12}\W{1,3})?or\W{1,3}"
    r"(?:(?:maybe|perhaps|possibly|even)\W{1,3})?(\d[\d,.]{0,15})"
)


@dataclass(frozen=True, slots=True)
class _Hit:
    accepted: bool
    text: str
    start: int
    end: int


@lru_cache(maxsize=4096)
def _pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = sorted(names, key=lambda name: (-len(name), name))
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?:(?!\w)|(?=[ap]m\b))")


@lru_cache(maxsize=4096)
def _folded(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(fold(name) for name in names))


def _hits(sentence: str, accepted: tuple[str, ...], pattern: re.Pattern[str]) -> list[_Hit]:
    found = []
    for match in pattern.finditer(sentence):
        before = sentence[max(0, match.start() - 48) : match.start()]
        named = match[0] in accepted
        if _DENIED.search(before) or (not named and _ASIDE.search(before)):
            continue
        found.append(_Hit(named, match[0], match.start(), match.end()))
    return found


def _torn(sentence: str, hits: list[_Hit], accepted: tuple[str, ...]) -> bool:
    """Whether an accepted answer is joined by "or" to something that is none."""
    for hit in (hit for hit in hits if hit.accepted):
        before = sentence[: hit.start]
        if _OR_BEFORE.search(before[-48:]) and not any(h.accepted and h.end <= hit.start for h in hits):
            return True
        after = _OR_AFTER.match(sentence[hit.end : hit.end + 60])
        if after and not any(name in after[1] for name in accepted):
            return True
    return False


def _apart(sentence: str, accepted: tuple[str, ...], pattern: re.Pattern[str]) -> bool:
    """Whether rivals stand only in later clauses that say something of their own: "yours is red, mine is blue"."""
    first = True
    for clause in _CLAUSE.split(sentence):
        hits = _hits(clause, accepted, pattern)
        if not hits:
            continue
        others = [hit for hit in hits if not hit.accepted]
        if first and others:
            return False
        if others and (not _OWN_VERB.search(clause) or _SAME_AGAIN.search(clause) or _HEDGE.search(clause)):
            return False
        first = False
    return not first


def claim(facts: Mapping[str, Any], text: str) -> Reading:
    """Whether a text claims an accepted answer and no rival.

    The sentence that concludes decides, else the first that names an accepted answer or a rival; questions are no
    claims. What is denied or compared with is not claimed. Facts: accepted, rivals.
    """
    accepted = _folded(tuple(facts["accepted"]))
    rivals = tuple(name for name in _folded(tuple(facts["rivals"])) if name not in accepted)
    folded = fold(text)
    asked = facts["accepted"][0]
    said = sentences(without_enumerators(folded, inline=False))
    said = [part for part in said if not part.endswith("?")] or said
    pattern = _pattern(accepted + rivals)
    found = [(part, hits) for part in said if (hits := _hits(part, accepted, pattern))]
    if not any(hit.accepted for _, hits in found for hit in hits):
        other = next((hit.text for _, hits in found for hit in hits), None)
        return wrong(f"It says {other}, not {asked}." if other else f"It does not say {asked}.")
    concluding = [index for index, (part, _) in enumerate(found) if _CONCLUSION.search(part)]
    place = concluding[-1] if concluding else 0
    part, hits = found[place]
    others = [hit for hit in hits if not hit.accepted]
    if _apart(part, accepted, pattern):
        others = []
    if not any(hit.accepted for hit in hits):
        return wrong(f"It says {others[0].text}, not {asked}.")
    if others and (_HEDGE.search(part) or not _CONTRAST.search(part)):
        return wrong(f"It names both {asked} and {others[0].text}.")
    if _torn(part, hits, accepted):
        return wrong(f"It leaves open whether it is {asked} or something else.")
    for later, more in found[place + 1 :]:
        rival = next((hit for hit in more if not hit.accepted), None)
        if rival is None:
            continue
        bare = len(later.split()) <= len(rival.text.split()) + 1
        if bare or _TAKES_BACK.search(later[: rival.start]):
            return wrong(f"It says {asked} first and {rival.text} later.")
    return right(f"It says {asked}.", core(folded) in accepted)


def _decisive(found: list[float], given: set[float]) -> list[float]:
    return [value for value in found if value not in given]


def number(facts: Mapping[str, Any], text: str) -> Reading:
    """Whether a text gives a number as its answer.

    Numbers of the question and of the way to the answer are passed over. The last sentence that concludes decides,
    else the first that has another number; a bare other number or an alternative after it takes the answer back.
    Facts: value, given (numbers that may stand in an explanation).
    """
    value = float(facts["value"])
    shown = f"{value:g}" if value < 1e6 else str(int(value))
    given = {float(other) for other in facts["given"]} - {value}
    if value != 1:
        given.add(1.0)  # the word "one" is rarely a number
    folded = fold(text)
    said = sentences(without_enumerators(folded, inline=False))
    said = [part for part in said if not part.endswith("?")] or said
    found = [(part, values) for part in said if (values := _decisive(numbers(part), given))]
    if not found:
        return wrong(f"It does not give the number {shown}.")
    concluding = [index for index, (part, _) in enumerate(found) if _ANSWER.search(part)]
    concluding = concluding or [index for index, (part, _) in enumerate(found) if _TOTAL.search(part)]
    place = concluding[-1] if concluding else 0
    part, values = found[place]
    choice = _EITHER_NUMBER.search(part)
    if choice and len(set(both := numbers(f"{choice[1]} {choice[2]}"))) > 1 and value in both:
        return wrong(f"It leaves open whether it is {both[0]:g} or {both[1]:g}.")
    if values[-1] != value:
        return wrong(f"It gives {values[-1]:g}, not {shown}.")
    if len(set(values)) > 1 and _HEDGE.search(part):
        return wrong(f"It names both {values[0]:g} and {shown}.")
    for later, more in found[place + 1 :]:
        if more[-1] != value and (_HEDGE.search(later) or len(later.split()) <= 2):
            return wrong(f"It gives {shown} first and {more[-1]:g} later.")
    bare = numbers(core(folded))
    return right(f"It gives {shown}.", len(folded.split()) == 1 and bare == [value])
