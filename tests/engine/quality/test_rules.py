"""Rules on instructions and responses: each fires on what it is for, and on no good text of any stage's kind."""

from __future__ import annotations

import pytest

from engine.core.data import read_data
from engine.critics import for_kind
from engine.quality.rules import instruction_status, repeated_trigrams, response_flags
from engine.spec.prompts import clean_response
from engine.spec.stage import available, load_spec

STAGES = [name for name in available() if not name.endswith("_small_model")]
RULES = load_spec("stage_1_explicit_instructions").settings.rules


def flags(instruction: str, response: str, raw: str | None = None) -> list[str]:
    return response_flags(instruction, f" {response}" if raw is None else raw, response, "stop", RULES)


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_stage_shows_as_good_passes_its_own_rules(stage: str) -> None:
    spec = load_spec(stage).settings
    kind = spec.instructions.kind
    for row in read_data(for_kind("seeds", kind)):
        assert instruction_status(row["text"], True, spec.instructions) == ("distinct", ""), row["id"]
    for row in read_data(for_kind("response_examples", kind)):
        assert instruction_status(row["instruction"], True, spec.instructions) == ("distinct", ""), row["id"]
        found = response_flags(row["instruction"], f" {row['response']}", row["response"], "stop", spec.rules)
        assert found == [], row["id"]


@pytest.mark.parametrize(
    ("instruction", "response"),
    [
        ("Write an essay about your summer job.", "Write an essay about your summer job."),
        ("Write an essay about your summer job.", "Write an essay about your winter job."),
        ("How can you bake a simple cake that is light in summer?", "Bake a simple cake that is light in summer."),
        ("How would you describe a man who knows how to make a car?", "A man who knows how to make a car."),
        ("Write a note to the owner of a restaurant.", "You must write a note to the owner of a restaurant."),
        ("Is a spider an insect?", "Is a spider an insect?"),
        ("My cat keeps me company at night.", "My cat keeps me company at night."),
        ("The tallest animal in the zoo is", "The tallest animal in the zoo is"),
        ('Correct the grammar: "We was late for work."', 'Correct the grammar: "We was late for work."'),
        ('Correct the grammar: "We was late for work."', "We was late for work"),
        ("Fix the grammar: 'We was late for work.'", "We was late for work."),
        ('Is anything wrong in "We was late for work"?', '"We was late for work."'),
        ('Replace "nice" with another word in "It was a day which was nice."', "It was a day which was nice."),
        ('Put a number into the line "come by at one"', "Come by at one."),
    ],
)
def test_an_instruction_that_comes_back_is_an_echo(instruction: str, response: str) -> None:
    assert flags(instruction, response) == ["echo"]


@pytest.mark.parametrize(
    ("instruction", "response"),
    [
        ("What is the coldest month of the year in Scotland?", "The coldest month of the year in Scotland is January."),
        ("Is the Nile the longest river in the world?", "Yes, the Nile is the longest river in the world."),
        ("A triangle with three equal sides is called", "A triangle with three equal sides is called equilateral."),
        ('Insert the missing commas: "We had bread cheese and juice."', "We had bread, cheese, and juice."),
        ('Improve the punctuation of "we sing we dance".', "We sing. We dance."),
        ('Turn this into a question: "You are coming to us."', "You are coming to us?"),
        ('Use capitals where they belong: "i met ana in rome."', "I met Ana in Rome."),
        ('Put this sentence into the past tense: "The frog swims away."', "The frog swam away."),
        ('Which is warmer: "Nice." or "Your calm voice helped us all."?', '"Your calm voice helped us all."'),
        ("What does 'a piece of cake' mean?", "Something that is very easy to do."),
    ],
)
def test_an_answer_in_the_words_of_its_instruction_is_no_echo(instruction: str, response: str) -> None:
    assert flags(instruction, response) == []


def test_the_numbers_of_a_list_hide_no_loop() -> None:
    assert repeated_trigrams("1. Cheddar. 2. Cheddar. 3. Cheddar. 4. Cheddar. 5. Cheddar. 6. Cheddar.") > 0.5
    assert repeated_trigrams("1. Brie. 2. Cheddar. 3. Gouda. 4. Edam. 5. Feta. 6. Stilton. 7. Camembert.") == 0
    assert repeated_trigrams("In 1. FC Köln they trust, in 2. or 3. place, and in no. 4 too.") == 0


QUIZ = "Create a quiz question about the planets and give the answer."
ASKED = " Question: Which planet is the largest?\nA) Mars B) Jupiter\nAnswer: B) Jupiter"


def test_the_answer_of_a_quiz_question_belongs_to_it() -> None:
    kept, trims = clean_response(ASKED, QUIZ)
    assert kept == ASKED.strip() and [trim.rule for trim in trims] == ["space"]
    assert flags(QUIZ, kept, ASKED) == []
    two = f"{ASKED}\nQuestion: Which is the smallest?\nAnswer: Mercury"
    assert clean_response(two, QUIZ)[0] == two.strip() and flags(QUIZ, two.strip(), two) == []


def test_a_second_turn_is_cut_off_all_the_same() -> None:
    turned = " Jupiter.\nQuestion: Which is the smallest?\nAnswer: Mercury"
    assert clean_response(turned, "Name the largest planet.")[0] == "Jupiter."
    assert flags("Name the largest planet.", "Jupiter.", turned) == ["runaway"]
    again = f"{ASKED}\nInstruction: Name a star.\nResponse: Vega."
    assert clean_response(again, QUIZ)[0] == ASKED.strip() and flags(QUIZ, ASKED.strip(), again) == ["runaway"]


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ('Is this claim true: "All bats are blind"?', "distinct"),
        ("Is 'All bats are blind' true?", "distinct"),
        ("Is \u201cAll bats are blind\u201d true?", "distinct"),
        ("Put this into the past tense: The frog swims away.", "distinct"),
        ("Is this a good or bad business?", "context"),
        ("Rewrite the sentence so that it's easier to read.", "context"),
        ("Judge this apology: decide whether it's sincere.", "distinct"),  # what follows a colon may be the text
        ('"You were too smart for this".', "malformed"),
    ],
)
@pytest.mark.parametrize("stage", ["stage_4_evaluation", "stage_5_revision"])
def test_a_task_about_a_text_must_hold_it(stage: str, text: str, status: str) -> None:
    assert instruction_status(text, True, load_spec(stage).settings.instructions)[0] == status


def test_other_kinds_need_no_text() -> None:
    spec = load_spec("stage_3_generation").settings.instructions
    assert instruction_status("Is this a good or bad business?", True, spec)[0] == "distinct"
