"""Checks of wording: numbers of words and sentences, rewritten sentences, orders, and styles of a whole answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

from engine.evaluation.language import grammar
from engine.evaluation.reading import Reading, right, unsure, wrong
from engine.evaluation.text import core, fold, payload, sentences, tokens, without_enumerators

_COUNTED = re.compile(r"\s*[(\[]\d{1,3} (?:words|sentences)[)\]]\.?\s*$", re.IGNORECASE)
_NO_ANSWER = re.compile(
    r"\b(?:language model|as an ai|i (?:don't|do not|can't|cannot) (?:know|answer|say|help|write|tell)|i'm sorry|"
    r"i am sorry|"
    r"i know nothing)\b"
)
_ABOUT = re.compile(
    r"\b(?:it|its|it's|they|their|they're|them|these|those|this|that|he|she|his|her|some|most|many|both|each|all)\b"
)
_META = re.compile(
    r"\b(?:here (?:is|are|you)|i hope|as (?:requested|asked|you)|you asked|let me know|sentences?|i (?:can|will|"
    r"could|would|wrote|"
    r"have written|don't|am)|hope (?:this|that)|that(?:'s| is) (?:it|all)|these are|the end|thank you|please|sorry)\b"
)
_AFTER_END = re.compile(r"(?<=[.!?])\s*[^\w\s.!?\"')\]*_]+\s*$")
_SMILEY = re.compile(r"\s*(?:[:;]-?[)(DPp]|[\U0001f000-\U0001faff\u2600-\u27bf\ufe0f])+$")
_ENDED = re.compile(r"[.!?][\"')\]*_]{0,3}$")
_DENIED = re.compile(r"(?:\b(?:not|never)|n't) (?:\w+ )?\W*$")
_BRACKETS = re.compile(r"\([^()]*\)")
_IN_PLACE_OF = re.compile(r"\b(?:instead of|rather than)\b[^.;\n]*")
_TAKEN_BACK = re.compile(r"\b(?:no|sorry|wait|rather|actually|correction|mean|mistake|instead)\b")
_ENTRY_BETWEEN = re.compile(
    r"\W*[,/<>→]\W*(?:(?:and|then|the|an?)\W+)*(?!(?:and|then|next|finally|lastly|the|an?)\b)\w+\W*[,/<>→]\W*"
    r"(?:(?:and|then|the|an?)\W+)*"
)
_ENTRY_BEFORE = re.compile(
    r"\W*(?!(?:sure|yes|ok|okay|here|first|alphabetically|so|answer|well|right)\b)[^\W\d]+\W*[,<>→]\W*"
)
_ENTRY_AFTER = re.compile(r"\W*(?:[,/<>→]|, and)\W*(?!(?:right|done|correct|please|respectively|in|so|ok)\b)\w+\W*")
_QUOTED = re.compile(r'"([^"\n]{3,400})"')
_QUOTES = " \t\n\"'`*_"


def _asked(text: str) -> str:
    return _COUNTED.sub("", payload(text)).strip(_QUOTES)


def word_count(facts: Mapping[str, Any], text: str) -> Reading:
    """Whether a text has exactly k words, with those that it has to hold.

    A hyphenated word counts as one or as its parts, as people differ. Facts: k, holds, first, last (words or null).
    """
    k = int(facts["k"])
    asked = _asked(text)
    words = tokens(asked)
    parts = tokens(asked.replace("-", " "))
    if k not in (len(words), len(parts)):
        return wrong(f"{len(words)} words, {k} asked for.")
    folded = [fold(word) for word in parts]
    for word in facts["holds"]:
        if fold(word) not in folded:
            return wrong(f"The word {word} is missing.")
    if facts["first"] and folded[0] != fold(facts["first"]):
        return wrong(f"It does not begin with {facts['first']}.")
    if facts["last"] and folded[-1] != fold(facts["last"]):
        return wrong(f"It does not end with {facts['last']}.")
    if 3 * len(set(folded)) < 2 * len(folded):
        return wrong("It repeats words to reach the number.")
    said = sentences(asked)
    if not facts["last"] and len(said) > 1 and all(one[:1].isupper() for one in said):
        return wrong(f"{len(said)} sentences, one asked for.")
    if grammar.breaks_off(asked):
        return wrong("It breaks off.")
    doubt = grammar.doubtful(asked, strict=True)
    if doubt is not None:
        return unsure(doubt)
    return right(f"{k} words, as asked.", core(asked) == core(text))


def sentence_count(facts: Mapping[str, Any], text: str) -> Reading:
    """Whether a text has exactly k whole sentences, all different, and is about its topic. Facts: k, about."""
    k = int(facts["k"])
    asked = _AFTER_END.sub("", without_enumerators(_asked(text)))
    found = [part for part in sentences(asked) if tokens(part)]
    if found and (smiley := _SMILEY.search(found[-1])) and not _ENDED.search(found[-1]):
        found[-1] = found[-1][: smiley.start()].rstrip()
        if not _ENDED.search(found[-1]):
            return unsure("Its last sentence ends with a picture.")
    if found and not _ENDED.search(found[-1]):
        return wrong("The last sentence is not ended.")
    if len(found) != k:
        if k in _other_counts(asked, found):
            return unsure(f"{len(found)} sentences or {k}, as one counts.")
        return wrong(f"{len(found)} sentences, {k} asked for.")
    if any(not _ENDED.search(part) or len(tokens(part)) < 2 for part in found):
        short = all(_ENDED.search(part) for part in found)
        return (unsure if short else wrong)("Something in it is no whole sentence.")
    if len({fold(core(part)) for part in found}) < k:
        return wrong("A sentence stands there twice.")
    folded = fold(asked)
    if not _names(asked, facts["about"]):
        return wrong("It is not about what was asked.")
    if not _names(asked, facts["about"][:1]) and sum(_names(asked, [word]) for word in facts["about"]) < 2:
        return unsure("It may be about something else.")
    if _NO_ANSWER.search(folded):
        return wrong("It does not answer.")
    if any(_META.search(fold(part)) for part in found):
        return unsure("One of its sentences may be about the answer.")
    if k not in _other_counts(asked, found):
        return unsure("Whether that is the number depends on how one counts.")
    if any(len(tokens(part)) < 4 for part in found):
        return unsure("One of its sentences may be none.")
    off = [part for part in found if not _ABOUT.search(fold(part)) and not _names(part, facts["about"])]
    if 2 * len(off) >= len(found):
        return unsure("Half of it may be about something else.")
    said = [{word[:5] for word in tokens(fold(part))} for part in found if len(tokens(part)) < 15]
    if any(len(one & other) >= 0.8 * max(len(one), len(other)) for i, one in enumerate(said) for other in said[:i]):
        return unsure("Two of its sentences say nearly the same.")
    doubt = grammar.doubtful(asked)
    if doubt is not None:
        return unsure(doubt)
    return right(f"{k} sentences, as asked.", core(asked) == core(text))


def _names(text: str, about: Sequence[str]) -> bool:
    folded = fold(text)
    return any(re.search(rf"(?<!\w){re.escape(fold(word))}", folded) for word in about)


def _other_counts(asked: str, found: list[str]) -> set[int]:
    """How many sentences others would count: without headings, or where a small letter goes on with one."""
    lines = [line for line in asked.split("\n") if line.strip()]
    unheaded = sum(
        len(sentences(line)) for line in lines if _ENDED.search(line.strip()) or len(line.split()) > 8
    )  # fmt: skip
    going_on = sum(index == 0 or not part[:1].islower() for index, part in enumerate(found))
    return {unheaded, going_on, len(re.findall(r"[.!?]+[\"')*_\]]*(?=\s+[\"'(*_\[]*[A-Z\d]|\s*$)", asked))}


def _segments(text: str) -> list[str]:
    """The pieces of a text that can be a rewritten sentence: quoted ones, lines, what follows a colon, sentences."""
    pieces = _QUOTED.findall(text)
    for line in text.split("\n")[:200]:
        pieces.append(line)
        pieces.extend(re.split(r" (?:-+|→|=>|->) ", line)[1:])
        tail = line.split(": ")[-1]
        pieces.append(tail)
        pieces.extend(sentences(tail))
    return [piece for piece in pieces if piece.strip()]


def rewritten(facts: Mapping[str, Any], text: str) -> Reading:
    """Whether a text holds one of the right rewritings of a sentence and no other version of it.

    Punctuation does not count, case where it is asked for. Facts: targets, original, cased.
    """
    cased = bool(facts["cased"])

    def form(sentence: str) -> tuple[str, ...]:
        return tuple(tokens(sentence if cased else sentence.casefold()))

    targets = {form(target) for target in facts["targets"]}
    original = form(facts["original"])
    plain = {tuple(word.casefold() for word in target) for target in targets}
    found = False
    rival = None
    for piece in _segments(without_enumerators(text, inline=False).replace("*", "")):
        said = form(piece)
        if said in targets:
            found = True
        elif said != original and len(said) > 2:
            bare = {word.casefold() for word in said}
            alike = max(len(bare & set(target)) / len(bare | set(target)) for target in plain)
            holds = any(_holds(said, target) for target in targets)
            if alike >= 0.6 and not holds:
                rival = piece
    if not found:
        return wrong("It does not hold the sentence as it should be." if rival is None else f"It says: {rival[:80]}")
    if rival is not None:
        return wrong("It gives two different versions.")
    if cased and any(_titled(piece) for piece in sentences(text) if form(piece) not in {original, *targets}):
        return unsure("It adds a sentence in another case.")
    return right("The sentence is as it should be.", form(core(text)) in targets)


def _titled(sentence: str) -> bool:
    words = tokens(sentence)
    return len(words) > 2 and all(word[0].isupper() and word[1:].islower() for word in words if len(word) > 1)


def _holds(said: tuple[str, ...], target: tuple[str, ...]) -> bool:
    n = len(target)
    return any(said[i : i + n] == target for i in range(len(said) - n + 1))


@lru_cache(maxsize=1024)
def _entries(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w.])(?:{'|'.join(sorted(map(re.escape, names), key=len, reverse=True))})(?!\w|-[^\W\d])")


def ordered(facts: Mapping[str, Any], text: str) -> Reading:
    """Whether a text gives all entries in the right order, and in no other but the one that was given.

    Facts: wanted, given.
    """
    wanted = [fold(str(name)) for name in facts["wanted"]]
    given = [fold(str(name)) for name in facts["given"]]
    digits = wanted[0].isdigit()
    folded = fold(without_enumerators(text, inline=not digits))
    for name in wanted:
        plural = f"{name[:-1]}ies" if name.endswith("y") else f"{name}e?s"
        if not digits:
            folded = re.sub(rf"(?<!\w){re.escape(name) if plural == name else plural}(?!\w)", name, folded)
    pattern = _entries(tuple(wanted))
    outside = _BRACKETS.sub(" ", folded)
    if sorted(set(pattern.findall(outside))) == sorted(wanted):
        folded = outside
    folded = _IN_PLACE_OF.sub("", folded)
    parts = [piece for part in sentences(folded) for piece in re.split(r":\s|;\s|\bor\b", part)]
    named = [pattern.findall(part) for part in parts]
    denied = [bool((first := pattern.search(part)) and _DENIED.search(part[: first.start()])) for part in parts]
    named = [[] if no and len(run) == len(wanted) else run for run, no in zip(named, denied, strict=True)]
    runs = [run for run in named if len(run) == len(set(run)) == len(wanted)]
    crowded = [run for run in named if len(run) > len(wanted)]
    if all(run == given for run in runs):
        starts = [match[0] for part in parts if (match := pattern.match(part.lstrip(" *_\"'`")))]
        size = len(wanted)
        if starts and len(starts) % size == 0:
            runs = runs + [starts[i : i + size] for i in range(0, len(starts), size)]
    if not runs and any(run[-len(wanted) :] == wanted for run in crowded):
        copied = any(run == [*given, *wanted] for run in crowded)
        return right("All entries in the right order.", False) if copied else unsure("It names entries twice.")
    final = next((run[-len(wanted) :] for run in reversed(crowded)), wanted)
    changed = any(run[: len(wanted)] != wanted for run in crowded) or _TAKEN_BACK.search(folded)
    if not runs and changed and final != wanted and sorted(final) == sorted(wanted):
        return wrong("The order that it gives in the end is not right.")
    if not runs:
        spread = [name for part in parts for name in pattern.findall(part)]
        if spread == wanted and len(spread) == len(wanted):
            return right("All entries in the right order.", False)
        if [name for i, name in enumerate(spread) if name not in spread[:i]] == wanted:
            return unsure("It names the entries in the right order among other things.")
        what = "It names entries twice." if crowded else "It does not give all entries in a row."
        return wrong(what)
    if any(
        re.search(r"(?<!\w)(\w+)\W*[,<>]\W*\1(?!\w)", part)
        for part in parts
        if len(pattern.findall(part)) > len(wanted)
    ):
        return wrong("It names an entry twice.")
    answers = [run for run in runs if run != given]
    last = next((run[-len(wanted) :] for run in reversed(crowded)), wanted)
    if answers and last != wanted and sorted(last) == sorted(wanted):
        return wrong("It gives two different orders.")
    foreign = [part for part in parts if pattern.findall(part) in answers and _adds(part, pattern)]
    if foreign and all(run == wanted for run in answers):
        return wrong("It names something that was not given.")
    if not answers:
        return wrong("The order is the one that was given.")
    if all(run == wanted for run in answers):
        return right("All entries in the right order.", len(parts) <= len(wanted) and payload(text) == text)
    if any(run == wanted for run in answers):
        return wrong("It gives two different orders.")
    return wrong("The order is not right.")


def _adds(part: str, pattern: re.Pattern[str]) -> bool:
    """Whether a row of entries has something of its own before, between or after them."""
    named = list(pattern.finditer(re.sub(r"\([^()]*\)", "", part)))
    plain = re.sub(r"\([^()]*\)", "", part)
    between = [plain[one.end() : other.start()] for one, other in pairwise(named)]
    after = plain[named[-1].end() :] if named else ""
    before = plain[: named[0].start()] if named else ""
    if _ENTRY_BEFORE.fullmatch(before):
        return True
    return any(_ENTRY_BETWEEN.fullmatch(gap) for gap in between) or bool(_ENTRY_AFTER.fullmatch(after))


def styled(style: Mapping[str, Any], text: str) -> Reading:
    """Whether a whole answer keeps to a style. Style: kind (upper, lower, closing, address, bullets), value, old."""
    kind, value, old = style["kind"], style.get("value"), style.get("old")
    if kind in ("upper", "lower"):
        letters = [c for c in text if c.isalpha()]
        bad = [c for c in letters if (c.islower() if kind == "upper" else c.isupper())]
        if not letters:
            return wrong("It holds no letters.")
        return wrong(f"{len(bad)} letters are not in {kind} case.") if bad else right(f"All in {kind} case.", True)
    folded = fold(text)
    if old and re.search(rf"(?<!\w){re.escape(fold(old))}(?!\w)", folded):
        return wrong(f"It still says {old}.")
    if kind == "closing":
        ended = re.sub(r"\W+$", "", folded).endswith(core(fold(str(value))))
        return right(f"It ends with {value}.", True) if ended else wrong(f"It does not end with {value}.")
    if kind == "address":
        named = re.search(rf"(?<!\w){re.escape(fold(str(value)))}(?!\w)", folded)
        return right(f"It says {value}.", True) if named else wrong(f"It does not say {value}.")
    lines = [line for line in payload(text).split("\n") if line.strip()]
    marked = all(re.match(r"\s*[-*•+·▪◦‣●]\s+\S", line) for line in lines)
    return right("All lines are bullets.", True) if marked else wrong("A line is no bullet.")


def undressed(style: Mapping[str, Any], text: str) -> str:
    """A styled answer's content: without its closing words, the form of address and its bullets."""
    if style["kind"] == "closing":
        closing = str(style["value"]).rstrip(".!")
        place = text.casefold().rfind(closing.casefold())
        return text[:place].strip() if place >= 0 else text
    if style["kind"] == "address":
        return re.sub(rf"[,\s]*(?<!\w){re.escape(str(style['value']))}(?!\w)[,!.]*", "", text, flags=re.I).strip()
    return without_enumerators(text, inline=False)
