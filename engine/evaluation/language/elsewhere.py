"""Whether a text says an accepted answer of something else, as a common word, or in another spelling."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from engine.evaluation.language.polarity import HEDGE
from engine.evaluation.language.spelling import nearly, sounds
from engine.evaluation.text import fold, sentences, word_set

_TELLS_OF = re.compile(
    r"^[\"'*_`)]* (?:is|was|means|meant|would be|stands for|has|have|got|lives|works|comes|goes)\b([^,;:.]*)"
)
_OF_AN_ANSWER = (
    "answer correct right word only best clear clearly obvious fits fitting matches case label category choice "
    "option here what"
)
_IS_SYMBOL = re.compile(r"^\W* (?:is|has(?: the symbol)?|is written|would be|has the sign|=)\W+(\w{1,2})\W*(?:$|[,;.])")
_KEYS = re.compile(r"'([^']+)'|symbol (\w{1,2})\b|capital of (?:the )?([\w ]+?) is")
_MEANS = re.compile(r"\b(?:it|he|she|that|this|word) (?:only |just |also )?means\W+(?:(?:the|a|an|any|some)\W+)?")
_HOLDS = re.compile(
    r"^\W* (?:holds|contains|has|houses|is for|belongs to|goes to|goes with|keeps|gets|takes|owns) "
    r"(?:the |a |an |her |his |your |my )?([^\W\d]+)"
)
_IT_IS = re.compile(r"^(?:so |and |therefore |thus |hence )?(?:that|this|it|he|she|there|here|which|who|they)\b")
_CLAUSE_END = re.compile(r"[,;:]\s+|\s+and\s+")
OWN_VERB = re.compile(
    r"\b(?:is|are|was|were|has|have|had|will|would|does|did|got|gets|means|costs|lives|works|goes|belongs|plays|looks|"
    r"takes|stands|lies|comes|came|stays|keeps|needs|follows)\b|^(?:because|since|as|whereas|while|although|though)\b"
)
STOP = word_set(
    "the a an of in is are you your at to it what that this for on be called result answer has with have which "
    "when does "
    "from them they whom into should must give there then next good down write decide comment look tell know need find "
    "give people said call called does somebody anybody forgot help here"
)


def told_of(facts: Mapping[str, Any], after: str) -> bool:
    """Whether what follows a name says of it what nobody asked about."""
    symbol = re.search(r"symbol (\w{1,2})\b", fold(facts.get("lead", "")))
    other = _IS_SYMBOL.match(after)
    if symbol and other and other[1] != symbol[1]:
        return True
    told = _TELLS_OF.match(after)
    if told is None:
        return False
    said_of = {word[:4] for word in re.findall(r"[^\W_]{4,}", told[1]) if word not in STOP}
    asked = f"{fold(facts.get('prompt', ''))} {fold(facts.get('lead', ''))} {_OF_AN_ANSWER}"
    return bool(said_of) and not said_of & {word[:4] for word in re.findall(r"[^\W_]{4,}", asked)}


def said_elsewhere(
    facts: Mapping[str, Any], said: list[str], part: str, accepted: tuple[str, ...], pattern: re.Pattern[str]
) -> bool:
    """Whether a clause after the one that names the accepted answer says something else of what was asked."""
    question = (sentences(fold(facts.get("prompt", ""))) or [""])[-1] + " " + fold(facts.get("lead", ""))
    asked = {word[:4] for word in re.findall(r"[^\W_]{4,}", pattern.sub(" ", question)) if word not in STOP}
    clauses = [clause for one in said[said.index(part) :] for clause in _CLAUSE_END.split(one)]
    names = [{match[0] for match in pattern.finditer(clause)} for clause in clauses]
    place = next((index for index, found in enumerate(names) if found & set(accepted)), len(clauses))
    if _of_the_key(facts, said, clauses, names, place):
        return True
    own = {word[:4] for word in re.findall(r"[^\W_]{4,}", " ".join(clauses[: place + 1]))}
    for clause, found in zip(clauses[place + 1 :], names[place + 1 :], strict=True):
        again = (asked & {word[:4] for word in re.findall(r"[^\W_]{4,}", clause)}) - own
        if (
            not found & set(accepted)
            and len(again) >= (1 if found else 2)
            and OWN_VERB.search(clause)
            and not (not found and _IT_IS.match(clause))
        ):
            return True
    return False


def _of_the_key(
    facts: Mapping[str, Any], said: list[str], clauses: list[str], names: list[set[str]], place: int
) -> bool:
    """Whether a clause that names none of what is accepted says what the lead's word, country or symbol is."""
    lead = fold(facts.get("lead", ""))
    key = _KEYS.search(lead)
    if key is None:
        return False
    word = re.escape(next(filter(None, key.groups())))
    quoted = "'" in key[0]
    mine = clauses[place] if place < len(clauses) else ""
    accepted = names[place] if place < len(names) else set()
    if lead.endswith("means") and any(
        (meant := _MEANS.search(one)) and not any(one.startswith(name, meant.end()) for name in accepted)
        for one in said
    ):
        return True
    if re.search(rf"(?<!\w){word}(?!\w)", mine):
        return False
    is_it = re.compile(rf"(?<!\w){word}['\"]? (?:is|are|means|stands|would|has)\b")
    about = re.compile(rf"(?<!\w){word}(?!\w)")
    for number, (clause, named) in enumerate(zip(clauses, names, strict=True)):
        if not named & accepted and (about if number > place and quoted else is_it).search(clause):
            return True
    return quoted and re.search(r"['\"]? for (?!it|that|this|the|a\b)[^\W\d]+\W*$", mine) is not None


def holds_another(facts: Mapping[str, Any], part: str, after: str) -> bool:
    """Whether a sentence that leaves out what was asked about tells what else belongs to an accepted answer."""
    held = _HOLDS.match(after)
    about = {word for word in re.findall(r"[^\W\d]{3,}", fold(facts.get("lead", ""))) if word not in STOP}
    return held is not None and held[1] not in STOP and not about & set(re.findall(r"\w+", part))


def common_word(accepted: Sequence[str], text: str) -> bool:
    """Whether a text that has capitals writes a name always without one."""
    names = [name for name in accepted if name[:1].isupper()]
    if not names or text == text.lower() or len(text.split()) < 4:
        return False
    said = re.findall(rf"(?<!\w)(?:{'|'.join(map(re.escape, names))})(?!\w)", text, re.IGNORECASE)
    return bool(said) and all(word == word.lower() for word in said)


def spelled(folded: str, accepted: tuple[str, ...], rivals: tuple[str, ...]) -> bool:
    """Whether a short text has a long name that differs from an accepted one by how its sounds are spelled."""
    words = re.findall(r"[^\W\d]+", folded)
    keys = {sounds(name) for name in accepted if len(name) > 5} - {sounds(name) for name in rivals}
    said = [sounds(word) for word in (*words, *(one + other for one, other in pairwise(words))) if len(word) > 5]
    return len(words) < 12 and not HEDGE.search(folded) and any(nearly(word, key) for word in said for key in keys)
