"""What can be said of a revision without a model: whether it changed anything, and whether it is a response at all.

A base model often copies an example, says the instruction again, or talks about the response instead of writing one; a
critic alone has been seen to prefer such texts. All of it is recomputed from stored text, as for responses.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from engine.quality.rules import BLOCKING as RESPONSE_BLOCKING
from engine.quality.rules import response_flags
from engine.spec.sections import RevisionsSpec, RulesSpec
from engine.stats.similarity import lcs_length, rouge_l, words

REVISION_RULES = {
    "unchanged": "it says what was there before",
    "copied": "it is copied from a solved example",
    "recited": "it says the principle or a request that it was shown instead of answering",
    "about_response": "it talks about the response instead of being one",
    "longer_only": "it keeps the original whole and only adds to it",
    "length": "it is far longer or shorter than the original",
}
BLOCKING = frozenset(REVISION_RULES) | RESPONSE_BLOCKING

_ABOUT = re.compile(
    r"\b(?:the|this|that|your|my|original|revised|new) (?:response|revision|critique|instruction)\b.{0,40}"
    r"\b(?:is|was|are|has|had|does|should|could|needs?|says?|said|asks?)\b.{0,40}"
    r"\b(?:correct|complete|good|fine|clear|better|best|wrong|false|right|short|long|vague|answered|says?|asks?|twice|"
    r"padding|concrete|rewritten|revised)\b"
    r"|\b(?:the|your) answer (?:should|needs to|must|could)\b"
    r"|^\s*(?:the answer is (?:correct|complete|good|fine|clear)\b|rewrite the |revised\b|rewritten\b|"
    r"(?:here is|here's) (?:the|a|my) (?:revised|rewritten|better|new) |i have (?:rewritten|revised|changed)|"
    r"revision\s*:|(?:better )?response\s*:)",
    re.IGNORECASE,
)
# The critique goes on in the place of a revision: "The words 'he' and 'it' are wrong", "'a warm bath' is true".
_ABOUT_WORDS = re.compile(
    r"^\W*(?:the (?:words?|phrases?|statements?|sentences?|conclusion|description)\b|['\"\u2018\u201c][^'\"\n]{2,80}"
    r"['\"\u2019\u201d]\W).{0,60}?\b(?:is|are|was|were)\s+(?:not\s+)?(?:an?\s+)?(?:too\s+|very\s+|so\s+)?"
    r"(?:true|false|wrong|right|correct|clear|unclear|short|long|easy|good|bad|vague|words?|repeated|misleading)\b",
    re.IGNORECASE,
)
_ASKS_ABOUT_WORDS = re.compile(
    r"[\"\u201c\u2018]|(?<!\w)'|\b(?:words?|phrases?|statements?|sentences?|true|false|mean(?:s|ing)?)\b", re.IGNORECASE
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
RECITED = 0.5
_STOP = frozenset(
    words(
        "about also because been being could does each from have into just more most only other over should some such "
        "than that their them then there these they this those very were what when where which while will with would "
        "your response instruction sentence says said part words"
    )
)


@dataclass(frozen=True, slots=True)
class Changed:
    """How a revision differs from what it revised, by words."""

    edit_distance: float  # insertions and deletions over the words of both: 0 the same, 1 nothing in common
    length_ratio: float  # words of the revision over those of the original
    kept: float  # share of the original's words that are still there, in order
    added: float  # words added, over those of the original


def changed(before: str, after: str) -> Changed:
    """Compare two texts by their longest common subsequence of words."""
    a, b = words(before), words(after)
    common = lcs_length(a, b) if a and b else 0
    n = max(len(a), 1)
    total = len(a) + len(b)
    return Changed(1 - 2 * common / total if total else 0.0, len(b) / n, common / n, (len(b) - common) / n)


def revision_flags(
    instruction: str,
    before: str,
    raw: str,
    after: str,
    stop_reason: str,
    examples: Sequence[str],
    principle: Sequence[str],
    spec: RevisionsSpec,
    rules: RulesSpec,
) -> list[str]:
    """Names of the rules that fire on a revision: those of responses, then those of REVISION_RULES.

    `examples` are the texts of the solved examples, `principle` those of the principle and its requests.
    """
    found = changed(before, after)
    said = words(after)
    fired = {
        "unchanged": found.edit_distance < spec.unchanged_below,
        "copied": any(rouge_l(words(example), said) >= spec.copied_at for example in examples),
        "recited": recites(instruction, before, after, principle, spec.copied_at),
        "about_response": bool(_ABOUT.search(after))
        or (bool(_ABOUT_WORDS.search(after)) and not _ASKS_ABOUT_WORDS.search(instruction)),
        "longer_only": found.kept >= 0.95 and found.added >= spec.longer_only_at,
        "length": not spec.length_ratio_at_least <= found.length_ratio <= spec.length_ratio_at_most,
    }
    ended = response_flags(instruction, raw, after, stop_reason, rules)
    return [*ended, *(name for name in REVISION_RULES if fired[name])]


def recites(instruction: str, before: str, after: str, shown: Sequence[str], copied_at: float) -> bool:
    """Whether a revision, or one of its sentences, is made of words of the principle or the requests that were `shown`.

    A sentence counts where it keeps to their order in RECITED of its words and has three or more words of four letters
    from them that neither the instruction nor the original has.
    """
    own = set(words(instruction)) | set(words(before)) | _STOP
    told = [words(text) for text in shown]
    for sentence in {after, *_SENTENCE.split(after)}:
        said = words(sentence)
        for text in told:
            new = {word for word in said if len(word) >= 4} & set(text) - own
            if len(new) >= 3 and (lcs_length(text, said) >= RECITED * len(said) or rouge_l(text, said) >= copied_at):
                return True
    return False


def names_something(critique: str, instruction: str, response: str, request: str) -> bool:
    """Whether a critique speaks of this response: it quotes or uses a word of it that was not put into its mouth.

    A word counts if it has four letters or more, stands in the response, and neither in the instruction nor in the
    critique request.
    """
    own = {word for word in words(response) if len(word) >= 4} - set(words(instruction)) - set(words(request)) - _STOP
    return bool(own & set(words(critique)))


_REFUSES = re.compile(
    r"\b(?:i(?:['’]m| am)? ?(?:sorry|afraid|unable)|^\s*sorry\b|i won['’]t\b|say no\b|rather not|must decline"
    r"|prefer not to|(?:against|breaks?|breaking) the law|i(?:['’]m| am) not (?:able|willing|going) to|i will leave"
    r"|i (?:can['’]t|cannot|can not|couldn['’]t|don['’]t|do not|shouldn['’]t|should not|will not)\b.{0,40}"
    r"\b(?:help|do (?:that|this|it)|assist|support|tell|explain|advise|give|want|recommend|write))\b",
    re.IGNORECASE,
)


def refuses(text: str) -> bool:
    """Whether a response reads as a refusal; by its wording, so a rule of thumb that is stored with its result."""
    return bool(_REFUSES.search(text))
