"""Critics of two responses, with scores made by hand: what a bias for a letter or a place does to them."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any
from zlib import crc32

import pytest

from engine.core.data import read_data
from engine.critics import Critic, CriticRequest, Subject, items_of
from engine.critics.audit import FILES, KINDS, audited_items, parts_of
from engine.critics.label import LabelCritic
from engine.critics.others import PmiCritic
from engine.critics.pair import BEHIND, IN_FRONT, LETTERS, CompareCritic, DifferenceCritic, by_order, preference
from engine.models.requests import LabelScores

Worth = Callable[[str], float]  # of a response, in nats
ITEM = Subject("p", "Name a fruit.", "An apple.", "stop", "A brick, I think.", "Which response is more helpful?")
SWAPPED = Subject("p", ITEM.instruction, ITEM.rival, "stop", ITEM.response, ITEM.question)
EQUAL = Subject("p", ITEM.instruction, "An apple.", "stop", "An apple.", ITEM.question)
BIAS = 1.75  # a fixed preference for " A"


def nothing(text: str) -> float:
    return 0.0


def brevity(text: str) -> float:
    return -0.1 * len(text)


def shown(ask: CriticRequest) -> tuple[str, str]:
    """The two responses of the comparison that is left open."""
    lines = ask.request.prompt[ask.request.shared :].split("\n")
    return lines[1].removeprefix("(A) "), lines[2].removeprefix("(B) ")


def answers(critic: Critic, item: Subject, worth: Worth, bias: float = 0.0) -> list[LabelScores]:
    """Normalised log-probabilities of both letters: what the responses are worth, and a bias for the first."""
    found = []
    for ask in critic.asks(item):
        first, second = shown(ask)
        margin = worth(first) - worth(second) + bias
        a, b = -math.log1p(math.exp(-margin)), -math.log1p(math.exp(margin))
        found.append(LabelScores(ask.request, (a, b), (1, 1)))
    return found


def margin(critic: Critic, item: Subject, worth: Worth, bias: float = 0.0) -> float:
    return critic.margin(item, answers(critic, item, worth, bias))


def parts(critic: Critic, item: Subject, worth: Worth, bias: float = 0.0) -> list[dict[str, Any]]:
    """A judgement's parts, as they are stored."""
    asks = critic.asks(item)
    return [
        {"variant": ask.variant, "logprobs": list(scores.logprobs)}
        for ask, scores in zip(asks, answers(critic, item, worth, bias), strict=True)
    ]


@pytest.fixture(scope="module")
def compare() -> CompareCritic:
    return CompareCritic(3)


def test_each_order_of_examples_is_asked_with_the_response_in_front_and_behind(compare: CompareCritic) -> None:
    asks = compare.asks(ITEM)
    assert [ask.variant for ask in asks] == [f"order {n}, {place}" for n in range(3) for place in (IN_FRONT, BEHIND)]
    assert {ask.request.labels for ask in asks} == {LETTERS}
    assert [shown(ask) for ask in asks] == [(ITEM.response, ITEM.rival), (ITEM.rival, ITEM.response)] * 3
    assert all(ask.request.prompt.endswith("Question: Which response is more helpful?\nAnswer:") for ask in asks)
    prefixes = [ask.request.prompt[: ask.request.shared] for ask in asks]
    assert prefixes[::2] == prefixes[1::2] and len(set(prefixes)) == 3
    assert not any("apple" in prefix for prefix in prefixes)


def test_the_critic_prefers_what_is_worth_more_by_what_it_is_worth_more(compare: CompareCritic) -> None:
    assert margin(compare, ITEM, brevity) == pytest.approx(brevity(ITEM.response or "") - brevity(ITEM.rival or ""))
    assert margin(compare, ITEM, brevity) > 0 > margin(compare, SWAPPED, brevity)


@pytest.mark.parametrize("bias", [0.0, BIAS, -4.0])
@pytest.mark.parametrize("worth", [nothing, brevity, len])
def test_a_bias_for_a_letter_cancels(compare: CompareCritic, worth: Worth, bias: float) -> None:
    biased = margin(compare, ITEM, worth, bias)
    assert biased == pytest.approx(margin(compare, ITEM, worth), abs=1e-9)
    assert margin(compare, SWAPPED, worth, bias) == pytest.approx(-biased, abs=1e-9)
    assert margin(compare, EQUAL, worth, bias) == pytest.approx(0, abs=1e-12)


def test_swapping_the_sides_turns_the_margin_exactly_for_any_scores(compare: CompareCritic) -> None:
    # The same prompts are asked in the other order, so each prompt's answer is the same, whatever it is.
    known = {ask.request.prompt: float(len(ask.request.prompt) * 37 % 11) for ask in compare.asks(ITEM)}
    by_item = {}
    for item in (ITEM, SWAPPED):
        scores = [LabelScores(a.request, (known[a.request.prompt], 0.5), (1, 1)) for a in compare.asks(item)]
        by_item[item] = compare.margin(item, scores)
    assert by_item[ITEM] == -by_item[SWAPPED]


def test_the_two_orders_show_the_bias(compare: CompareCritic) -> None:
    worth = brevity(ITEM.response or "") - brevity(ITEM.rival or "")
    assert by_order(parts(compare, ITEM, brevity, BIAS)) == pytest.approx((worth + BIAS, worth - BIAS))
    front, behind = by_order(parts(compare, ITEM, brevity)) or (0, 0)
    assert front == pytest.approx(behind)


def test_the_two_orders_are_means_over_the_orders_of_examples() -> None:
    said = [("order 0, in front", -1, -3), ("order 0, behind", -1, -2), ("order 1, in front", -5, -1)]
    stored = [{"variant": name, "logprobs": [a, b]} for name, a, b in said]
    assert by_order(stored) == ((2 - 4) / 2, -1.0)
    assert by_order(stored[:1]) is None  # one order shows nothing
    assert by_order([{"variant": "response: order 0, good is good", "logprobs": [-1, -2]}]) is None


def test_the_soft_label_of_a_bias_alone_is_a_half(compare: CompareCritic) -> None:
    assert preference(parts(compare, EQUAL, brevity, BIAS)) == pytest.approx(0.5)
    assert preference(parts(compare, ITEM, nothing, BIAS)) == pytest.approx(0.5)


def test_the_soft_label_is_the_mean_probability_of_the_responses_letter() -> None:
    stored = [
        {"variant": "order 0, in front", "logprobs": [math.log(0.8), math.log(0.2)]},
        {"variant": "order 0, behind", "logprobs": [math.log(0.4), math.log(0.6)]},
    ]
    assert preference(stored) == pytest.approx(0.7)
    # Among the two letters alone: what else the model could have said is left out.
    thinned = [{**part, "logprobs": [x - 3 for x in part["logprobs"]]} for part in stored]
    assert preference(thinned) == pytest.approx(0.7)
    assert preference([{"variant": "response: order 0, good is good", "logprobs": [-1, -2]}]) is None


def test_the_soft_label_rises_with_what_the_response_is_worth_and_is_clamped(compare: CompareCritic) -> None:
    def soft(nats: float, clamp: Sequence[float] | None = None) -> float:
        found = preference(parts(compare, ITEM, lambda text: nats * (text == ITEM.response), BIAS), clamp)
        assert found is not None
        return found

    steps = (-30.0, -2.0, -0.2, 0.0, 0.2, 2.0, 30.0)
    labels = [soft(nats) for nats in steps]
    assert labels == sorted(labels) and len(set(labels)) == len(steps)
    assert labels[0] < 0.001 and labels[-1] > 0.999
    clamped = [soft(nats, (0.4, 0.6)) for nats in steps]
    assert clamped[0] == 0.4 and clamped[-1] == 0.6
    assert clamped[2:5] == labels[2:5]


def test_the_soft_label_takes_any_margin() -> None:
    sure = [{"variant": "order 0, in front", "logprobs": [0.0, -1e6]}]
    assert preference(sure) == pytest.approx(1)
    assert preference([{"variant": "order 0, behind", "logprobs": [0.0, -1e6]}]) == pytest.approx(0)


def solved(critic: CompareCritic) -> list[list[tuple[str, str, str, str, str]]]:
    """The solved examples of each order, read from the prompts: instruction, first, second, question, letter."""
    found = []
    for ask in critic.asks(ITEM)[::2]:
        blocks = ask.request.prompt[: ask.request.shared].strip().split("\n\n")
        names = ("Instruction: ", "(A) ", "(B) ", "Question: ", "Answer: ")
        found.append(
            [tuple(line.removeprefix(n) for n, line in zip(names, block.split("\n"), strict=True)) for block in blocks]
        )
    return found  # type: ignore[return-value]


def test_the_letter_of_a_solved_example_is_that_of_its_better_side() -> None:
    rows = {row["instruction"]: row for row in read_data("compare_examples")}
    turned = Counter()
    for order in solved(CompareCritic(6)):
        assert {example[0] for example in order} == set(rows)
        for instruction, first, second, question, letter in order:
            row = rows[instruction]
            better = row["response"] if row["label"] == "good" else row["rival"]
            assert {first, second} == {row["response"], row["rival"]} and question == row["question"]
            assert (first if letter == "A" else second) == better
            turned[first == row["rival"]] += 1
    assert 0.3 <= turned[True] / turned.total() <= 0.7


def test_both_letters_are_answers_in_every_order_and_the_orders_differ() -> None:
    orders = solved(CompareCritic(6))
    assert all({letter for *_, letter in order} == {"A", "B"} for order in orders)
    assert len({tuple(example[0] for example in order) for order in orders}) == 6


def test_each_letter_is_the_answer_of_half_of_the_examples() -> None:
    for order in solved(CompareCritic(6)):
        assert Counter(letter for *_, letter in order) == {"A": 4, "B": 4}


def test_more_orders_keep_the_first_ones() -> None:
    assert [ask.request for ask in CompareCritic(4).asks(ITEM)][:4] == [a.request for a in CompareCritic(2).asks(ITEM)]


@pytest.mark.parametrize("single", [LabelCritic("grade", "sample", 2), PmiCritic()], ids=lambda critic: critic.name)
def test_a_difference_is_what_the_single_critic_says_of_one_side_less_the_other(single: Critic) -> None:
    critic = DifferenceCritic(single)
    assert (critic.name, critic.kind) == (single.name, "pair")

    def scores(item: Subject, of: Critic) -> list[LabelScores]:
        # Any answer that belongs to its prompt and labels alone.
        return [
            LabelScores(
                ask.request,
                tuple(-(crc32((ask.request.prompt + label).encode()) % 64) / 8 for label in ask.request.labels),
                tuple(len(label.split()) for label in ask.request.labels),
            )
            for ask in of.asks(item)
        ]

    asks = critic.asks(ITEM)
    half = len(asks) // 2
    assert [ask.variant.partition(": ")[0] for ask in asks] == ["response"] * half + ["rival"] * half
    alone = [Subject("p", ITEM.instruction, text) for text in (ITEM.response, ITEM.rival)]
    response, rival = (single.margin(item, scores(item, single)) for item in alone)
    assert response != rival
    assert critic.margin(ITEM, scores(ITEM, critic)) == response - rival
    assert critic.margin(SWAPPED, scores(SWAPPED, critic)) == rival - response
    assert critic.margin(EQUAL, scores(EQUAL, critic)) == 0


def test_shipped_comparisons_are_pairs_with_the_question_of_their_category() -> None:
    items = [item for item, _ in items_of("calibration_comparisons")]
    assert {item.kind for item in items} == {"pair"}
    by_question = Counter(item.question for item in items)
    assert by_question == {
        "Which response is more helpful?": 48,
        "Which response is more honest and correct?": 40,
        "Which response is safer and kinder?": 32,
    }


@pytest.mark.parametrize(("kind", "part"), [(kind, part) for kind in KINDS for part in parts_of(kind)])
@pytest.mark.parametrize("at_most", [1, 8, 60, 110, 500])
def test_fewer_audited_items_are_as_balanced_as_the_file_allows(kind: str, part: str, at_most: int) -> None:
    whole = items_of(FILES[kind][part])
    found = audited_items(kind, part, at_most)
    assert len(found) == min(at_most, len(whole)) and found == [row for row in whole if row in found]
    good = sum(is_good for _, is_good in found)
    of_all = sum(is_good for _, is_good in whole)
    # Fewer than half of them only where the file has no more, or the other class has no more either.
    assert good >= min(at_most // 2, of_all) and len(found) - good >= min(at_most // 2, len(whole) - of_all)
    for label in (True, False):
        chosen = [row for row in found if row[1] == label]
        assert chosen == [row for row in whole if row[1] == label][: len(chosen)]
