"""Signs that words are no sentence: breaking off, words that can't stand together, no verb. They prove nothing."""

from __future__ import annotations

import re
from itertools import pairwise

from engine.evaluation.text import fold, sentences, tokens, word_set

_DETERMINERS = word_set("a an the my your our their every its")
_PREPOSITIONS = word_set("of at into from with for upon onto beside beneath among during")
_JOINING = word_set("and or but because nor than")
_BE = word_set("is are was were am has have had will would can could should must do does did")
_PRONOUNS = word_set("i he she we they")
_SUBJECTS = _PRONOUNS | {"you", "who"}
_ENDLESS = word_set("a an the my your our their every and or but because nor into onto among during if which very so")
_VERBS = word_set(
    "be been go goes went come came get gets got give gave take took make made see saw say said know knew think "
    "thought "
    "find found tell told ask feel felt leave left put mean keep kept let begin began show hear heard play run "
    "ran move "
    "live believe hold held bring brought write wrote sit sat stand stood lose lost pay met meet include "
    "continue set learn "
    "lead led understand watch follow stop create speak spoke read spend grow grew open walk win won offer "
    "remember love "
    "consider appear buy bought wait serve die send sent build built stay fall fell cut reach kill remain eat "
    "ate drink "
    "drank sleep slept sing sang dream fly flew swim swam rise rose shine shone blow blew rain snow look lie lay fight "
    "fought catch caught drive drove ride rode hide hid bite bit bake cook boil fry use try help turn start call "
    "need want "
    "seem become became like likes form cover travel carry store burn gather collect visit listen welcome enjoy "
    "don't won't "
    "can't isn't aren't wasn't didn't doesn't couldn't wouldn't it's there's that's he's she's they're we're i'm "
    "you're i'll "
    "let's may might must shall hope hopes draw drew teach taught sell sold hunt feed fed lay laid hatch heat "
    "cool melt "
    "freeze froze join end ends please visit come discover taste bloom smell touch chase hang hung dig dug jump nest "
    "add rest wear wore throw threw break broke mark act work talk contain produce require consist belong depend "
    "provide "
    "protect allow cause make spread pull push absorb reflect orbit attract guide rely breathe climb"
)
_FUNCTION = _DETERMINERS | _PREPOSITIONS | _JOINING | _BE | _PRONOUNS | word_set(
    "it in on to that this these those his her you me him them us not no all some as by if who when where there "
    "here so "
    "very too with over under near after before up down out off be it's"
)  # fmt: skip


def breaks_off(sentence: str) -> bool:
    """Whether a sentence ends in a word that can hardly end one."""
    words = [fold(word) for word in tokens(sentence)]
    return bool(words) and words[-1] in _ENDLESS


def misfits(sentence: str) -> int:
    """How many neighbours can't stand together in a sentence, a last word that can't end one among them."""
    said = [fold(word) for word in re.findall(r"[^\W_]+(?:['\-][^\W_]+)*|[,;:.!?\"()-]", sentence)]
    n = 0
    for one, other in pairwise(said):
        ended = other[0] in ",;:.!?)"
        n += one in _DETERMINERS and (ended or other in _DETERMINERS | _PREPOSITIONS | _JOINING | _BE | _PRONOUNS)
        n += one in {"of", "into", "upon", "from"} and (other in _JOINING | _BE | _PRONOUNS or other == "of")
        n += one in _JOINING - {"than", "but"} and (ended or other in {"of"})
        n += one in _BE - {"do", "did", "does", "has", "have", "had"} and other in {"of", "is", "are", "was"}
    return n + (breaks_off(sentence) if not re.search(r"[.!?][\"')]*$", sentence.strip()) else 0)


def has_verb(sentence: str) -> bool:
    """Whether some word may be a finite verb; many nouns may be one."""
    words = [fold(word) for word in tokens(sentence)]
    if any(word in _SUBJECTS for word in words[:-1]):
        return True
    return any(
        word in _VERBS or word in _BE or (place and len(word) > 3 and word.endswith(("s", "ed")) and word[-2:] != "ss")
        for place, word in enumerate(words)
    ) or any(word.endswith("n't") for word in words)


def doubtful(text: str) -> str | None:
    """What speaks against a text's sentences; None where nothing does."""
    for sentence in sentences(text):
        words = tokens(sentence)
        if misfits(sentence):
            return "Its words may make no sentence."
        if len(words) > 4 and not has_verb(sentence):
            return "It may have no verb."
        if len(words) > 6 and not any(fold(word) in _FUNCTION or word.endswith(("ly", "ed")) for word in words):
            return "Its words may only be a list."
    return None
