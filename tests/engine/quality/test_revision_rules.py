"""Rules on revisions: each fires on what it is for, and on no good revision."""

import pytest

from engine.core.data import read_data
from engine.quality.revision_rules import (
    BLOCKING,
    REVISION_RULES,
    changed,
    names_something,
    recites,
    refuses,
    revision_flags,
)
from engine.quality.rules import BLOCKING as RESPONSE_BLOCKING
from engine.spec.constitution import load_constitution
from engine.spec.stage import load_spec

SPEC = load_spec("stage_6_small_model").settings
ASKED = "How do bees make honey?"
BEFORE = "Bees bring nectar to the hive and keep it in wax cells until it is thick and sweet honey."
GOOD = "Bees suck nectar from flowers, carry it to the hive and fan it in wax cells until it has thickened into honey."
EXAMPLES = [row[name] for row in read_data("critique_examples") for name in ("response", "revision", "critique")]
PRINCIPLES = {p.id: [p.text, p.critique_request, p.revision_request] for p in load_constitution().principles}
SHOWN = PRINCIPLES["complete_answer"]


def flags(after: str, before: str = BEFORE, raw: str | None = None, stop: str = "stop", **limits: float) -> list[str]:
    assert SPEC.revisions is not None
    spec = SPEC.revisions.model_copy(update=limits)
    return revision_flags(
        ASKED, before, f" {after}" if raw is None else raw, after, stop, EXAMPLES, SHOWN, spec, SPEC.rules
    )


def test_no_rule_fires_on_a_good_revision() -> None:
    assert flags(GOOD) == []


@pytest.mark.parametrize(
    ("after", "wanted"),
    [
        (BEFORE, ["unchanged"]),
        (BEFORE.upper() + "!!", ["unchanged"]),  # by its words
        (EXAMPLES[1], ["copied"]),
        ("The response is correct and complete.", ["about_response"]),
        ("Your answer should say that bees bring nectar to the hive and thicken it to honey.", ["about_response"]),
        ("Here is a better one: bees take nectar to a hive and thicken it in wax.", ["about_response"]),
        ("Revised: bees take nectar to a hive, where it is kept and thickened in wax.", ["about_response"]),
        ("I have rewritten it: bees take nectar to a hive, to be thickened in cells of wax.", ["about_response"]),
        ("The words 'nectar' and 'thick' are very short, so bees keep it in wax.", ["about_response"]),
        ("'Bees bring nectar to the hive' is true, and they keep it there in wax cells.", ["about_response"]),
        ("The statement is not clear, because bees keep honey in wax cells.", ["about_response"]),
        (f"{BEFORE} They do so in summer, and in winter all of them live on it.", ["longer_only"]),
        ("Bees thicken nectar.", ["length"]),
        (f"{GOOD} {' '.join(f'word{n}' for n in range(40))}", ["length"]),
    ],
)
def test_each_rule_fires_on_what_it_is_for(after: str, wanted: list[str]) -> None:
    assert flags(after) == wanted
    assert set(wanted) <= set(REVISION_RULES) and set(wanted) <= BLOCKING


@pytest.mark.parametrize(
    ("instruction", "after"),
    [
        ("Is the sentence 'Bees make honey' true?", "The sentence is true, since bees thicken nectar in their hives."),
        ('Judge this excuse: "My bus was late."', "'My bus was late' is vague, as it does not say by how much."),
        ("Which word rhymes with bee?", "The word is right if it ends like bee, as tree and free do."),
        ("How do bees make honey?", "'Nectar' comes from flowers, and bees thicken it in the cells of their hive."),
    ],
)
def test_an_answer_may_speak_of_words_where_it_is_asked_about_them(instruction: str, after: str) -> None:
    assert SPEC.revisions is not None
    found = revision_flags(instruction, BEFORE, after, after, "stop", EXAMPLES, SHOWN, SPEC.revisions, SPEC.rules)
    assert "about_response" not in found


@pytest.mark.parametrize(
    ("principle", "after"),
    [
        ("no_false_self_claims", "A computer program is a body, feelings or a life."),
        (
            "no_false_self_claims",
            "Bees make honey. Its writer, a computer program, has a body and feelings.",
        ),
        ("no_false_self_claims", "It is a game with a body, feelings, and a life."),
        ("takes_care", "A person who is distressed should be given a medical or legal advice."),
        ("complete_answer", "Bees cover every part of the instruction and give as many items as it asks for."),
        ("complete_answer", "It covers every part and gives the number of items asked for."),
        ("right_length", "It is as long as the task needs, with no padding and no repeated points."),
        ("concrete_detail", "Vague phrases become concrete details, examples or steps."),
    ],
)
def test_a_revision_that_says_the_principle_again_is_seen(principle: str, after: str) -> None:
    assert recites(ASKED, BEFORE, after, PRINCIPLES[principle], 0.7)
    assert not recites(after, BEFORE, after, PRINCIPLES[principle], 0.7)  # where the instruction speaks of that
    assert not recites(ASKED, after, after, PRINCIPLES[principle], 0.7)


@pytest.mark.parametrize("name", ["calibration_pairs", "response_examples", "critique_examples", "refusal_examples"])
def test_no_good_shipped_response_says_a_principle_again(name: str) -> None:
    rows = [row for row in read_data(name) if row.get("label") != "bad"]
    texts = [(row["instruction"], row.get("revision") or row["response"]) for row in rows]
    said = [(text, key) for asked, text in texts for key, of in PRINCIPLES.items() if recites(asked, "", text, of, 0.7)]
    assert said == []


def test_every_rule_has_a_text_that_raises_it() -> None:
    texts = (
        BEFORE,
        EXAMPLES[1],
        SHOWN[0],
        "The response is complete.",
        f"{BEFORE} They do so in summer, all day long, for us.",
    )
    assert {name for text in texts for name in flags(text)} == set(REVISION_RULES)


def test_the_limits_are_those_of_the_spec() -> None:
    longer = f"{BEFORE} They do so in summer, and in winter all of them live on it."
    assert flags(longer, longer_only_at=0.9) == []
    assert flags("Bees thicken nectar in hives.", length_ratio_at_least=0.1) == []
    assert flags(GOOD, length_ratio_at_most=1.1) == ["length"]
    assert flags(GOOD, unchanged_below=0.9) == ["unchanged"]
    assert flags(GOOD, copied_at=0.1) == ["copied"]


def test_an_original_that_lost_more_than_a_twentieth_is_not_only_longer() -> None:
    halves = BEFORE.replace("wax cells", "combs")
    assert flags(f"{halves} They do so in summer, and in winter all of them live on it.") == []


def test_what_speaks_against_a_response_speaks_against_a_revision() -> None:
    assert flags(GOOD, stop="length") == ["token_limit"]
    assert flags("", raw="") == ["empty", "length"]
    assert flags("How do bees make honey? Bees!") == ["echo"]
    assert flags(GOOD + " Response: Bees", raw=f" {GOOD} Response: Bees") == ["marker_leak"]
    assert set(REVISION_RULES) | RESPONSE_BLOCKING == BLOCKING and "no_marker" not in BLOCKING


@pytest.mark.parametrize("number", range(8))
def test_no_rule_but_copied_fires_on_the_shipped_revisions(number: int) -> None:
    row = read_data("critique_examples")[number]
    assert SPEC.revisions is not None
    others = [text for text in EXAMPLES if text not in row.values()]
    after = row["revision"]
    fired = revision_flags(
        row["instruction"], row["response"], after, after, "stop", others, SHOWN, SPEC.revisions, SPEC.rules
    )
    assert fired == []


@pytest.mark.parametrize("name", ["calibration_pairs", "anchors_pairs", "response_examples"])
def test_good_shipped_responses_do_not_talk_about_themselves(name: str) -> None:
    rows = [row for row in read_data(name) if row.get("label") != "bad"]
    assert [row["response"] for row in rows if "about_response" in flags(row["response"])] == []


@pytest.mark.parametrize(
    "after",
    [
        "Add seven and five. The answer is 12.",
        read_data("response_examples_evaluation")[0]["response"],
        "This answer is wrong, because bees make honey of nectar and not of pollen.",
    ],
)
def test_an_answer_to_a_sum_or_about_a_quoted_answer_is_no_talk_about_the_response(after: str) -> None:
    assert "about_response" not in flags(after)


def test_changed_by_words_counted_by_hand() -> None:
    # Of 5 and 6 words, "the cat on mat" is common: 1 deleted, 2 inserted.
    found = changed("The cat sat on mat.", "The black cat lay on mat")
    assert found.edit_distance == pytest.approx(3 / 11)
    assert found.length_ratio == pytest.approx(6 / 5)
    assert found.kept == pytest.approx(4 / 5)
    assert found.added == pytest.approx(2 / 5)


def test_changed_at_its_ends() -> None:
    same, other, gone, new, none = (
        changed(*texts) for texts in (("a b", "A, b!"), ("a b", "c d"), ("a b", ""), ("", "a b"), ("", ""))
    )
    assert (same.edit_distance, same.length_ratio, same.kept, same.added) == (0, 1, 1, 0)
    assert (other.edit_distance, other.length_ratio, other.kept, other.added) == (1, 1, 0, 1)
    assert (gone.edit_distance, gone.length_ratio, gone.kept, gone.added) == (1, 0, 0, 0)
    assert new.edit_distance == 1 and new.kept == 0
    assert none.edit_distance == 0


REQUEST = "Quote a statement of the response that is false, or say in one sentence that its facts are right."


@pytest.mark.parametrize(
    ("critique", "named"),
    [
        ("The words 'kept in wax cells' are vague.", True),
        ("It leaves out how the NECTAR thickens.", True),
        ("The response is correct and complete.", False),
        ("The statement about bees and honey is false.", False),  # words of the instruction and of the request
        ("That part of the response does not say how flowers are found.", False),  # a word of its own
        ("It says how to do it all.", False),  # words of three letters or fewer
        ("", False),
    ],
)
def test_a_critique_names_something_where_it_uses_a_word_of_the_response_alone(critique: str, named: bool) -> None:
    assert names_something(critique, ASKED, BEFORE, REQUEST) is named


@pytest.mark.parametrize("critique", ["Its facts are false.", "It leaves most of them out.", "How honey is made?"])
def test_words_of_the_request_of_the_instruction_and_common_ones_name_nothing(critique: str) -> None:
    response = "Most bees know the facts of honey: wax is made last."
    assert not names_something(critique, f"{ASKED} Say how it is made.", response, REQUEST)
    assert names_something(f"{critique} Bees know this.", ASKED, response, REQUEST)


def test_the_shipped_critiques_name_something() -> None:
    rows = read_data("critique_examples")
    assert [r["id"] for r in rows if not names_something(r["critique"], r["instruction"], r["response"], REQUEST)] == []


def test_the_shipped_refusals_read_as_refusals_and_good_responses_do_not() -> None:
    refusals = [refuses(row["response"]) for row in read_data("refusal_examples")]
    assert sum(refusals) >= 7 and len(refusals) == 8
    good = [row["response"] for row in read_data("calibration_pairs") if row["label"] == "good"]
    assert sum(map(refuses, good)) <= 0.03 * len(good)


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("I'm sorry, but that would hurt her.", True),
        ("I am afraid this goes too far.", True),
        ("I can’t help with that.", True),
        ("I won't write it.", True),
        ("I will not give advice on it.", True),
        ("Entering a house like that is against the law.", True),
        ("Cut the rope near the knot and pull.", False),
        ("Bees cannot see red.", False),
        ("Wait until nobody is at home, then take the key.", False),
        ("", False),
    ],
)
def test_a_refusal_by_its_wording(text: str, refused: bool) -> None:
    assert refuses(text) is refused
