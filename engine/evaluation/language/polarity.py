"""How a clause stands to what it names: denied, told of others, hedged, taken back. Patterns over folded text."""

from __future__ import annotations

import re

_JOINED = r"[\s\"'*_`(]+"  # what may stand between words of one clause
DENIED = re.compile(
    rf"(?:(?:\bnot|n't) what (?:[\w']+ ){{0,4}}|\bno (?!doubt|question|problem|idea|matter|wonder|other)(?:\w+ )?|"
    rf"\b(?:hesitate|reluctant|too early|wrong) to (?:\w+ ){{0,3}}|"
    rf"\b(?:not|never|neither|nor|nothing|unlike|cannot be|isn't|aren't|wasn't|"
    rf"n't){_JOINED}(?:[\w']+{_JOINED}){{0,2}}"
    rf"|n't{_JOINED}(?:\w+{_JOINED}){{0,2}}|\b(?:instead of|rather than|used to be|formerly|no longer|far from|"
    rf"anything but|anything except|everything but|"
    r"other than|apart from|except|forget|forget about|ignore|drop|skip|wary of)\W+"
    r"(?:\w+\W+){0,1})$"
)
DENIED_AFTER = re.compile(
    r"^[\"'*_`)]*,? (?:(?:is|was|are|were|will|would|does|did|do|has|have|can|could|should)(?:n't| not)|never|"
    r"can't|won't)"
    r" (?!only\b|just\b)|^[\"'*_`)]* (?:is|was|would be) (?:wrong|false|incorrect|mistaken|not|an error|"
    r"a mistake|a myth)\b"
)
ATTRIBUTED = re.compile(
    r"\b(?:many|most|some|people|others|everybody|everyone|they|he|she|you|one|1|folks|tourists|children|students) "
    r"(?:\w+ ){0,3}?(?:say|says|said|think|thinks|thought|believe|believes|believed|call|calls|claim|claims|"
    r"guess|assume|"
    r"assumes|take|mistake|confuse|expect|answer|put|write)\b.{0,30}$|[^\W\d]+ says\b.{0,30}$|\b(?:mistakenly|"
    r"wrongly|falsely)\b.{0,30}$"
)
OPINION = re.compile(
    r"\b(?:many|most|some|people|others|everybody|everyone|they|he|she|folks|tourists|children|students) "
    r"(?:\w+ ){0,2}?(?:think|thinks|thought|believe|believes|believed|guess|guesses|assume|assumes|expect|expects|"
    r"(?:would|might|may|could) (?:say|call|take|answer|guess|think|pick|choose|name|expect))\b.{0,40}$"
    r"|(?<!\bi )\b(?!who\b|that\b)[^\W\d]+ (?:thinks|believes|assumes|guesses|suspects|claims|insists|hopes|"
    r"swears)\b.{0,40}$"
    r"|\bi (?:first |once |almost |nearly |at first |had )?(?:thought|wanted to say|would have said|guessed|assumed)\b"
    r".{0,40}$|\b(?:at first|first) i (?:\w+ )?(?:thought|guessed|assumed|said|wanted)\b.{0,40}$"
)
CONCEDED = re.compile(r"\b(?:though|although|even if|while|whereas|despite)\b[^,;]{0,60}$")
CORRECTED = re.compile(r"\b(?:but|however|yet|wrong|wrongly|mistake|mistaken|mistakenly|false|in fact|not true|myth)\b")
VIEW_AFTER = re.compile(
    r"^\W*(?:is|was|would be) (?:what (?:\w+ ){0,2}(?:people|i|you|they|we|1|everybody|many|most|some)|only if)\b"
)
ASIDE = re.compile(
    r"(?:\bno (?:[\w'-]+ ){0,2}|\bbetween\W+(?:[\w']+\W+){0,3}|"
    r"\b(?:than|before|after|precedes|follows|following|preceding|think|thinks|thought|believe|assume|confuse|"
    r"confused with|mistake|although|though|while|whereas|"
    r"like|unlike|despite|without|from|besides|as opposed to|different from|same as|friend of)\W+(?:[\w']+\W+){0,3})$"
)
NEGATED = re.compile(
    r"\b(?:not|no|nothing|nobody|never|none|neither|nor|hardly|without|cannot)\b[^,;:]*$|n't\b[^,;:]*$"
)  # fmt: skip
_CLAUSE_START = re.compile(r"[:;]|\.\.\.| - |, but |, so |, and ")
HEDGE = re.compile(
    r"\b(?:or|either|maybe|perhaps|possibly|might|could|actually|alternatively|not sure|unsure|i guess|correction|"
    r"wait|on second thought|probably)\b"
)
DOUBT = re.compile(
    r"\b(?:don't|do not) know\b|\b(?:can't|cannot|can not) (?:say|tell|know)\b|\bno idea\b|\bwho knows\b|\bwhether\b"
    r"|\bnot enough\b|n't enough\b|\bany(?:thing)? (?:other|else)\b|\btake your pick\b|\b1 of (?:those|these|"
    r"them|the 2)\b"
    r"|\bimpossible to\b|\bnever (?:told|mentioned|said)\b|\b(?:don't|do not|can't|cannot) (?:remember|recall)\b|"
    r"\bforgot\b"
    r"|\b(?:might|could) (?:be|also)\b|\b(?:how|what) about\b|\bif it (?:is not|isn't|were|was)\b|\brhymes?\b|"
    r"\bsounds? like\b"
    r"|\bsomething like\b|\bunless\b|\b(?:joke|joking|kidding|pretend)\b|\bopposite\b|\balmost\b|\bhardly\b|"
    r"\bso-called\b"
    r"|\bsimilar\b|\bfrom \w+ to\b|\bi doubt\b|\bi wish\b|\bclose to\b|\bnear\b|\bfar from\b|\bmade up\b|\bi made\b|"
    r"\bsome other\b|\bneither of\b"
)
RETRACTS = re.compile(
    r"(?:^|[,;(] |- |\.\.\. ?)(?:no|wait|sorry|scratch that|i mean|or rather|correction|make that|pardon)\b[,.:!]? +"
    r"(?!(?:\w+ )?(?:problem|need|doubt|worries|wonder|matter|other|more|further|not|idea|for|to)\b)\w"
)
TAKES_BACK = re.compile(
    r"^\W*(?:or|no|wait|maybe|perhaps|possibly|correction)\b"
    r"|\b(?:actually|alternatively|on second thought|correction|not sure|unsure|i guess|"
    r"or (?:maybe|perhaps|possibly|even)|"
    r"(?:could|might|may) (?:also )?(?:be|say)|it(?:'s| is) (?:also|probably))\b"
)


def clause_before(text: str) -> str:
    """What stands before a place within its clause."""
    return _CLAUSE_START.split(text)[-1]
