"""Verifiers against answers whose verdict is known, and against text of any kind."""

import time
from collections import Counter, defaultdict
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.items.make import TYPES as TEMPLATES
from engine.evaluation import PLANTS, Item, verifiers
from engine.evaluation.items import item_set, plants, written_plants
from engine.evaluation.text import fold, looser, numbers, sentences, without_prompt
from engine.evaluation.verifiers import LENGTH_TYPES, scorer_sha256, verify

TYPES = [item_type for types in TEMPLATES.values() for item_type in types]
ONE_EACH = list({item.template: item for item in item_set().items}.values())
NOTHING = "I hope that this is of some help to you."


def item(check: str, prompt: str = "A question?", **facts: Any) -> Item:
    return Item("x", "instruction_following", "x", "x", "dev", prompt, None, {"check": check, **facts})


PARIS = item("claim", "Name the capital of France.", accepted=["Paris"], rivals=["Lyon", "Nice"])


@pytest.mark.parametrize("item_type", TYPES)
def test_planted_answers_are_judged_as_they_must_be(item_type: str) -> None:
    made = [plant for one in item_set().items if one.item_type == item_type for plant in plants(one)]
    verdicts = [(plant, verify(plant.item, plant.answer)) for plant in made]
    assert [(p.item.item_id, p.kind, p.answer, v.why) for p, v in verdicts if v.correct != p.right] == []
    assert all(0 < len(verdict.why) < 200 and "\n" not in verdict.why for _, verdict in verdicts)


@pytest.mark.parametrize("item_type", TYPES)
def test_answers_written_by_hand_are_judged_as_they_must_be(item_type: str) -> None:
    made = [plant for plant in written_plants() if plant.item.item_type == item_type]
    assert {plant.kind for plant in made} == set(PLANTS) and len(made) >= 8
    verdicts = [(plant, verify(plant.item, plant.answer)) for plant in made]
    assert [(p.kind, p.answer, v.why) for p, v in verdicts if v.correct != p.right] == []
    assert all(plant.right == (PLANTS.index(plant.kind) < 3) for plant in made)


def test_answers_written_by_hand_are_to_questions_of_their_own() -> None:
    asked = {one.prompt for one in item_set().items}
    assert {plant.item.prompt for plant in written_plants()} & asked == set()
    seen = Counter((plant.item.prompt, plant.answer) for plant in written_plants())
    assert max(seen.values()) == 1


@pytest.mark.parametrize("name", ["claims", "forms", "wording", "refusals"])
def test_a_check_that_always_says_yes_is_caught_by_plants(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = [key for key, check in verifiers.CHECKS.items() if check.__module__.endswith(name)]
    for key in theirs:
        monkeypatch.setitem(verifiers.CHECKS, key, lambda facts, text: verifiers.Reading(True, True, "yes"))
    caught = Counter()
    for one in ONE_EACH:
        if one.facts["check"] in theirs:
            caught[one.facts["check"]] += sum(verify(one, p.answer).correct != p.right for p in plants(one))
    assert set(caught) == set(theirs) and min(caught.values()) >= 3


@pytest.mark.parametrize("limit", [300, 500])
def test_a_scorer_that_fails_long_answers_is_caught_by_plants(limit: int) -> None:
    flipped = defaultdict(int)
    for one in ONE_EACH:
        for plant in plants(one):
            verdict = verify(one, plant.answer).correct and len(plant.answer) <= limit
            flipped[one.item_type] += verdict != plant.right
    assert {item_type for item_type, n in flipped.items() if n == 0} <= {"exact_words"}


@pytest.mark.parametrize(
    "after", [" " + NOTHING, "\n\n" + NOTHING, "\n\nLet me know if I can do anything else for you!"]
)
def test_a_sentence_that_says_nothing_turns_no_verdict(after: str) -> None:
    turned = []
    for one in item_set().items:
        if one.item_type not in LENGTH_TYPES and "style" not in one.facts:
            right, verbose = plants(one)[:2]
            turned += [p.answer for p in (right, verbose) if not verify(one, p.answer + after).correct]
            wrong = plants(one)[3]
            turned += [wrong.answer for _ in range(1) if verify(one, wrong.answer + after).correct]
    assert turned == []


def test_what_restates_the_question_first_is_right() -> None:
    for one in ONE_EACH:
        if one.item_type not in LENGTH_TYPES and "style" not in one.facts:
            answer = f"{one.prompt}\n\n{plants(one)[0].answer}"
            assert verify(one, answer).correct, (one.item_id, answer)


@pytest.mark.parametrize(
    "turn", ["Question: What is 5 and 5?\nAnswer: 10", "Q2. Who?\nA: Lyon", "**User:** Lyon\nLyon"]
)
def test_a_right_answer_that_runs_on_into_another_question_is_right(turn: str) -> None:
    sums = item("number", value=83, given=[40, 43])
    assert verify(sums, f"83\n\n{turn}").correct and verify(PARIS, f"Paris.\n{turn}").correct
    assert not verify(PARIS, f"Lyon.\n{turn}\nParis").correct and not verify(PARIS, turn).correct
    words = item("words", k=2, holds=[], first=None, last=None)
    assert verify(words, "Hello there.").correct and not verify(words, f"Hello there.\n{turn}").correct


FRAGMENTS = st.sampled_from(
    [" ", "\n", "\n\n", ". ", ", ", "**", " or ", " not ", '"', "|", "{", "}", "1. ", "- ", ": ", "?"]
)


@st.composite
def assembled(draw: st.DrawFn) -> tuple[Item, str]:
    """An item, and a text out of pieces of its planted answers, marks and noise."""
    one = draw(st.sampled_from(ONE_EACH))
    answers = [plant.answer for plant in plants(one)]
    piece = st.one_of(
        st.sampled_from(answers),
        FRAGMENTS,
        st.text(max_size=12),
        st.sampled_from(answers).map(lambda a: a[: len(a) // 2]),
    )
    return one, "".join(draw(st.lists(piece, max_size=7)))


@settings(max_examples=400, deadline=None)
@given(assembled())
def test_strict_implies_correct_implies_loose(case: tuple[Item, str]) -> None:
    verdict = verify(*case)
    assert (not verdict.strict or verdict.correct) and (not verdict.correct or verdict.loose)
    assert verdict.why


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(), max_size=300))
def test_no_text_makes_a_verifier_raise(text: str) -> None:
    for one in ONE_EACH[::3]:
        verify(one, text)


@pytest.mark.parametrize("text", ["", " ", "\n\t \u200b", "\x00", "\ufeff", "...", "**", "\u00a0", "|", "#"])
def test_nothing_is_wrong_for_every_type(text: str) -> None:
    assert [one.item_id for one in ONE_EACH if verify(one, text).loose] == []


@pytest.mark.parametrize("text", ["\ud800", "a\ud800b" * 50, "\U0010ffff", "\u202eabc", "\x00" * 99, "ﷺ" * 300])
def test_odd_characters_are_read(text: str) -> None:
    for one in ONE_EACH:
        verify(one, text)


LONG = [
    "a",
    "1",
    "{",
    "[",
    '{"a":',
    "1. a ",
    "- x\n",
    '"ab" ',
    "or ",
    "i can't ",
    " \n",
    "a, b, ",
    "|a|b|\n",
    "a-",
    ".",
    "é\u0301",
    "sure! ",
]


def test_long_answers_take_no_time() -> None:
    of_check = {(one.facts["check"], one.facts.get("layout"), "style" in one.facts): one for one in ONE_EACH}
    for one in of_check.values():
        for unit in (*LONG, f"{one.reference} ", f"{one.reference}\n", one.prompt):
            text = (unit * (20_000 // len(unit) + 1))[:20_000]
            start = time.perf_counter()
            verify(one, text)
            assert time.perf_counter() - start < 1.5, (one.template, unit)


def test_a_verdict_takes_a_fifth_of_a_millisecond() -> None:
    made = [plant for one in ONE_EACH for plant in plants(one)]
    for plant in made:
        verify(plant.item, plant.answer)
    start = time.process_time()
    for plant in made:
        verify(plant.item, plant.answer)
    assert (time.process_time() - start) / len(made) < 2e-4


@pytest.mark.parametrize(
    ("answer", "correct"),
    [
        ("PARIS!", True),
        ("Ｐａｒｉｓ", True),
        ("The answer is **Paris**.", True),
        ("Paris, not Lyon.", True),
        ("Many people think of Lyon, but it is Paris.", True),
        ("It is Paris. Lyon is smaller, and Nice might be warmer.", True),
        ("Is it Lyon? No. It is Paris.", True),
        ("Lyon is large. The correct answer is Paris.", True),
        ("It is not Paris.", False),
        ("Paris and Lyon", False),
        ("Either Marseille or Paris", False),
        ("Paris or Marseille", False),
        ("Paris. Or maybe Lyon.", False),
        ("Paris. Actually, Lyon.", False),
        ("Paris\nLyon\nNice", False),
        ("Lyon. Paris is only the largest city.", False),
        ("Parisian food is good.", False),
        ("Name the capital of France. Name the capital of France.", False),
    ],
)
def test_what_a_text_claims(answer: str, correct: bool) -> None:
    assert verify(PARIS, answer).correct == correct, verify(PARIS, answer).why


@pytest.mark.parametrize(
    ("answer", "strict", "loose"),
    [("Paris", True, True), ("It is Paris.", False, True), ("Lyon\nParis", False, True), ("Lyon", False, False)],
)
def test_the_strict_and_the_loose_rule(answer: str, strict: bool, loose: bool) -> None:
    verdict = verify(PARIS, answer)
    assert (verdict.strict, verdict.loose) == (strict, loose)


def test_looser_readings_are_those_of_the_paper() -> None:
    assert list(looser("**a**\nb\n*c*")) == ["a\nb\nc", "b\n*c*", "b\nc", "**a**\nb", "a\nb", "b"]
    assert list(looser("a")) == []


@pytest.mark.parametrize(
    ("answer", "correct"),
    [
        ("1,250", True),
        ("1250.", True),
        ("$1,250.00", True),
        ("One thousand two hundred and fifty", True),
        ("The total is 1250 because 1000 + 250 = 1250.", True),
        ("1250 or 1350", False),
        ("12500", False),
        ("1250\n1300", False),
        ("So the answer is 1251. Not 1250.", False),
    ],
)
def test_numbers(answer: str, correct: bool) -> None:
    asked = item("number", value=1250, given=[1000, 250])
    assert verify(asked, answer).correct == correct, verify(asked, answer).why


@pytest.mark.parametrize(
    ("text", "found"),
    [("forty-three", [43.0]), ("Twenty one", [21.0]), ("a hundred", [100.0]), ("3.5", [3.5]), ("x9", [])],
)
def test_number_words(text: str, found: list[float]) -> None:
    assert numbers(fold(text)) == found


def test_sentences_keep_abbreviations_and_decimals() -> None:
    assert sentences('Mr. Lee has 2.5 cats. "Why?" Ask\nDr. Who!') == [
        "Mr. Lee has 2.5 cats.",
        '"Why?',
        "Ask",
        "Dr. Who!",
    ]


def test_a_repeated_question_is_taken_out_whole_or_in_part() -> None:
    prompt = "Anna has a red car and Ben a blue one. Who has the red car?"
    assert without_prompt(prompt.upper(), prompt) == ""
    assert without_prompt("Anna has a red car and Ben a blue one.", prompt) == ""
    assert without_prompt(f"{prompt} Anna.", prompt) == "Anna."
    assert without_prompt("I lent it to you.", "What?", ("I lent it to you.",)) == ""


def test_a_style_holds_for_the_whole_answer() -> None:
    upper = replace(PARIS, facts={**PARIS.facts, "style": {"kind": "upper", "value": None, "old": None}})
    assert verify(upper, "IT IS PARIS.").correct and not verify(upper, "It is PARIS.").correct
    closing = replace(PARIS, facts={**PARIS.facts, "style": {"kind": "closing", "value": "Ahoy!", "old": "Cheers"}})
    assert verify(closing, "Paris. Ahoy!").correct
    assert not verify(closing, "Paris. Cheers! Ahoy!").correct and not verify(closing, "Ahoy! Paris.").correct


def test_the_scorers_hash_changes_with_any_of_its_files(monkeypatch: pytest.MonkeyPatch) -> None:
    before = scorer_sha256()
    here = {name.removesuffix(".py") for name in verifiers.SCORER_FILES}
    modules = {check.__module__.rsplit(".", 1)[1] for check in verifiers.CHECKS.values()}
    assert modules <= here and {"text", "reading", "verifiers"} <= here and len(before) == 64
    scorer_sha256.cache_clear()
    monkeypatch.setattr(verifiers, "SCORER_FILES", verifiers.SCORER_FILES[:-1])
    try:
        assert scorer_sha256() != before
    finally:
        scorer_sha256.cache_clear()
