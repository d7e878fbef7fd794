"""Checks of short answers: which of several possible answers a text claims, and which number."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Any

from engine.evaluation.reading import Reading, right, unsure, wrong
from engine.evaluation.text import core, fold, numbers, placed_numbers, sentences, without_enumerators

_JOINED = r"[\s\"'*_`(]+"  # what may stand between words of one clause
_DENIED = re.compile(
    rf"(?:\b(?:not|never|neither|nor|nothing|unlike|cannot be|isn't|aren't|wasn't|n't){_JOINED}(?:[\w']+{_JOINED}){{0,2}}"
    rf"|n't{_JOINED}(?:\w+{_JOINED}){{0,2}}|\b(?:instead of|rather than|used to be|formerly|no longer|far from|anything but|anything except|everything but|"
    r"other than|apart from|except)\W+"
    r"(?:\w+\W+){0,1})$"
)
_DENIED_ON = re.compile(r"\W*(?:(?:or|nor|and|not|on|in|at|for|to|by|from|with|the|a|an|even|also|yet|of)\W+)*")
_DENIED_AFTER = re.compile(
    r"^[\"'*_`)]*,? (?:(?:is|was|are|were|will|would|does|did|do|has|have|can|could|should)(?:n't| not)|never|can't|won't)"
    r" (?!only\b|just\b)|^[\"'*_`)]* (?:is|was|would be) (?:wrong|false|incorrect|mistaken|not|an error|a mistake|a myth)\b"
)
_ATTRIBUTED = re.compile(
    r"\b(?:many|most|some|people|others|everybody|everyone|they|he|she|you|one|1|folks|tourists|children|students) "
    r"(?:\w+ ){0,3}?(?:say|says|said|think|thinks|thought|believe|believes|believed|call|calls|claim|claims|guess|assume|"
    r"assumes|take|mistake|confuse|expect|answer|put|write)\b.{0,30}$|\b(?:mistakenly|wrongly|falsely)\b.{0,30}$"
)
_CORRECTED = re.compile(
    r"\b(?:but|however|yet|wrong|wrongly|mistake|mistaken|mistakenly|false|in fact|not true|myth)\b"
)
_VIEW_AFTER = re.compile(
    r"^\W*(?:is|was|would be) what (?:\w+ ){0,2}(?:people|i|you|they|we|1|everybody|many|most|some)\b"
)
_FORMER = re.compile(
    r"^\W*(?:is|was) (?:just|only|merely)\b|^\W*(?:was|had been|used to be)\b.*\b(?:former|formerly|once|until|past|earlier|back then|previously|before)\b"
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
    r"^(?::(?!00)\d\d|[.,](?!0{1,2}\b)\d)|^ (?:hours?|minutes?|days?|weeks?|years?) (?:later|earlier|before|after|from)\b"
    r"|^ (?:minutes? )?(?:past|to|before|after) \d"
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
_CLAUSE = re.compile(r"[,;]\s+(?:and|but)?\s*|\s+(?=(?:because|whereas|while|although|though)\b)")
_CLAUSE_END = re.compile(r"[,;:]\s+|\s+and\s+")
_OWN_VERB = re.compile(
    r"\b(?:is|are|was|were|has|have|had|will|would|does|did|got|gets|means|costs|lives|works|goes|belongs|plays|looks|"
    r"takes|stands|lies|comes|came|stays|keeps|needs|follows)\b|^(?:because|since|as|whereas|while|although|though)\b"
)
_SO = re.compile(r"^(?:so|therefore|thus|hence)\b")
_VERB = re.compile(r"\b(?:is|are|was|has|stands|means|costs|reads|expects|lies|comes|called)\b")
_STOP = frozenset(
    "the a an of in is are you your at to it what that this for on be called result answer has with have which when does "
    "from them they whom into should must give there then next good down write decide comment look tell know need find "
    "give people said call called does somebody anybody forgot help here".split()
)
_SAME_AGAIN = re.compile(r"^(?:it is|it's|this is|that is|or|maybe|perhaps)\b|\b(?:also|too|as well|both)\b")
_ALIAS = re.compile(r"\b(?:in (?:english|german|french|spanish|latin|short)|also (?:called|known)|in other words)\b")
_OR_LATER = re.compile(
    r"^[\"'*_`)]*, (?:[\w.'-]+(?: [\w.'-]+){0,2}, ){0,3}[\w.'-]+(?: [\w.'-]+)?,? or (?!so\b|more\b|less\b)"
)
_DOUBT = re.compile(
    r"\b(?:don't|do not) know\b|\b(?:can't|cannot|can not) (?:say|tell|know)\b|\bno idea\b|\bwho knows\b|\bwhether\b"
    r"|\bnot enough\b|n't enough\b|\bany(?:thing)? (?:other|else)\b|\btake your pick\b|\b1 of (?:those|these|them|the 2)\b"
    r"|\bimpossible to\b|\bnever (?:told|mentioned|said)\b|\b(?:don't|do not|can't|cannot) (?:remember|recall)\b|\bforgot\b"
    r"|\b(?:might|could) (?:be|also)\b|\b(?:how|what) about\b|\bif it (?:is not|isn't|were|was)\b|\brhymes?\b|\bsounds? like\b"
    r"|\bsomething like\b|\bunless\b|\b(?:joke|joking|kidding|pretend)\b|\bopposite\b|\balmost\b|\bhardly\b|\bso-called\b"
    r"|\bsimilar\b|\bi doubt\b|\bi wish\b|\bclose to\b|\bnear\b|\bfar from\b|\bmade up\b|\bi made\b|\bsome other\b|\bneither of\b"
)
_RETRACTS = re.compile(
    r"(?:^|[,;(] |- |\.\.\. ?)(?:no|wait|sorry|scratch that|i mean|or rather|correction|make that|pardon)\b[,.:!]? +"
    r"(?!(?:\w+ )?(?:problem|need|doubt|worries|wonder|matter|other|more|further|not|idea|for|to)\b)\w"
)
_SUBORDINATE = re.compile(
    r"\b(?:is|are|was|means|meant|called|reads)\b[^,;:]*[,;] (?:as|while|whereas|though|although|unlike|since|because)\b"
    r"[^,;:]*$"
)
_OF_IT = re.compile(
    r"\b(?:friend|brother|sister|son|daughter|wife|husband|mother|father|rival|pupil|enemy|neighbour|neighbor|fan|colleague|"
    r"successor|predecessor|isotope|compound|oxide|north|south|east|west|outside|suburb) "
    r"of[ \"'*]+(?:(?:the|a|an|my|your)[ \"'*]+)?$|\b(?:new|north|south|east|west|little|old|near|named after|small|young) [\"'*]?$"
)
_OF_ANOTHER = re.compile(
    r"^\W*(?:is|was)(?: the)? (?:capital|symbol|author|word|name|price|day) (?:of|for) (?:the )?(\w+)"
)
_THIS = frozenset("this that it these those many several your his her our their a an its what which".split())
_PLAIN_AFTER = frozenset(
    "too then please indeed obviously again sir madam city element gas metal review mail email message label section "
    "sentence tone one it is in of for and as was has at on by to from the because since which who that when though if "
    "euros euro dollars o'clock pm am oclock clock today now here there yes ok I i".split()
)
_ANSWER = re.compile(r"\banswer\b")
_TOTAL = re.compile(
    r"^\W*(?:so|thus|hence|therefore|finally|in total|altogether|in conclusion|the (?:result|total|sum))\b"
    r"|\b(?:therefore|final (?:result|number|amount)|in total|altogether)\b"
)


_NEARLY = re.compile(
    r"(?:(?:^|\b(?:is|equals) |[=:] ?)-|\b(?:about|around|roughly|approximately|nearly|almost|over|under) )(\d[\d,.]{0,15})"
)
_UNIT = re.compile(
    r"(?<![\d.,])(\d[\d,.]{0,15}) ?(%|percent|per cent|cents|¢|pence|kilomet\w+|centimet\w+|met(?:er|re)s|miles|years|days|hours|"
    r"minutes|degrees|kilos?|kilograms?|times)(?!\w)"
)
_ROUNDABOUT = re.compile(r"\b(?:dozens?|score|twice|double|triple|half|less than|more than|short of)\b")
_MAYBE = re.compile(r"\b(?:maybe|perhaps|possibly|or|might|could)\b")
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
def _forms(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, names))})e?s(?!\w)")


@lru_cache(maxsize=4096)
def _folded(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(fold(name) for name in names))


_SYNONYMS = {
    "positive": ("favourable", "favorable", "good", "thumbs up", "happy", "praise", "enthusiastic"),
    "negative": ("unfavourable", "unfavorable", "bad", "thumbs down", "critical", "unhappy", "complain"),
    "command": ("imperative", "order", "instruction"), "question": ("interrogative", "asking", "query"),
    "statement": ("declarative", "assertion", "says that"), "spam": ("junk", "unsolicited", "scam", "advert"),
    "personal": ("private", "friend", "family"), "sports": ("sport", "athletic"), "politics": ("political", "government"),
    "cooking": ("food", "recipe", "culinary", "kitchen"), "weather": ("meteorolog", "forecast"),
}  # fmt: skip


def _spelled_alike(folded: str, accepted: tuple[str, ...], asked: str) -> bool:
    """Whether a short text has a word, not one of the question, that is an accepted one in another spelling."""
    said = [word for word in re.findall(r"[^\W\d]{5,}", folded[:400]) if word not in asked and word not in accepted]
    names = [name for name in accepted if len(name) >= 5]
    return len(said) <= 40 and any(
        abs(len(word) - len(name)) <= 2
        and not word.startswith(name)
        and SequenceMatcher(None, word, name).ratio() >= 0.76
        for word in said
        for name in names
    )


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
        if _DENIED.search(before[-48:]) or goes_on or (named and _DENIED_AFTER.match(after)):
            denied_to = match.end()
            continue
        denied_to = None
        if not named and _ASIDE.search(before[-48:]):
            continue
        viewed = named and (_ATTRIBUTED.search(before) or _VIEW_AFTER.match(after))
        if viewed and _CORRECTED.search(sentence[match.end() :]):
            continue
        found.append(_Hit(named, match[0], match.start(), match.end()))
    return found


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
        if after and not any(name in after[1] for name in accepted):
            return True
    return False


def _doubtful(facts: Mapping[str, Any], said: list[str], place: int, part: str, hits: list[_Hit]) -> str | None:
    """Why a sentence that names the accepted answer may not claim it; None where nothing speaks against it."""
    last = max((hit for hit in hits if hit.accepted), key=lambda hit: hit.end)
    after = part[last.end :]
    if _DOUBT.search(part):
        return "It may not commit itself."
    if _OR_LATER.match(after) and not _ALIAS.search(after):
        return "It may leave a choice open."
    if _FORMER.match(after) or (_ONCE.search(part[: last.start]) and _NOW.search(after)):
        return f"It may call {last.text} something else or a former one."
    if _RETRACTS.search(after) or any(
        _RETRACTS.match(later) and len(later.split()) <= 8 and last.text not in later for later in said[place + 1 :]
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
        if lead and (start := sentence.find(lead)) >= 0 and last.text not in sentence[start:]:
            return "It may say something else of what was asked."
    return None


def _said_elsewhere(
    facts: Mapping[str, Any], said: list[str], part: str, accepted: tuple[str, ...], pattern: re.Pattern[str]
) -> bool:
    """Whether a clause after the one that names the accepted answer says something else of what was asked."""
    question = (sentences(fold(facts.get("prompt", ""))) or [""])[-1]
    asked = {word[:4] for word in re.findall(r"[^\W_]{4,}", pattern.sub(" ", question)) if word not in _STOP}
    clauses = [clause for one in said[said.index(part) :] for clause in _CLAUSE_END.split(one)]
    names = [{match[0] for match in pattern.finditer(clause)} for clause in clauses]
    place = next((index for index, found in enumerate(names) if found & set(accepted)), len(clauses))
    own = {word[:4] for word in re.findall(r"[^\W_]{4,}", " ".join(clauses[: place + 1]))}
    for clause, found in zip(clauses[place + 1 :], names[place + 1 :], strict=True):
        again = (asked & {word[:4] for word in re.findall(r"[^\W_]{4,}", clause)}) - own
        if not found & set(accepted) and len(again) >= (1 if found else 2) and _OWN_VERB.search(clause):
            return True
    return False


def _assigned(facts: Mapping[str, Any], part: str, hits: list[_Hit]) -> Reading | None:
    """What a sentence is worth that says who has what: "the baker comes at 7 and the tutor at 9"."""
    about = {word for word in re.findall(r"\w+", fold(facts.get("lead", ""))) if word not in _STOP}
    mine: list[str] = []
    theirs: list[str] = []
    start = 0
    for end in [found.start() for found in re.finditer(r"[,;] | and ", part)] + [len(part)]:
        inside = [hit for hit in hits if start <= hit.start < end]
        if inside:
            (mine if all(hit.accepted for hit in inside) else theirs).append(part[start:end])
        start = end
    if len(mine) != 1 or not about & set(re.findall(r"\w+", mine[0])):
        return None
    if any(about & set(re.findall(r"\w+", clause)) or len(clause.split()) < 3 for clause in theirs):
        return None
    if hits[0].accepted and _VERB.search(mine[0]) and not _HEDGE.search(part):
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
    folded = _IDIOM.sub(" ", fold(text))
    if facts["accepted"][0][:1].isdigit():
        folded = _THE_ONE.sub(" ", folded)
    asked = facts["accepted"][0]
    said = sentences(without_enumerators(folded, inline=False))
    said = [part for part in said if not part.endswith("?")] or said
    pattern = _pattern(accepted + rivals)
    found = [(part, hits) for part in said if (hits := _hits(part, accepted, pattern))]
    if not any(hit.accepted for _, hits in found for hit in hits):
        other = next((hit.text for _, hits in found for hit in hits), None)
        refused = len(rivals) == 1 and any(pattern.search(part) for part in said)
        if other is None and (
            refused
            or any(word in folded for word in _SYNONYMS.get(accepted[0], ()))
            or _forms(accepted).search(folded)
            or _spelled_alike(folded, accepted, fold(f"{facts.get('prompt', '')} {facts.get('lead', '')}"))
        ):
            return unsure(f"It says a form of {asked}.")
        return wrong(f"It says {other}, not {asked}." if other else f"It does not say {asked}.")
    concluding = [index for index, (part, _) in enumerate(found) if _CONCLUSION.search(part)]
    place = concluding[-1] if concluding else 0
    part, hits = found[place]
    others = [hit for hit in hits if not hit.accepted]
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
    if others and (_HEDGE.search(part) or not _CONTRAST.search(part)):
        names = sum(len(hit.text.split()) for hit in hits)
        if hits[0].accepted and not _HEDGE.search(part) and len(part.split()) > names + 5:
            return unsure(f"It names both {asked} and {others[0].text}.")
        return wrong(f"It names both {asked} and {others[0].text}.")
    if _torn(part, hits, accepted):
        if len({hit.text for hit in hits if hit.accepted}) > 1:
            return unsure(f"It may leave open whether it is {asked} or something else.")
        return wrong(f"It leaves open whether it is {asked} or something else.")
    for later, more in found[place + 1 :]:
        rival = next((hit for hit in more if not hit.accepted), None)
        if rival is None:
            continue
        bare = len(later.split()) <= len(rival.text.split()) + 1
        if bare or _TAKES_BACK.search(later[: rival.start]):
            return wrong(f"It says {asked} first and {rival.text} later.")
    doubt = _doubtful(facts, said, said.index(part), part, hits)
    if doubt is None and _said_elsewhere(facts, said, part, accepted, pattern):
        doubt = f"It may say {asked} of something else."
    if doubt is not None:
        return unsure(doubt)
    return right(f"It says {asked}.", core(folded) in accepted)


def _decisive(sentence: str, given: set[float]) -> list[float]:
    """The numbers that a folded sentence claims, without those that are given or denied."""
    found = []
    for value, start, end in placed_numbers(sentence):
        if value not in given and not _DENIED.search(sentence[max(0, start - 48) : start]):
            attributed = _ATTRIBUTED.search(sentence[max(0, start - 60) : start]) and _CORRECTED.search(sentence[end:])
            if not attributed:
                found.append(value)
    return found


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
    answer back. Where a text works its way to the number, or may not commit itself, nothing is decided but what it
    says in the end. Facts: value, given (numbers that may stand in an explanation).
    """
    value = float(facts["value"])
    shown = f"{value:g}" if value < 1e6 else str(int(value))
    given = {float(other) for other in facts["given"]} - {value}
    if value != 1:
        given.add(1.0)  # the word "one" is rarely a number
    folded = fold(text)
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
    choice = _EITHER_NUMBER.search(part)
    if choice and len(set(both := numbers(f"{choice[1]} {choice[2]}"))) > 1 and value in both:
        return wrong(f"It leaves open whether it is {both[0]:g} or {both[1]:g}.")
    if values[-1] != value:
        last = found[-1]
        works = not places and place < len(found) - 1 and last[1][-1] == value
        if works and ("=" in part or _RETRACTS.match(said[last[0]])) and not _MAYBE.search(said[last[0]]):
            return right(f"It works its way to {shown}.", False)
        clause = re.split(r";| while | whereas | but ", part)[0]
        if value in values and clause != part and value in _decisive(clause, given)[-1:] and not _HEDGE.search(clause):
            return unsure(f"It gives {shown}, and {values[-1]:g} for something else.")
        if works and not _HEDGE.search(said[last[0]]) and len(said[last[0]].split()) > 2:
            return unsure(f"It gives {values[-1]:g} first and {shown} in the end.")
        return wrong(f"It gives {values[-1]:g}, not {shown}.")
    if len(set(values)) > 1 and _HEDGE.search(part):
        return wrong(f"It names both {values[0]:g} and {shown}.")
    for later, more in found[place + 1 :]:
        if more[-1] != value and (_HEDGE.search(said[later]) or len(said[later].split()) <= 2):
            return wrong(f"It gives {shown} first and {more[-1]:g} later.")
    if _DOUBT.search(part) or any(_RETRACTS.match(later) and len(later.split()) <= 8 and value not in numbers(later)
                                  for later in said[index + 1 :]):  # fmt: skip
        return unsure(f"It may not commit itself to {shown}.")
    units = [unit for unit in _UNIT.findall(folded) if value in numbers(unit[0])]
    if units and all(unit[1].replace("¢", "cents")[:4] not in fold(facts.get("prompt", "")) for unit in units):
        return unsure(f"It gives {shown} {units[0][1]}.")
    if any(value in numbers(match[1]) for match in _NEARLY.finditer(folded)):
        return unsure(f"It gives about {shown}, or below zero.")
    bare = numbers(core(folded))
    return right(f"It gives {shown}.", len(folded.split()) == 1 and bare == [value])
