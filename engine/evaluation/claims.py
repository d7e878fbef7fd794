"""The check of a short answer: which of several possible ones a text claims."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from engine.evaluation.language.elsewhere import (
    OWN_VERB,
    STOP,
    common_word,
    holds_another,
    said_elsewhere,
    spelled,
    told_of,
)
from engine.evaluation.language.polarity import (
    ASIDE,
    ATTRIBUTED,
    CONCEDED,
    CORRECTED,
    DENIED,
    DENIED_AFTER,
    DOUBT,
    HEDGE,
    NEGATED,
    OPINION,
    RETRACTS,
    TAKES_BACK,
    VIEW_AFTER,
    clause_before,
)
from engine.evaluation.language.spelling import SYNONYMS, forms_of, spelled_alike, with_short
from engine.evaluation.reading import Reading, right, unsure, wrong
from engine.evaluation.text import core, fold, sentences, without_enumerators, word_set

_DENIED_ON = re.compile(r"\W*(?:(?:or|nor|and|not|on|in|at|for|to|by|from|with|the|a|an|even|also|yet|of)\W+)*")
_FORMER = re.compile(
    r"^\W*(?:is|was) (?:just|only|merely)\b|^\W*(?:was|had been|used to be)\b.*\b(?:former|formerly|once|until|"
    r"past|earlier|back then|previously|before)\b"
)
_POLES = re.compile(r"\b([ns])\. ?(?=america|korea|africa|macedonia|sudan)")
_EVENING = re.compile(r"\b(1[3-9]|2[0-3])[:.]00\b")
_BRACKETS = re.compile(r"\([^()]*\)")
_SLOT = re.compile(r"^\W*([^\W\d][\w ]{1,20}?)\W*: *(.*)$", re.MULTILINE)
_WOULD = re.compile(
    r"^[\"'*_`)]* (?:would|might|could) (?:be|have|look|ask|need|not|never|try|say|start|use|give|greet|mention)\b"
    r"(?! (?:my|the|correct|right|better|best)\b)"
)
_ONCE = re.compile(r"\b(?:once|formerly|previously|earlier|at first|originally)\b")
_NOW = re.compile(r"\b(?:now|today|these days|later|then|but)\b")
_IDIOM = re.compile(
    r"\bi(?:'m| am)(?: quite| pretty| absolutely| almost)? positive\b|\bquestion (?:mark|word)s?\b"
    r"|\b(?:no|without|beyond|in|any) question\b|\bmay (?:be|have|also|well|not|i|we|you|it)\b"
)
_THE_ONE = re.compile(r"\b(?:the|this|that|which|no|any|every|each|another) 1\b")
_CLOCK_BEFORE = re.compile(r"(?:quarter|half|\d|minutes?) (?:past|to|after|before) $|\d[.,:]$")
_CLOCK_AFTER = re.compile(
    r"^(?::(?!00)\d\d|[.,](?!0{1,2}\b)\d)|^ (?:hours?|minutes?|days?|weeks?|years?) (?:later|earlier|before|"
    r"after|from)\b"
    r"|^ (?:minutes? )?(?:past|to|before|after) \d"
)
_OR_BEFORE = re.compile(r"\bor\W+(?:(?:maybe|perhaps|possibly|even|just|the|a|an|in|at|on|it|is|it's|be)\W+){0,3}$")
_OR_AFTER = re.compile(r"^\W{0,4}or\W+(?!(?:so|more|less|in other words|simply|just)\b)(.{0,40})")
_CONTRAST = re.compile(r"\b(?:but|while|whereas|although|though|however|instead of|rather than|yet)\b")
_CONCLUSION = re.compile(
    r"\b(?:(?:final|correct|right) answer|answer (?:is|would be|to)|the answer|answer:|therefore|thus|hence|"
    r"in conclusion|to conclude)\b|\banswer\W*:"
)
_CLAUSE = re.compile(r"[,;]\s+(?:and|but|yet|still|however)?\s*|\s+(?=(?:because|whereas|while|although|though)\b)")
_SO = re.compile(r"^(?:so|therefore|thus|hence)\b")
_VERB = re.compile(
    r"\b(?:is|are|was|has|stands|means|costs|reads|expects|lies|comes|called|hid|holds|put|lent|borrowed|gets|gives|"
    r"takes|goes|go|needs|works|lives|grows|will|must|can|sits|belongs|keeps|kept|found|bought|owns|lends|wants|feeds|"
    r"say|says|said)\b"
)
_SAME_AGAIN = re.compile(
    r"^(?:it is|it's|it must|it has to|th(?:is|at) 1 is|i would|i'd|i choose|this is|that is|or|maybe|perhaps)\b|"
    r"\b(?:also|too|as well|both)\b"
)
_ALIAS = re.compile(r"\b(?:in (?:english|german|french|spanish|latin|short)|also (?:called|known)|in other words)\b")
_OR_LATER = re.compile(
    r"^[\"'*_`)]*, (?:[\w.'-]+(?: [\w.'-]+){0,2}, ){0,3}[\w.'-]+(?: [\w.'-]+)?,? or (?!so\b|more\b|less\b)"
)
_SUBORDINATE = re.compile(
    r"\b(?:is|are|was|means|meant|called|reads)\b[^,;:]*[,;] (?:as|while|whereas|though|although|unlike|since|"
    r"because)\b"
    r"[^,;:]*$"
)
_OF_IT = re.compile(
    r"\b(?:friend|brother|sister|son|daughter|wife|husband|mother|father|rival|pupil|enemy|neighbour|neighbor|"
    r"fan|colleague|"
    r"successor|predecessor|isotope|compound|oxide|north|south|east|west|outside|suburb) "
    r"of[ \"'*]+(?:(?:the|a|an|my|your)[ \"'*]+)?$|\b(?:new|north|south|east|west|little|old|near|named after|"
    r"small|young) [\"'*]?$"
)
_SET_BY = re.compile(
    r"\b(?:before|after|until|than|besides|except|beyond|outside|next (?:door )?to|(?:neighbou?r|rival|twin|suburb|"
    r"north|south|east|west) of) (?:the )?[\"'*]*$"
)
_OF_ANOTHER = re.compile(
    r"^\W*(?:is|was)(?: the)? (?:capital|symbol|author|word|name|price|day) (?:of|for) (?:the )?(\w+)"
)
_THIS = word_set("this that it these those many several your his her our their a an its what which")
_PLAIN_AFTER = word_set(
    "page pages side box pile folder bin column news language text note heading camp "
    "type kind category group too then please indeed obviously again sir madam city element gas metal review "
    "mail email message label section "
    "sentence tone one it is in of for and as was has at on by to from the because since which who that when though if "
    "euros euro dollars o'clock pm am oclock clock today now here there yes ok I i"
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
    return with_short(tuple(dict.fromkeys(fold(name) for name in names)))


def _hits(sentence: str, accepted: tuple[str, ...], pattern: re.Pattern[str]) -> list[_Hit]:
    """What a sentence claims: names that are neither denied, nor compared with, nor part of something else."""
    found = []
    denied_to: int | None = None
    for match in pattern.finditer(sentence):
        before, after = sentence[max(0, match.start() - 60) : match.start()], sentence[match.end() : match.end() + 90]
        named = match[0] in accepted
        if _is_part(match[0], before, after):
            continue
        gap = "" if denied_to is None else sentence[denied_to : match.start()]
        goes_on = denied_to is not None and _DENIED_ON.fullmatch(gap) and (not named or "or" in gap.split())
        clause = clause_before(before)
        if DENIED.search(clause[-48:]) or goes_on or (named and DENIED_AFTER.match(after)):
            denied_to = match.end()
            continue
        denied_to = None
        if not named and (ASIDE.search(clause[-48:]) or NEGATED.search(clause) or OPINION.search(clause)):
            continue
        viewed = named and (ATTRIBUTED.search(before) or OPINION.search(clause) or VIEW_AFTER.match(after))
        if viewed and (CORRECTED.search(sentence[match.end() :]) or CONCEDED.search(before)):
            continue
        found.append(_Hit(named, match[0], match.start(), match.end()))
    return found


def _without_asides(folded: str, accepted: tuple[str, ...], pattern: re.Pattern[str]) -> str:
    """A text without brackets that tell of rivals alone, where an accepted answer stands outside of brackets."""
    if not any(match[0] in accepted for match in pattern.finditer(_BRACKETS.sub(" ", folded))):
        return folded

    def kept(found: re.Match[str]) -> str:
        named = {match[0] for match in pattern.finditer(found[0])}
        aside = named and not named & set(accepted) and len(found[0].split()) > 1 and not HEDGE.search(found[0])
        return " " if aside else found[0]

    return _BRACKETS.sub(kept, folded)


def _slot(folded: str, accepted: tuple[str, ...], rivals: tuple[str, ...]) -> str | None:
    """The only one of several names on lines of their own that has something behind its colon."""
    slots = [(found[1], found[2]) for found in _SLOT.finditer(folded) if found[1] in (*accepted, *rivals)]
    filled = [name for name, content in slots if re.search(r"[^\W_]", content)]
    return filled[0] if len(slots) > 1 and len(filled) == 1 else None


def _is_part(name: str, before: str, after: str) -> bool:
    """Whether a name only stands within another word, number or time of day."""
    if name[-1].isdigit():
        return bool(_CLOCK_BEFORE.search(before) or _CLOCK_AFTER.match(after))
    return bool(re.match(r"-[^\W\d]", after) or re.search(r"[^\W\d]-$", before))


def _torn(sentence: str, hits: list[_Hit], accepted: tuple[str, ...]) -> bool:
    """Whether an accepted answer is joined by "or" to something that is none."""
    for hit in (hit for hit in hits if hit.accepted):
        before = sentence[: hit.start]
        if _ALIAS.search(sentence[hit.end : hit.end + 120]):
            continue
        if _OR_BEFORE.search(before[-48:]) and not any(h.accepted and h.end <= hit.start for h in hits):
            return True
        after = _OR_AFTER.match(sentence[hit.end : hit.end + 60])
        if after and after[1].startswith(("as ", "if ", "to use ")):
            continue
        if after and not any(name in after[1] for name in accepted):
            return True
    return False


def _doubtful(facts: Mapping[str, Any], said: list[str], place: int, part: str, hits: list[_Hit]) -> str | None:
    """Why a sentence that names the accepted answer may not claim it; None where nothing speaks against it."""
    last = max((hit for hit in hits if hit.accepted), key=lambda hit: hit.end)
    after = part[last.end :]
    if DOUBT.search(part):
        return "It may not commit itself."
    if _OR_LATER.match(after) and not _ALIAS.search(after):
        return "It may leave a choice open."
    if _FORMER.match(after) or (_ONCE.search(part[: last.start]) and _NOW.search(after)):
        return f"It may call {last.text} something else or a former one."
    if RETRACTS.search(after) or any(
        RETRACTS.match(later) and len(later.split()) <= 8 and last.text not in later for later in said[place + 1 :]
    ):
        return f"It may take {last.text} back."
    if _SUBORDINATE.search(part[: last.start]) and sum(hit.accepted for hit in hits) == 1:
        return f"It may name {last.text} as something else."
    other = _OF_ANOTHER.match(after)
    lead = fold(facts.get("lead", ""))
    if other and other[1] not in _THIS and other[1] not in lead.split():
        return f"It may say {last.text} of {other[1]}."
    if re.match(r"^'s [^\W\d]", after) and _VERB.search(after) is None:
        return f"It may mean somebody or something of {last.text}."
    if last.text[-1].isdigit() and re.search(
        r"\b(?:before|after|until|till|by|past|around|about) $", part[: last.start]
    ):
        return f"It may give another time than {last.text}."
    if holds_another(facts, part, after):
        return f"It may say what else belongs to {last.text}."
    if _SET_BY.search(part[: last.start]):
        return f"It may only place something by {last.text}."
    if "expects you" in lead and re.match(r" (?:hours?|minutes|days|times)\b", after):
        return f"It may count {last.text} of something."
    if "cannot eat" in lead and re.search(r"\b(?:can|may) (?:\w+ )?(?:eat|have|enjoy)\b", part):
        return f"It may say that {last.text} does no harm."
    if re.search(r"\bbetween\b[^,;]*$", part[: last.start]):
        return f"It may give a range that ends with {last.text}."
    if _OF_IT.search(part[: last.start]):
        return f"It may mean something else of {last.text}."
    follows = re.match(r" ([^\W\d][\w'-]*)(?=[\"'*_`.!?]*$|[\"'])", after)
    alone = len(part.split()) <= len(last.text.split()) + 5 or part[: last.start].endswith(("'", '"'))
    asked = fold(facts.get("prompt", "")) + " " + lead
    if follows and alone and follows[1] not in _PLAIN_AFTER and follows[1][:4] not in asked:
        return f"It may mean something else by {last.text} {follows[1]}."
    names = [fold(name) for name in re.findall(r"(?<=\s)[A-Z]\w*", facts.get("lead", ""))]
    for name in names:
        of_it = f"{name}'s" in after and re.search(
            rf"(?<!\w){re.escape(name)}'s (?:own )?(?:is|capital|name|one|word|symbol)\b([^,;.]*)", after
        )
        if of_it and last.text not in of_it[1]:
            return f"It may say something else of {name}."
    for sentence in said:
        start = sentence.find(lead) if lead and not sentence.endswith(":") else -1
        if start >= 0 and last.text not in sentence[start:]:
            return "It may say something else of what was asked."
    return None


def _assigned(facts: Mapping[str, Any], part: str, hits: list[_Hit]) -> Reading | None:
    """What a sentence is worth that says who has what: "the baker comes at 7 and the tutor at 9"."""
    about = {word for word in re.findall(r"\w+", fold(facts.get("lead", ""))) if word not in STOP}
    mine: list[str] = []
    theirs: list[str] = []
    start = 0
    for end in [found.start() for found in re.finditer(r"[,;] | and ", part)] + [len(part)]:
        inside = [hit for hit in hits if start <= hit.start < end]
        if inside:
            (mine if all(hit.accepted for hit in inside) else theirs).append(part[start:end])
        start = end
    told = [clause for clause in theirs if about & set(re.findall(r"\w+", clause))]
    if told and mine and not any(about & set(re.findall(r"\w+", clause)) for clause in mine):
        return wrong("It says what was asked about of another one.") if len(about) == 1 else None
    if len(mine) != 1 or not about & set(re.findall(r"\w+", mine[0])):
        return None
    if any(
        about & set(re.findall(r"\w+", clause)) or len(re.findall(r"[^\W\d]{3,}|\d+", clause)) < 2 for clause in theirs
    ):
        return None
    if hits[0].accepted and _VERB.search(mine[0]) and not HEDGE.search(part):
        return right("Each is said of its own.", False)
    return unsure("It may only list what was given.")


def _apart(sentence: str, accepted: tuple[str, ...], pattern: re.Pattern[str]) -> bool:
    """Whether rivals stand only in later clauses that say something of their own: "yours is red, mine is blue"."""
    first = True
    for clause in _CLAUSE.split(sentence):
        hits = _hits(clause, accepted, pattern)
        if not hits:
            continue
        others = [hit for hit in hits if not hit.accepted]
        if (first or _SO.search(clause)) and others:
            return False
        if others and (not OWN_VERB.search(clause) or _SAME_AGAIN.search(clause) or HEDGE.search(clause)):
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
    folded = _IDIOM.sub(" ", fold(text))
    folded = _POLES.sub(lambda found: {"n": "north ", "s": "south "}[found[1]], folded)
    if "expects you" in facts.get("lead", ""):
        folded = _EVENING.sub(lambda found: str(int(found[1]) - 12), folded)
    if facts["accepted"][0][:1].isdigit():
        folded = _THE_ONE.sub(" ", folded)
    asked = facts["accepted"][0]
    folded = _without_asides(folded, accepted, _pattern(accepted + rivals))
    slot = _slot(folded, accepted, rivals)
    if slot is not None:
        return right(f"It puts it to {asked}.", False) if slot in accepted else wrong(f"It puts it to {slot}.")
    said = sentences(without_enumerators(folded, inline=False))
    said = [part for part in said if not part.endswith("?")] or said
    pattern = _pattern(accepted + rivals)
    found = [(part, hits) for part in said if (hits := _hits(part, accepted, pattern))]
    if not any(hit.accepted for _, hits in found for hit in hits):
        other = next((hit.text for _, hits in found for hit in hits), None)
        refused = len(rivals) == 1 and any(pattern.search(part) for part in said)
        if other is None and any(match[0] in accepted for part in said for match in pattern.finditer(part)):
            return wrong(f"It names {asked} only to deny it, or as another's view.")
        nouns = tuple(fold(name) for name in facts["accepted"] if name[:1].islower())
        short = core(folded.split(":")[-1])
        if (
            other is None
            and "'" not in facts.get("lead", "")
            and any(short in (f"{name}s", name.removesuffix("s")) and len(short) > 3 for name in accepted)
        ):
            return right(f"It says a form of {asked}.", False)
        if other is None and spelled(" ".join(said), accepted, rivals) and "'" not in facts.get("lead", ""):
            return right(f"It says {asked} in another spelling.", False)
        if any(re.search(rf"(?<!\w){word}", folded) for word in SYNONYMS.get(accepted[0], ())):
            return unsure(f"It may say {asked} in another word.")
        if other is None and (
            refused
            or forms_of(accepted, nouns).search(folded)
            or spelled_alike(folded, accepted, fold(f"{facts.get('prompt', '')} {facts.get('lead', '')}"))
        ):
            return unsure(f"It says a form of {asked}.")
        return wrong(f"It says {other}, not {asked}." if other else f"It does not say {asked}.")
    concluding = [index for index, (part, _) in enumerate(found) if _CONCLUSION.search(part)]
    place = concluding[-1] if concluding else 0
    part, hits = found[place]
    others = [hit for hit in hits if not hit.accepted]
    if others and any(hit.accepted and not _WOULD.match(part[hit.end :]) for hit in hits):
        others = [hit for hit in others if not _WOULD.match(part[hit.end :])]
    if others and re.match(r"\W*both\b", part):
        return wrong(f"It names both {asked} and {others[0].text}.")
    if _apart(part, accepted, pattern):
        others = []
    if not any(hit.accepted for hit in hits):
        final, last = found[-1]
        bare = len(part.split()) <= len(others[0].text.split()) + 3
        if not bare and len(final.split()) > 3 and place < len(found) - 1 and all(hit.accepted for hit in last):
            return unsure(f"It names {others[0].text} first, and {asked} in the end.")
        return wrong(f"It says {others[0].text}, not {asked}.")
    if others and re.search(r"\bboth\W", part[: hits[0].start]):
        return wrong(f"It names both {asked} and {others[0].text}.")
    if others and (assigned := _assigned(facts, part, hits)) is not None:
        return assigned
    if others and (HEDGE.search(part) or not _CONTRAST.search(part)):
        names = sum(len(hit.text.split()) for hit in hits)
        if hits[0].accepted and not HEDGE.search(part) and len(part.split()) > names + 5:
            return unsure(f"It names both {asked} and {others[0].text}.")
        return wrong(f"It names both {asked} and {others[0].text}.")
    if others and not hits[-1].accepted and hits[0].accepted:
        return unsure(f"It names {asked}, and {others[-1].text} after a contrast.")
    if _torn(part, hits, accepted):
        if len({hit.text for hit in hits if hit.accepted}) > 1:
            return unsure(f"It may leave open whether it is {asked} or something else.")
        return wrong(f"It leaves open whether it is {asked} or something else.")
    for later, more in found[place + 1 :]:
        rival = next((hit for hit in more if not hit.accepted), None)
        if rival is None:
            continue
        bare = len(later.split()) <= len(rival.text.split()) + 1
        if bare or TAKES_BACK.search(later[: rival.start]):
            return wrong(f"It says {asked} first and {rival.text} later.")
    if told_of(facts, part[max(hit.end for hit in hits if hit.accepted) :]):
        return wrong(f"It tells something else of {asked}.")
    doubt = _doubtful(facts, said, said.index(part), part, hits)
    if doubt is None and common_word(facts["accepted"], text):
        doubt = f"It may not mean the name {asked}."
    if doubt is None and said_elsewhere(facts, said, part, accepted, pattern):
        doubt = f"It may say {asked} of something else."
    if doubt is not None:
        return unsure(doubt)
    if all(OPINION.search(clause_before(part[max(0, hit.start - 60) : hit.start])) for hit in hits if hit.accepted):
        return unsure(f"It may only tell who thinks of {asked}.")
    return right(f"It says {asked}.", core(folded) in accepted)
