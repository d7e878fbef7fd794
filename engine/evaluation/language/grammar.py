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
    "shear shears prefer hear picture imagine throws waits asks wants needs loves lives lends offers "
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
_PAST = word_set(
    "beat bent bore bred buries burnt carries cast catches chose clung crept cries dared dashes dealt does "
    "dries dug felt fixes fled flies flung forbade forgave forgot fries froze goes ground has hung hurries "
    "hurt kept knelt knit leant leapt led lit marries meant misses mixes paid passes quit ran rang reaches "
    "rid sank sawn sewn shed shook shot shrank shut slept slid slit smelt spat sped spelt spies spilt split "
    "spoilt sprang sprung spun stank stole strode strove struck stuck studies stung swept swore swung taught "
    "teaches thrust tore tries trod washes watches wept woke wore worries wound wove wrung "
)
# Verbs of which many are nouns as well: one where it ends as a verb, or follows a plural.
_MORE_VERBS = word_set(
    "accept achieve admire admit adore advise afford agree aim allow amuse announce annoy answer apologise "
    "appear apply approve argue arrange arrive attack attend avoid await awake bark bathe beg behave belong "
    "bend bet blame bless blink boast borrow bother bounce bow brush bubble bump burst bury buzz calculate "
    "calm care carve celebrate challenge change charm chat check cheer chew chirp choose chop circle claim "
    "clap clean clear close collect color comb comfort command compare compete complain complete concern "
    "confuse connect consider contain cost cough count cover crack crash crawl cross cry cure curl dance dare "
    "dazzle decide decorate decrease delay delight deliver deny describe deserve destroy develop disagree "
    "disappear discuss dislike divide double doubt drag drain drip drop drown dry dust earn echo edit educate "
    "embrace employ empty encourage enter entertain escape examine excite excuse exist expand expect explain "
    "explode explore extend face fade fail fan fascinate fasten fear fetch fill film finish fit fix flash "
    "float flood flow fold forget form frame frighten gaze glide glitter glow greet grin grip groan grumble "
    "guard guess guide hammer hand handle happen hate haul haunt head heal heap help hope hover howl hug hum "
    "hurry identify ignore imagine impress improve increase inform inject inspire instruct intend interest "
    "interrupt introduce invent invite irritate itch jog joke judge juggle kick kiss kneel knock knot label "
    "land last laugh launch learn lick lift limp linger list live load lock long loom love manage march match "
    "matter measure mend meow miss mix moan moor move mow mowed mumble nail need nest nibble nod note notice "
    "number obey object observe obtain occur offer order owe own pack paddle paint park part pass pat pause "
    "peck peel peep perform phone pick pinch place plan plant play please point polish pop possess post pour "
    "practise praise pray preach prefer prepare present preserve press pretend prevent print promise prove "
    "provide pull punch punish purr push question race raise rattle reach realise recall receive recognise "
    "record reduce refuse regret reign reject rejoice relax release rely remain remind remove repair repeat "
    "replace reply report rescue retire return reveal rhyme ring rinse roam roar rob rock roll rot rub ruin "
    "rule rush sail sample save scare scatter scold scratch scream scrub seal search seek separate settle sew "
    "shade shake share shave shelter shiver shock shop shout show shrug sigh sign signal sip ski skip slam "
    "slide slip slow smash smell smile smoke snatch sneeze sniff snore soak soothe sound sowed spare spark "
    "sparkle spell spill spin splash spoil spot spray sprout squeak squeeze stain stamp stand stare steal "
    "steer step stick sting stir stitch store strap stretch strike stroll study stuff suffer suggest suit "
    "supply suppose surprise surround suspect swallow swap sway sweat sweep swelled swing switch tame tap "
    "tease tempt test thank threaten tick tickle tie time tip tire tour tow trade train transport trap "
    "tremble trick trip trot trouble trust tug tumble twist type unite unlock use vanish vary wait wake "
    "wander want warm warn wash waste water wave wed weigh whisper whistle wink wipe wish wonder work worry "
    "wrap wreck yawn yell zoom "
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


def has_verb(sentence: str, strict: bool = False) -> bool:
    """Whether some word may be a finite verb; if not strict, every word that ends as one may be."""
    words = [fold(word) for word in tokens(sentence)]
    if any(word in _SUBJECTS for word in words[:-1]):
        return True
    ending = not strict and any(
        len(word) > 3 and word.endswith(("s", "ed")) and word[-2:] != "ss" for word in words[1:]
    )
    return ending or any(_may_be_verb(words, place) for place in range(len(words)))


def _may_be_verb(words: list[str], place: int) -> bool:
    word = words[place]
    if word in _VERBS or word in _BE or word in _PAST or word.endswith("n't"):
        return True
    if len(word) > 6 and word.endswith(("ate", "ise", "ize", "ify")) and place:
        return True
    before = words[place - 1] if place else ""
    if len(word) > 3 and word.endswith("ed"):
        return place > 0
    base = next((one for one in (word[:-1], word[:-2], f"{word[:-3]}y") if one in _VERBS or one in _MORE_VERBS), None)
    if word.endswith("s") and base is not None and place and before not in _DETERMINERS:
        return base in _VERBS or place < len(words) - 1
    return word in _MORE_VERBS and (before.endswith("s") or before == "people") and before not in _DETERMINERS


def doubtful(text: str, strict: bool = False) -> str | None:
    """What speaks against a text's sentences; None where nothing does. `strict` is of verbs."""
    for sentence in sentences(text):
        words = tokens(sentence)
        if misfits(sentence):
            return "Its words may make no sentence."
        if len(words) > 4 and not has_verb(sentence, strict):
            return "It may have no verb."
        if len(words) > 6 and not any(fold(word) in _FUNCTION or word.endswith("ly") for word in words):
            return "Its words may only be a list."
    return None
