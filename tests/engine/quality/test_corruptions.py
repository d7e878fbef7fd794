"""Rules that make a response worse: one fault each, the same one for the same seed."""

import json
import random
import re
from difflib import SequenceMatcher

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from engine.core.data import read_data
from engine.quality.corruptions import RULES, Neighbour, format_violation, off_topic, truncated, wrong_fact
from engine.stats.similarity import words

OTHERS = [Neighbour(row["instruction"], row["response"]) for row in read_data("response_examples")]
GOOD = [row for row in read_data("calibration_pairs") if row["label"] == "good"]
TEXT = "The bridge in Paris was built by Gustave in 1932 and it can carry 40 carts at once."


def rng(seed: int = 0) -> random.Random:
    return random.Random(seed)


def changed_words(before: str, after: str) -> tuple[list[str], list[str]]:
    """Words that stand in one text only, by alignment."""
    a, b = re.findall(r"\w+", before), re.findall(r"\w+", after)
    steps = [step for step in SequenceMatcher(None, a, b, autojunk=False).get_opcodes() if step[0] != "equal"]
    return [w for _, i, j, _, _ in steps for w in a[i:j]], [w for _, _, _, i, j in steps for w in b[i:j]]


@pytest.mark.parametrize("name", RULES)
def test_a_rule_changes_most_shipped_responses_and_by_its_seed_alone(name: str) -> None:
    made = 0
    for row in GOOD:
        first = RULES[name](rng(1), row["instruction"], row["response"], OTHERS)
        assert first == RULES[name](rng(1), row["instruction"], row["response"], OTHERS)
        made += first is not None
        assert first is None or (first.text != row["response"] and first.detail)
    assert made >= 0.5 * len(GOOD)


@pytest.mark.parametrize("name", ["wrong_fact", "off_topic", "truncated"])
def test_another_seed_may_put_the_fault_elsewhere(name: str) -> None:
    made = {RULES[name](rng(seed), "Describe a bridge.", TEXT, OTHERS) for seed in range(30)}
    assert None not in made and len(made) > 3


@pytest.mark.parametrize("seed", range(10))
def test_wrong_fact_changes_one_number(seed: int) -> None:
    made = wrong_fact(rng(seed), "", TEXT, OTHERS)
    assert made is not None
    gone, new = changed_words(TEXT, made.text)
    assert gone in (["1932"], ["40"]) and len(new) == 1 and new[0].isdigit() and new != gone
    assert made.detail == f"number {gone[0]} became {new[0]}"


@pytest.mark.parametrize("text", ["Of 0 there is none", "Of 1 there is 1", "Of 6 there is none"])
def test_wrong_fact_makes_no_negative_number(text: str) -> None:
    found = {made.text for seed in range(60) if (made := wrong_fact(rng(seed), "", text, []))}
    assert len(found) > 4 and not any("-" in made for made in found)


@pytest.mark.parametrize(
    "text", ["It holds 1,500 litres", "It weighs 3.75 grams", "The model A4x sold", "1. Stir\n2. Serve"]
)
def test_wrong_fact_leaves_parts_of_numbers_and_list_markers_alone(text: str) -> None:
    assert wrong_fact(rng(), "", text, []) is None


@pytest.mark.parametrize("seed", range(10))
def test_wrong_fact_changes_one_name_where_there_is_no_number(seed: int) -> None:
    text = "A singer from Lisbon met a painter from Madrid."
    neighbours = [Neighbour("", "They went to Oslo and saw Lisbon."), Neighbour("", "He knew Anna.")]
    made = wrong_fact(rng(seed), "", text, neighbours)
    assert made is not None
    gone, new = changed_words(text, made.text)
    assert gone in (["Lisbon"], ["Madrid"]) and new in (["Oslo"], ["Anna"])
    assert made.detail == f"name {gone[0]} became {new[0]}"


def test_wrong_fact_turns_one_verb_where_there_is_neither() -> None:
    for text, new in (
        ("Whales are mammals.", "Whales are not mammals."),
        ("A penguin can swim.", "A penguin cannot swim."),
        ("Ants have six legs.", "Ants do not have six legs."),
    ):
        made = wrong_fact(rng(), "", text, [])
        assert made is not None and made.text == new
    assert wrong_fact(rng(), "", "Whales are not fish.", []) is None  # a double negation would be no wrong fact


@pytest.mark.parametrize("text", ["They can't fly.", "They can’t fly."])
def test_wrong_fact_leaves_a_verb_that_is_negated_already(text: str) -> None:
    assert wrong_fact(rng(), "", text, []) is None


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("Trees have been planted there.", "Trees have not been planted there."),
        ("He has written a novel.", "He has not written a novel."),
        ("Some birds will sing at night.", "Some birds will not sing at night."),
        ("The last will was found.", "The last will was not found."),
        ("Elephants have a long trunk.", "Elephants do not have a long trunk."),
        ('He wrote "It is late" and was glad.', 'He wrote "It is late" and was not glad.'),
        ("He wrote 'Rome is old', and she was glad.", "He wrote 'Rome is old', and she was not glad."),
    ],
)
def test_wrong_fact_negates_an_auxiliary_in_proper_english(text: str, made: str) -> None:
    found = {one.text for seed in range(20) if (one := wrong_fact(rng(seed), "", text, []))}
    assert found == {made}


@pytest.mark.parametrize(
    "text",
    [
        "It has a long trunk.",  # never "has not a long trunk"
        "They want to have a garden.",
        "She said that I could have the tickets.",
        "We have always lived here.",
        "They do the dishes, and he does the rest.",
        "Why is the sky blue?",
        "There is no bread.",
        "It is only a game.",
        "Open the can with a knife.",
        'The poster says "Cats are better than dogs".',
        "The sign said \u201cRome is 12 miles away\u201d there.",
        'They call it "Room 101".',
        "I am 100% sure.",
        "I am 100 percent certain.",
        "The train leaves at 7:59.",
    ],
)
def test_wrong_fact_leaves_what_it_could_only_break(text: str) -> None:
    for seed in range(20):
        assert wrong_fact(rng(seed), "", text, [Neighbour("", "They went to Oslo.")]) is None


@pytest.mark.parametrize("text", ["It is 97% water.", "It is 97 percent water.", "Of them 99 % came."])
def test_wrong_fact_makes_no_share_above_a_hundred(text: str) -> None:
    made = [wrong_fact(rng(seed), "", text, []) for seed in range(40)]
    values = {int(re.findall(r"\d+", one.text)[0]) for one in made if one}
    assert len(values) > 3 and max(values) <= 100


def test_wrong_fact_changes_no_name_within_a_quotation() -> None:
    text = 'She read "A day in Madrid" to a boy from Lisbon.'
    made = {one.text for seed in range(20) if (one := wrong_fact(rng(seed), "", text, [Neighbour("", "I saw Oslo.")]))}
    assert made == {'She read "A day in Madrid" to a boy from Oslo.'}


@pytest.mark.parametrize("text", ["", "Yes.", "Blue, mostly."])
def test_wrong_fact_leaves_what_states_nothing(text: str) -> None:
    assert wrong_fact(rng(), "", text, OTHERS) is None


@pytest.mark.parametrize("seed", range(5))
def test_off_topic_shares_no_word_of_four_letters_with_the_instruction(seed: int) -> None:
    for row in GOOD:
        made = off_topic(rng(seed), row["instruction"], row["response"], OTHERS)
        if made is not None:
            assert made.text in [other.response for other in OTHERS]
            assert {w for w in words(row["instruction"]) if len(w) >= 4} & set(words(made.text)) == set()


def test_off_topic_takes_one_of_the_five_nearest_in_length() -> None:
    neighbours = [Neighbour("Count.", " ".join(["one"] * n)) for n in range(1, 21)]
    made = {off_topic(rng(seed), "Describe a bridge.", "a b c d e f g h i j", neighbours) for seed in range(60)}
    assert {len(found.text.split()) for found in made if found} == {8, 9, 10, 11, 12}


def test_off_topic_needs_a_response_to_something_else() -> None:
    about = [Neighbour("Describe a bridge.", "It is long."), Neighbour("Name one.", "That bridge there.")]
    assert off_topic(rng(), "What is a bridge?", "A way over water.", about) is None
    assert off_topic(rng(), "What is a bridge?", "A way over water.", []) is None


def test_off_topic_is_never_the_response_itself() -> None:
    assert off_topic(rng(), "Name the capital.", "Paris.", [Neighbour("Where is the Louvre?", "Paris.")]) is None


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("1. Boil water. 2. Add salt; 3. Cook rice.", "Boil water and Add salt and Cook rice."),
        ("1) Boil water.\n2) Add salt.", "Boil water and Add salt."),
        ("Boil water. Add salt.", "| 1 | Boil water. | | 2 | Add salt. |"),
        ('Say "yes" to all of it.', '{"answer": {"text": "Say \'yes\' to all of it.", "n": 1}}'),
    ],
)
def test_format_violation_puts_the_same_words_into_another_form(text: str, form: str) -> None:
    made = format_violation(rng(), "How is rice cooked?", text, [])
    assert made is not None and made.text == form


def test_format_violation_leaves_the_words_of_shipped_responses_intact() -> None:
    for row in GOOD:
        made = format_violation(rng(), row["instruction"], row["response"], [])
        if made is None:
            continue
        own = [word for word in words(row["response"]) if not word.isdigit()]
        left = iter(words(made.text))
        assert all(word in left for word in own), made.text  # all of them, in their order
        if made.text.startswith("{"):
            assert words(json.loads(made.text)["answer"]["text"]) == words(row["response"])


def test_format_violation_keeps_a_number_that_ends_a_sentence() -> None:
    made = format_violation(rng(), "How old was she?", "In summer the girl was 12. Then she moved away.", [])
    assert made is not None and "12" in words(made.text)


@pytest.mark.parametrize("asked", ["Put it into a table.", "Answer as JSON.", "Use two columns."])
def test_format_violation_leaves_what_was_asked_for_in_such_a_form(asked: str) -> None:
    assert format_violation(rng(), asked, "Boil water. Add salt.", []) is None


def test_format_violation_leaves_a_few_words() -> None:
    assert format_violation(rng(), "How much?", "About four of them.", []) is None


def test_truncated_is_a_proper_beginning_that_stops_within_a_sentence() -> None:
    for row in GOOD:
        for seed in range(4):
            made = truncated(rng(seed), row["instruction"], row["response"], [])
            if made is not None:
                before, after = row["response"].split(), made.text.split()
                assert after == before[: len(after)] and 0.35 <= len(after) / len(before) <= 0.75
                assert made.text[-1] not in ".!?:;"
                assert made.detail == f"cut after {len(after)} of {len(before)} words"


@pytest.mark.parametrize("text", ["", "Too short a text.", "One. Two. Three. Four. Five. Six. Seven."])
def test_truncated_leaves_what_has_no_middle(text: str) -> None:
    assert truncated(rng(), "", text, []) is None


def test_truncated_does_not_stop_behind_a_quoted_sentence() -> None:
    text = 'She told me to "Stop." Then we went home'
    made = [truncated(rng(seed), "", text, []) for seed in range(30)]
    assert [found.text for found in made if found and found.text.endswith('."')] == []


# Made of what the rules look for, so that they fire often, and of anything else.
PIECES = st.sampled_from(
    ["1. ", "2) ", " 12. ", "0", "42 ", "1999", "٣ ", "was", " is ", "can", "Paris ", "in Rome, ", "a ", '"', ".", "! ",
     "\n", "|", "{", "}", "###", "\x00", "é", "word "]
)  # fmt: skip
TEXTS = st.one_of(st.text(max_size=80), st.lists(PIECES, max_size=30).map("".join))


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(sorted(RULES)), TEXTS, TEXTS, st.lists(st.tuples(TEXTS, TEXTS), max_size=3), st.integers(0, 99))
def test_no_rule_fails_on_any_text_or_gives_it_back_unchanged(
    name: str, instruction: str, response: str, others: list[tuple[str, str]], seed: int
) -> None:
    assume(response not in [text for _, text in others])  # see test_off_topic_is_never_the_response_itself
    neighbours = [Neighbour(*other) for other in others]
    made = RULES[name](rng(seed), instruction, response, neighbours)
    assert made == RULES[name](rng(seed), instruction, response, neighbours)
    assert made is None or made.text != response
