"""How a verifier reads an answer: normal forms, sentences, numbers, what repeats the question, and looser readings."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

_WORDS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
_ONES = (*_WORDS.split(), "seventeen", "eighteen", "nineteen")
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
UNITS = {word: value for value, word in enumerate(_ONES)} | {word: 20 + 10 * i for i, word in enumerate(_TENS)}
_QUOTES = str.maketrans(
    {"’": "'", "‘": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "–": "-", "—": " - ", "−": "-"}
)
_INVISIBLE = re.compile(r"[\u200b-\u200f\u2060\ufeff\x00-\x08\x0b-\x1f\x7f]")
_SPACES = re.compile(r"[ \t\u00a0]+")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]*_]{0,3}\s+|\n+")
_ABBREVIATIONS = re.compile(
    r"\b(Mr|Mrs|Ms|Dr|St|Mt|Prof|Rev|Gen|Capt|Sgt|Lt|Fig|cf|ca|vs|etc|e\.g|i\.e|approx|No)\.(?=\s)", re.IGNORECASE
)
_INITIALS = re.compile(r"\b(?:[A-Za-z]\. ?){2,4}(?=\w)")
_TOKEN = re.compile(r"[^\W_]+(?:['\-.,][^\W_]+)*")
_ENUMERATOR = re.compile(r"(?m)^[ \t>]*(?:[-*•+]|\(?\d{1,2}[.)]|step \d{1,2}[:.)])[ \t]+(?=\S)", re.IGNORECASE)
_INLINE_ENUMERATOR = re.compile(r"(?<!\S)\(?\d{1,2}[.)]\s+(?=[^\W\d])")
_EDGE = " \t\n\"'`*_.,;:!?()[]{}<>-#"
_COMPOUND = re.compile(rf"\b({'|'.join(_TENS)})[- ]({'|'.join(_ONES[1:10])})\b")
_HUNDREDS = re.compile(r"\b(\d{1,2}|a)[ -](hundred)(?:,?(?: and)?[ -](\d{1,3}))?(?![\d.,]*\d|[ -]hundred)\b")
_THOUSANDS = re.compile(r"\b(\d{1,3}|a)[ -](thousand)(?:,?(?: and)? (\d{1,3}))?\b")
_WORD_NUMBER = re.compile(rf"\b({'|'.join(sorted(UNITS, key=len, reverse=True))})\b")
_NUMBER = re.compile(r"(?<![\w.,])[-+]?\$?€?£?(\d[\d,]*(?:\.\d+)?)|(?<=[$€£=(])(\d[\d,]*(?:\.\d+)?)")
_DECIMAL_COMMA = re.compile(r"^(\d+),(\d{1,2})$")
_NEW_TURN = re.compile(
    r"\n[ \t*#>]*(?:question|q|instruction|user|human|input|prompt|task|exercise|problem)[ ]?\d{0,3}[.:)]",
    re.IGNORECASE,
)
_COURTESY = re.compile(
    r"(?:(?:sure|certainly|of course|okay|ok|yes|absolutely|no problem|great question|good question|gladly|"
    r"happy to help|i'd be happy to help|thank you|thanks)(?: thing| with that)?[.!,]?\s*){1,3}",
    re.IGNORECASE,
)
_OPENING = re.compile(
    r"(?:sure|certainly|of course|okay|ok|yes|absolutely|here|the following|below|this is|my answer|answer|response|"
    r"sentence|result|rewritten|output|final)[^:\n.!?]{0,120}:\s+",
    re.IGNORECASE,
)


def word_set(words: str) -> frozenset[str]:
    """The words of a text, parted by blanks."""
    return frozenset(words.split())


def clean(text: str) -> str:
    """NFKC, plain quotes and dashes, no invisible characters, one space for many, no blanks at the ends."""
    text = unicodedata.normalize("NFKC", text.replace("\r\n", "\n").replace("\r", "\n")).translate(_QUOTES)
    return _SPACES.sub(" ", _INVISIBLE.sub("", text)).strip()


def fold(text: str) -> str:
    """What is left when case and accents are not asked about, with number words as digits."""
    text = text.casefold()
    if not text.isascii():
        text = text.replace("œ", "oe").replace("æ", "ae")
        text = "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    text = _COMPOUND.sub(lambda m: str(UNITS[m[1]] + UNITS[m[2]]), text)
    text = _WORD_NUMBER.sub(lambda m: str(UNITS[m[1]]), text)
    if "hundred" in text:
        text = _HUNDREDS.sub(_hundreds, text)
    return _THOUSANDS.sub(_hundreds, text) if "thousand" in text else text


def _hundreds(found: re.Match[str]) -> str:
    count = 1 if found[1] == "a" else int(found[1])
    return str(count * (100 if found[2] == "hundred" else 1000) + int(found[3] or 0))


def core(text: str) -> str:
    """The text without quotes, marks and punctuation around it."""
    return text.strip(_EDGE)


def sentences(text: str) -> list[str]:
    """Lines and sentences, without blank ones."""
    guarded = _ABBREVIATIONS.sub(lambda m: m[1] + "\u0001", text)
    guarded = _INITIALS.sub(lambda m: m[0].replace(".", "\u0001"), guarded)
    return [part.replace("\u0001", ".").strip() for part in _SENTENCE_END.split(guarded) if part.strip()]


def tokens(text: str) -> list[str]:
    """Words as a person counts them: a hyphen, an apostrophe or a decimal point inside does not part a word."""
    return _TOKEN.findall(text)


def without_enumerators(text: str, inline: bool = True) -> str:
    """The text without the numbers and bullets of its lists."""
    text = _ENUMERATOR.sub("", text)
    return _INLINE_ENUMERATOR.sub("", text) if inline else text


def placed_numbers(folded: str) -> list[tuple[float, int, int]]:
    """The numbers of a folded text, each with where it begins and ends, without signs and thousands separators.

    A comma before one or two last digits is a decimal one.
    """
    found = []
    for match in _NUMBER.finditer(folded):
        digits = (match[1] or match[2]).rstrip(",")
        digits = _DECIMAL_COMMA.sub(r"\1.\2", digits).replace(",", "")
        found.append((float(digits[:18]), match.start(), match.end()))
    return found


def numbers(folded: str) -> list[float]:
    """The numbers of a folded text, without signs and thousands separators."""
    return [value for value, _, _ in placed_numbers(folded)]


@lru_cache(maxsize=4096)
def _said_before(prompt: str, turns: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The question in its normal form, and the long lines and sentences of it and of earlier turns."""
    texts = [clean(text) for text in (prompt, *turns)]
    parts = [part for text in texts for part in (*text.split("\n"), *sentences(text))]
    long = {part.strip() for part in parts if len(part.split()) > 3}
    return texts[0], tuple(sorted(long, key=lambda part: (-len(part), part)))


def without_prompt(text: str, prompt: str, turns: tuple[str, ...] = ()) -> str:
    """An answer without the question where it repeats it as a whole, and without long parts of what was asked."""
    prompt, parts = _said_before(prompt, turns)
    place = text.find(prompt)
    if place < 0 and len(text.lower()) == len(text):
        place = text.lower().find(prompt.lower())
    if place >= 0:
        text = text[:place] + "\n" + text[place + len(prompt) :]
    for part in parts:
        if part in text:
            text = text.replace(part, "\n")
    text = text.strip()
    return "" if " ".join(tokens(text)) == " ".join(tokens(prompt)) else text


def before_new_turn(text: str) -> str:
    """An answer up to where it begins another question or turn by itself; the whole where it does not."""
    turn = _NEW_TURN.search(text, 1)
    return text[: turn.start()].rstrip() if turn and text[: turn.start()].strip() else text


def payload(text: str) -> str:
    """What was asked for: the text after courtesies and a line or clause that only announces it."""
    lines = text.strip().split("\n")
    while len(lines) > 1 and (not lines[0].strip() or lines[0].strip(" *_").endswith(":") or _is_courtesy(lines[0])):
        lines = lines[1:]
    rest = "\n".join(lines).strip()
    opened = _COURTESY.match(rest)
    if opened and opened.end() < len(rest) and opened[0].rstrip()[-1] in ".!":
        rest = rest[opened.end() :].strip()
    announced = _OPENING.match(rest)
    return rest[announced.end() :].strip() if announced and announced.end() < len(rest) else rest


def _is_courtesy(line: str) -> bool:
    return _COURTESY.fullmatch(line.strip()) is not None


def looser(text: str) -> Iterator[str]:
    """Seven looser readings: without asterisks, without the first line, without the last, and what these combine to.

    Zhou et al. 2023, "Instruction-Following Evaluation for Large Language Models" (arXiv 2311.07911, section 2.2).
    """
    lines = text.split("\n")
    cuts = [lines, lines[1:], lines[:-1], lines[1:-1]]
    for number, cut in enumerate(cuts):
        left = "\n".join(cut).strip()
        if left and number:
            yield left
        plain = left.replace("*", "").strip()
        if plain and plain != left:
            yield plain
