"""Critics of two responses: which one is better by a question, from log-probabilities, and free of position bias.

Swapping the two responses turns the sign of such a critic's margin. What is left of a preference for a letter, or for
the place in front, cancels in the mean over both orders; each order is kept, because a preference that holds in one
order only is no preference.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from engine.core.data import read_data
from engine.critics import Critic, CriticRequest, Subject
from engine.models.requests import LabelScores, Score
from engine.spec import prompts

LETTERS = (" A", " B")
IN_FRONT, BEHIND = "in front", "behind"  # where the response that is judged stands


class CompareCritic:
    """Margin: log p(letter of the response) - log p(letter of its rival), in nats, mean over both orders.

    Bai et al. 2022 (arXiv 2212.08073, section 4.1) with solved examples; a variant is an order of the examples and a
    place of the response.
    """

    name = "compare"
    kind = "pair"

    def __init__(self, shuffles: int) -> None:
        self._variants: list[tuple[str, list[tuple[str, str, str, str, str]], str]] = []
        examples = list(read_data("compare_examples"))
        for number in range(shuffles):
            rng = random.Random(f"compared examples, order {number}")
            order = list(examples)
            rng.shuffle(order)
            solved = _half_turned(order)
            for place in (IN_FRONT, BEHIND):
                self._variants.append((f"order {number}, {place}", solved, place))

    def asks(self, item: Subject) -> list[CriticRequest]:
        """One score a variant; the two places of one order of examples stand side by side."""
        return [CriticRequest(name, self._request(item, solved, place)) for name, solved, place in self._variants]

    def margin(self, item: Subject, scores: Sequence[LabelScores]) -> float:
        """In nats; positive prefers the response to its rival."""
        return math.fsum(
            _toward(place, s.logprobs) for (_, _, place), s in zip(self._variants, scores, strict=True)
        ) / len(scores)

    def _request(self, item: Subject, solved: list[tuple[str, str, str, str, str]], place: str) -> Score:
        assert item.response is not None and item.rival is not None
        first, second = (item.response, item.rival) if place == IN_FRONT else (item.rival, item.response)
        prompt = prompts.compare(solved, item.instruction, first, second, item.question)
        return Score(prompt.text, LETTERS, prompt.shared)


def reads_question(name: str, named: Sequence[str]) -> bool:
    """Whether a pair critic reads the question that two responses are compared by; `named` are all that a spec has.

    Differences of two grades do not: they say which response is better, whatever is asked.
    """
    return name == "compare" or (name == "mean" and "compare" in named)


class DifferenceCritic:
    """Margin: what a critic of single responses says of the response less what it says of the rival."""

    kind = "pair"

    def __init__(self, single: Critic) -> None:
        self.name = single.name
        self._single = single

    def asks(self, item: Subject) -> list[CriticRequest]:
        """What the critic asks of the response, then of the rival."""
        return [
            CriticRequest(f"{side}: {ask.variant}", ask.request)
            for side, alone in zip(("response", "rival"), _sides(item), strict=True)
            for ask in self._single.asks(alone)
        ]

    def margin(self, item: Subject, scores: Sequence[LabelScores]) -> float:
        """In the single critic's unit; positive prefers the response to its rival."""
        response, rival = _sides(item)
        n = len(self._single.asks(response))
        return self._single.margin(response, scores[:n]) - self._single.margin(rival, scores[n:])


def by_order(parts: Sequence[Mapping[str, Any]]) -> tuple[float, float] | None:
    """Margins in nats with the response in front and behind, from a judgement's stored parts.

    None where its critic compares no orders. Each is the mean over the orders of the solved examples.
    """
    found: dict[str, list[float]] = {IN_FRONT: [], BEHIND: []}
    for part in parts:
        for place in found:
            if str(part["variant"]).endswith(f", {place}"):
                found[place].append(_toward(place, [float(value) for value in part["logprobs"]]))
    if not found[IN_FRONT] or not found[BEHIND]:
        return None
    front, behind = (math.fsum(values) / len(values) for values in found.values())
    return front, behind


def preference(parts: Sequence[Mapping[str, Any]], clamp: Sequence[float] | None = None) -> float | None:
    """The soft label of Bai et al. 2022: mean probability of the response's letter among the two, over all variants.

    `clamp` bounds it, as the paper does with 0.4 and 0.6 for labels after a chain of thought (section 4.1, since such
    labels are over-confident). None where no letters were compared.
    """
    margins = [
        _toward(place, [float(value) for value in part["logprobs"]])
        for part in parts
        for place in (IN_FRONT, BEHIND)
        if str(part["variant"]).endswith(f", {place}")
    ]
    if not margins:
        return None
    soft = math.fsum(1 / (1 + math.exp(-max(-700.0, min(700.0, margin)))) for margin in margins) / len(margins)
    return soft if clamp is None else min(max(soft, clamp[0]), clamp[1])


def _toward(place: str, logprobs: Sequence[float]) -> float:
    margin = logprobs[0] - logprobs[1]
    return margin if place == IN_FRONT else -margin


def _sides(item: Subject) -> tuple[Subject, Subject]:
    return (
        Subject(item.key, item.instruction, item.response, item.stop_reason),
        Subject(item.key, item.instruction, item.rival, item.stop_reason),
    )


def _half_turned(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str, str, str]]:
    """The examples with every second one of each label turned, so that each letter is right as often as the other."""
    seen = {"good": 0, "bad": 0}
    found = []
    for row in rows:
        found.append(_solved(row, turned=seen[row["label"]] % 2 == 1))
        seen[row["label"]] += 1
    return found


def _solved(row: Mapping[str, Any], *, turned: bool) -> tuple[str, str, str, str, str]:
    """An example as it is shown: instruction, first, second, question, letter of the better one."""
    first, second = (row["rival"], row["response"]) if turned else (row["response"], row["rival"])
    better_first = (row["label"] == "good") != turned
    return row["instruction"], first, second, row["question"], "A" if better_first else "B"
