"""Verdicts on answers to held-out items, by code alone.

An answer that goes on with a question of its own, as a base model's often does, is also read up to there.

No verifier looks at how long an answer is unless its instruction asks for a length. What an answer says after a right
answer does not count against it, unless it takes the answer back or names another one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine.core.data import data_file
from engine.evaluation import Item, Verdict, amounts, claims, forms, refusals, wording
from engine.evaluation.language.members import MEMBERS
from engine.evaluation.reading import Reading, wrong
from engine.evaluation.text import before_new_turn, clean, looser, without_prompt

Check = Callable[[Mapping[str, Any], str], Reading]

CHECKS: dict[str, Check] = {
    "claim": claims.claim,
    "number": amounts.number,
    "list": forms.listed,
    "json": forms.json_value,
    "table": forms.table,
    "words": wording.word_count,
    "sentences": wording.sentence_count,
    "rewrite": wording.rewritten,
    "order": wording.ordered,
    "refused": refusals.refused,
    "answered": refusals.answered,
}
_CURLY = re.compile("[“”„‘’«»]")
LENGTH_TYPES = ("exact_words", "exact_sentences")  # whose instruction asks for a length
WHOLE_CHECKS = ("words", "sentences")  # of the whole answer: these instructions ask for nothing after it
# The files that decide verdicts: their bytes are part of an audit's identity.
SCORER_FILES = (
    "text.py",
    "reading.py",
    "language/members.py",
    "language/grammar.py",
    "language/spelling.py",
    "language/polarity.py",
    "language/elsewhere.py",
    "claims.py",
    "amounts.py",
    "forms.py",
    "wording.py",
    "refusals.py",
    "verifiers.py",
)


def verify(item: Item, answer: str) -> Verdict:
    """The verdict on an answer under the rule that counts, a stricter and a looser one; strict implies correct, loose.

    Raises nothing on any text.
    """
    text = clean(answer)
    first = _judge(item, text)
    if first.correct and item.facts["check"] == "json" and _CURLY.search(answer):
        bare = _judge(item, clean(_CURLY.sub("", answer)))
        first = bare if bare.correct else wrong("Its quotes are no quotes of JSON.")
    if first.correct:
        return Verdict(True, first.strict, True, first.why)
    loose = any(_judge(item, variant).correct for variant in looser(text))
    return Verdict(first.correct, False, loose, first.why)


def _judge(item: Item, text: str) -> Reading:
    if not text:
        return wrong("The answer is empty.")
    rest = without_prompt(text, item.prompt, tuple(turn for turn, _ in item.history))
    if not rest:
        return wrong("The answer only repeats the question.")
    facts = {**item.facts, "prompt": item.prompt}
    whole = judge(facts, rest)
    if whole.correct or item.facts["check"] in WHOLE_CHECKS or "style" in item.facts:
        return whole
    answer = before_new_turn(rest)
    return judge(facts, answer) if answer != rest else whole


def judge(facts: Mapping[str, Any], text: str) -> Reading:
    """What a text is worth against facts: the check that they name, and the style that they ask for."""
    style = facts.get("style")
    if style is None:
        return CHECKS[facts["check"]](facts, text)
    styled = wording.styled(style, text)
    if not styled.correct:
        return styled
    content = CHECKS[facts["check"]](facts, wording.undressed(style, text))
    return Reading(content.correct, bool(content.correct) and styled.strict, content.why)


@lru_cache(maxsize=1)
def scorer_sha256() -> str:
    """The hash of the source of all code that decides verdicts, and of the lists that it knows members from."""
    digest = hashlib.sha256()
    for name in SCORER_FILES:
        digest.update(name.encode() + b"\0" + (Path(__file__).parent / name).read_bytes())
    digest.update(data_file(MEMBERS).read_bytes())
    return digest.hexdigest()
