"""Critics that read the log-probabilities of a grade's label, averaged over shuffles of graded examples.

The order of the examples alone moves such a critic a lot (measured: AUC 0.81 to 0.98 over orders, 0.95 averaged), and
with letters as labels it follows the letter as much as the item, so letters are used both ways round.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

from engine.core.data import read_data
from engine.critics import CriticRequest, Subject, for_kind
from engine.models.requests import LabelScores, Score
from engine.spec import prompts

WORDS = {"instruction": ((" Yes", " No"),), "sample": ((" good", " bad"),)}
LETTERS = ((" A", " B"), (" B", " A"))


class LabelCritic:
    """Margin: mean over variants of log p(good label) - log p(bad label), in nats.

    A variant is an order of the sixteen graded examples and a pair of labels. Every order keeps good and bad examples
    mixed, as drawn from a fixed seed: it belongs to the critic, not to the run. Instructions are graded by the examples
    and the question of the kind that is `asked` for.
    """

    def __init__(
        self,
        name: str,
        kind: str,
        shuffles: int,
        codings: tuple[tuple[str, str], ...] | None = None,
        asked: str = "explicit",
    ) -> None:
        self.name = name
        self.kind = kind
        self._asked = asked
        self._variants: list[tuple[str, list[dict[str, Any]], tuple[str, str]]] = []
        examples = read_data(for_kind("grade_instructions", asked) if kind == "instruction" else "grade_pairs")
        for number in range(shuffles):
            order = list(examples)
            random.Random(f"graded examples, order {number}").shuffle(order)
            for coding in codings or WORDS[kind]:
                self._variants.append((f"order {number}, good is{coding[0]}", order, coding))

    def asks(self, item: Subject) -> list[CriticRequest]:
        """One score a variant."""
        return [CriticRequest(name, self._request(item, order, coding)) for name, order, coding in self._variants]

    def margin(self, item: Subject, scores: Sequence[LabelScores]) -> float:
        """In nats."""
        return math.fsum(s.logprobs[0] - s.logprobs[1] for s in scores) / len(scores)

    def _request(self, item: Subject, order: list[dict[str, Any]], coding: tuple[str, str]) -> Score:
        word = {"good": coding[0].strip(), "bad": coding[1].strip()}
        if item.response is None:
            graded = [(row["text"], word[row["label"]]) for row in order]
            prompt = prompts.grade_instruction(graded, item.instruction, self._asked)
        else:
            solved = [(row["instruction"], row["response"], word[row["label"]]) for row in order]
            prompt = prompts.grade_pair(solved, item.instruction, item.response)
        return Score(prompt.text, coding, prompt.shared)
