"""What can be said of a text without a model: rules whose outcome can be recomputed from stored rows at any time.

A rule's name is a flag on a sample. What each flag means is in RULES, which the screen shows beside it.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from engine.spec.prompts import MARKER, asks_for_questions
from engine.spec.sections import InstructionsSpec, RulesSpec
from engine.stats.similarity import lcs_length, rouge_l, words

RULES = {
    "empty": "nothing is left after trimming",
    "token_limit": "the token limit ended it, so nobody knows how it would have gone on",
    "no_marker": "the model's end token ended it, not the marker that the examples end with",
    "runaway": "it went past its own end: a second turn, or a loop up to the token limit",
    "repetition": "words repeat in threes beyond the spec's share",
    "echo": "it says the instruction, or the text that the instruction quotes, again instead of answering",
    "marker_leak": "the stop marker or a field name is still in the kept text",
    "control": "it holds control characters",
}
BLOCKING = frozenset(RULES) - {"no_marker"}

_LEAK = re.compile(rf"{MARKER}|\b(?:Instruction|Response)\s*:|<\|?(?:im_start|im_end|endoftext|eos|bos|start_of_turn)")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SECOND_TURN = re.compile(r"\n\s*(?:Instruction|Task|(Question))\s*:")
_ITEM_NUMBER = re.compile(r"(?:^|(?<=\s))\d{1,2}[.)](?=\s)")


def repeated_trigrams(text: str) -> float:
    """Share of word trigrams that are not the first of their kind; 0 below six words.

    The numbers of a list's items are left out: they make "1. Cheddar. 2. Cheddar. 3. Cheddar." look varied.
    """
    found = words(_ITEM_NUMBER.sub(" ", text))
    if len(found) < 6:
        return 0.0
    trigrams = list(zip(found, found[1:], found[2:], strict=False))
    return 1 - len(set(trigrams)) / len(trigrams)


@dataclass(frozen=True, slots=True)
class Measured:
    """What the rules look at in one response; the spec's limits are not in it, so that they can be moved for free."""

    empty: bool
    length: bool
    eos: bool
    second_turn: bool
    loops: float  # share of repeated trigrams, of words or of one long run of characters
    echo: float  # ROUGE-L F of instruction and response; -1 where the response says something of its own
    leak: bool
    control: bool


def measure(instruction: str, raw: str, kept: str, stop_reason: str) -> Measured:
    """Measure one response for `flags_of`."""
    said, quiz = words(kept), asks_for_questions(instruction)
    return Measured(
        empty=not said,
        length=stop_reason == "length",
        eos=stop_reason == "eos",
        second_turn=any(not (quiz and found[1]) for found in _SECOND_TURN.finditer(raw)),
        loops=max(repeated_trigrams(kept), _character_loop(kept)),
        echo=_echo(instruction, kept),
        leak=bool(_LEAK.search(kept)),
        control=bool(_CONTROL.search(kept)),
    )


def flags_of(found: Measured, rules: RulesSpec) -> list[str]:
    """Names of the rules that fire, in the order of RULES."""
    loops = found.loops >= rules.repeated_trigrams
    fired = {
        "empty": found.empty,
        "token_limit": found.length,
        "no_marker": found.eos,
        "runaway": found.second_turn or (found.length and loops),
        "repetition": loops,
        "echo": found.echo >= rules.echo,
        "marker_leak": found.leak,
        "control": found.control,
    }
    return [name for name in RULES if fired[name]]


def response_flags(instruction: str, raw: str, kept: str, stop_reason: str, rules: RulesSpec) -> list[str]:
    """Names of the rules that fire on a response, in the order of RULES."""
    return flags_of(measure(instruction, raw, kept, stop_reason), rules)


QUOTED = re.compile(r'"([^"]+)"|\u201c([^\u201d]+)\u201d|(?<!\w)[\'\u2018](.+?)[\'\u2019](?!\w)')
_CHOICE = re.compile(r"\b(?:which|whose|or|choose|pick|select|compare|better)\b", re.IGNORECASE)
# Words that can be added to an instruction without saying anything.
_LITTLE = frozenset(
    words(
        "a an the of to in on at for from with by as and or so also then is are was were be been am do does did "
        "have has had can could will would should may might must need it its this that these those there here i "
        "you he she we they me him her us them my your his our their who what which when where why how please"
    )
)


def _echo(instruction: str, kept: str) -> float:
    """How much of the instruction comes back: ROUGE-L F, or -1 where the response is no echo whatever they share.

    Many good answers repeat their instruction: "The capital of Peru is Lima", a finished statement, a corrected text.
    So below three words nothing is an echo, and neither is a response that adds a word that says something, unless it
    opens as a finished instruction does. Of a quoted text only the words around it count, or the same text unchanged.
    """
    asked, said = words(instruction), words(kept)
    if len(said) < 3:
        return -1.0
    if quoted := [next(filter(None, found)) for found in QUOTED.findall(instruction)]:
        asking = QUOTED.sub(" ", instruction)
        if _bare(kept) in map(_bare, quoted) and (len(quoted) == 1 or not _CHOICE.search(asking)):
            return 1.0
        around = words(asking)
        if 2 * lcs_length(around, said) < len(around):
            return -1.0
    finished = instruction.rstrip(" \"')\u2019\u201d")[-1:] in tuple(".!?")
    says_something = set(said) - set(asked) - _LITTLE
    return -1.0 if says_something and not (finished and said[0] == asked[0]) else rouge_l(asked, said)


def _bare(text: str) -> str:
    """Without the marks around it and whether its first letter is a capital; other marks may be what was asked for."""
    bare = " ".join(text.split()).strip(" .\"'\u2018\u2019\u201c\u201d")
    return bare[:1].lower() + bare[1:]


def _character_loop(text: str) -> float:
    """Share of a long unspaced run that repeats (1000000…, aaaa…), which words do not show."""
    run = max(text.split(), key=len, default="")
    if len(run) < 40:
        return 0.0
    pieces = [run[i : i + 3] for i in range(len(run) - 2)]
    return 1 - len(set(pieces)) / len(pieces)


_META = re.compile(
    r"\b(?:numbered list|list of (?:varied )?tasks|writing assistant|instructions? (?:above|below)|"
    r"as an? (?:ai|language model))\b"
    r"|^(?:task|instruction|response|answer|question|example|topic)\s*\d*\s*[:.]",
    re.IGNORECASE,
)
_MISSING = re.compile(
    r"\b(?:(?:the|this|that|these|those|each) (?:given |above |below )?"
    r"(?:passage|paragraph|picture|image|photo(?:graph)?|figure|diagram|chart|graph|table|map|article|excerpt|"
    r"author|narrator|character|speaker|poem|story|text|video|film|illustration|cartoon|dialogue|conversation)s?\b"
    r"|(?:in|from|of|with) (?:the|this) (?:sentences?|words?|list|box) (?:above|below)\b"
    r"|\b(?:above|below)\s*[.?!]?\s*$"
    r"|\bthe following\b|\bas follows\b|\bthese (?:sentences|words|questions|statements|numbers|topics|events)\b"
    r"|\bthis (?:sentence|word|question|statement|square|circle|triangle|shape|number|equation|problem|topic|event)\b"
    r"|\bfill in the blanks?\b|_{3,})",
    re.IGNORECASE,
)
_HOLDS_ITS_TEXT = re.compile(r"[:'\"\u2018\u201c].{8,}")
_ABOUT_A_TEXT = frozenset({"evaluation", "revision"})  # kinds of instruction that hold the text they speak of
_AFTER_COLON = re.compile(r":\s+\S+\s+\S")


def instruction_status(text: str, regular: bool, spec: InstructionsSpec) -> tuple[str, str]:
    """What a line of the list is: (distinct, "") where nothing speaks against it, else a status and why.

    malformed: no instruction by its form; meta: talks about the list; context: needs something that is not there, as
    does one of the kinds evaluation and revision that quotes no text.
    """
    count = len(words(text))
    if not regular:
        return "malformed", "its line does not carry the next number"
    if count < spec.min_words:
        return "malformed", f"{count} words, at least {spec.min_words} expected"
    if count > spec.max_words:
        return "malformed", f"{count} words, at most {spec.max_words} expected"
    if _LEAK.search(text) or _CONTROL.search(text):
        return "malformed", "a marker, a field name or a control character in it"
    letters = sum(c.isalpha() for c in text)
    if letters < 0.5 * len(text.replace(" ", "")):
        return "malformed", "mostly not letters"
    if repeated_trigrams(text) >= 0.3:
        return "malformed", "it repeats itself"
    if _META.search(text):
        return "meta", "it talks about the list"
    if (found := _MISSING.search(text)) and not _HOLDS_ITS_TEXT.search(text[found.start() :]):
        return "context", f"refers to {found.group(0)!r}, which is not there"
    if spec.kind in _ABOUT_A_TEXT:
        around = QUOTED.sub(" ", text)
        if around == text and not _AFTER_COLON.search(text):
            return "context", "quotes no text that it is about"
        if len(words(around)) < 2:
            return "malformed", "a quotation without a task"
    if text.rstrip()[-1:] in ",;:-(" or text.count('"') % 2 or text.count("(") != text.count(")"):
        return "truncated", "it stops in the middle"
    return "distinct", ""


class TopicGuess:
    """The topic of an instruction: that of the seeds which use its words most; "other" where none does."""

    def __init__(self, seeds: list[tuple[str, str]]) -> None:
        self._by_word: dict[str, Counter[str]] = {}
        for topic, text in seeds:
            for word in {word for word in words(text) if len(word) >= 4}:
                self._by_word.setdefault(word, Counter())[topic] += 1

    def of(self, text: str) -> str:
        """The most likely topic; the first in the alphabet among equals."""
        votes: Counter[str] = Counter()
        for word in set(words(text)):
            for topic, count in self._by_word.get(word, Counter()).items():
                votes[topic] += count / sum(self._by_word[word].values())  # type: ignore[assignment]
        return min(votes, key=lambda topic: (-votes[topic], topic)) if votes else "other"
